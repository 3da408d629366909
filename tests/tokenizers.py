"""The tokenizer files that tests use: the real ones in mistral-common's wheel, and small tekken files written here.

The wheel has no v7 tekken and nothing above v7; those files come with checkpoints. `write_tekken` writes small ones
that are the real thing but for the number of entries: the first entries of a real vocabulary (bytes, then merges in
rank order) and the version's own control tokens.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import mistral_common
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

#: mistral-common's own tokenizer, to compare with.
TheirTokenizer = MistralTokenizer[Any, Any, Any, Any, Any]

_DATA = Path(mistral_common.__file__).parent / "data"

SPM_V1 = _DATA / "tokenizer.model.v1"
SPM_V2 = _DATA / "mistral_instruct_tokenizer_240216.model.v2"
SPM_V3 = _DATA / "mistral_instruct_tokenizer_240323.model.v3"
SPM_V7 = _DATA / "mistral_instruct_tokenizer_241114.model.v7"
TEKKEN_V3 = _DATA / "tekken_240718.json"
TEKKEN_V3_IMAGES = _DATA / "tekken_240911.json"

REAL_TOKENIZERS = {
    "spm-v1": SPM_V1,
    "spm-v2": SPM_V2,
    "spm-v3": SPM_V3,
    "spm-v7": SPM_V7,
    "tekken-v3": TEKKEN_V3,
    "tekken-v3-images": TEKKEN_V3_IMAGES,
}
WRITTEN_VERSIONS = (7, 11, 13, 15)

#: Every tokenizer that tests can have, by kind and version: "spm-v1" … "tekken-v15".
NAMES = [*REAL_TOKENIZERS, *(f"tekken-v{version}" for version in WRITTEN_VERSIONS)]
#: The second real tekken differs from the first in its vocabulary alone: tests of templates need only one.
TEMPLATE_NAMES = [name for name in NAMES if name != "tekken-v3-images"]


def names_since(version: int) -> list[str]:
    """The names of the templates of a version and later ones."""
    return [name for name in TEMPLATE_NAMES if int(name.rpartition("v")[2]) >= version]


# mistral-common's list for files up to v7 (`Tekkenizer.DEPRECATED_SPECIAL_TOKENS`), in the order of their ids.
_V7_CONTROL_TOKENS = [
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
]  # fmt: skip
# What later versions added (`SpecialTokens`); published files put these at 32 and after, behind reserved ids.
_LATER_CONTROL_TOKENS: dict[int, list[str]] = {
    11: ["[ARGS]", "[CALL_ID]"],
    13: ["[THINK]", "[/THINK]"],
    15: ["[MODEL_SETTINGS]", "[/MODEL_SETTINGS]"],
}
_FIRST_LATER_ID = 32


def write_tekken(
    folder: Path, version: int, *, num_vocab_tokens: int = 1000, num_special_tokens: int = 64, think: bool = True
) -> Path:
    """Write `folder/tekken.json`, a small tokenizer of the version (3, 7, 11, 13 or 15), and return its path.

    `num_vocab_tokens` ≥ 256 ordinary entries follow `num_special_tokens` control tokens; `think=False` leaves out
    `[THINK]`, as files of models that do not reason do.
    """
    data: dict[str, Any] = {
        "config": {
            "pattern": _real_pattern(),
            "num_vocab_tokens": num_vocab_tokens,
            "default_vocab_size": num_vocab_tokens + num_special_tokens,
            "default_num_special_tokens": num_special_tokens,
            "version": f"v{version}",
        },
        "vocab": _real_vocab()[:num_vocab_tokens],
        "special_tokens": [
            {"rank": rank, "token_str": name, "is_control": True}
            for rank, name in enumerate(control_tokens(version, think=think))
        ],
    }
    if version >= 15:
        data["model_settings_builder"] = {
            "reasoning_effort": {"type": "enum", "accepts_none": True, "values": ["none", "high"], "default": "none"},
            "json_schema": {"type": "json_schema", "accepts_none": False, "default": None},
        }
    path = folder / "tekken.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def control_tokens(version: int, *, think: bool = True) -> list[str]:
    """The control tokens of a version's tekken file, by id, reserved ones filled in as mistral-common names them."""
    names = list(_V7_CONTROL_TOKENS)
    if version >= 11:
        names += [f"<SPECIAL_{token_id}>" for token_id in range(len(names), _FIRST_LATER_ID)]
    for since, later in _LATER_CONTROL_TOKENS.items():
        if version >= since:
            names += [f"<SPECIAL_{len(names) + i}>" if since == 13 and not think else n for i, n in enumerate(later)]
    return names


@functools.cache
def _real_tekken() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(TEKKEN_V3.read_text(encoding="utf-8"))
    return data


def _real_pattern() -> str:
    pattern: str = _real_tekken()["config"]["pattern"]
    return pattern


def _real_vocab() -> list[dict[str, Any]]:
    vocab: list[dict[str, Any]] = _real_tekken()["vocab"]
    return vocab
