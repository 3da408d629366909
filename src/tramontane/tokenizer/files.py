"""Which file of a checkpoint folder is its tokenizer, and which version of the templates it speaks."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path

from tramontane.errors import TokenizerError

# `tokenizer.model.v3`, `mistral_instruct_tokenizer_241114.model.v7m1`, and the bare `tokenizer.model`.
_SPM_NAME = re.compile(r"\.model(?:\.v(?P<version>\d+)(?:m\d+)?)?$")

_TOOL_TOKENS = ("[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
_V2_TOKENS = ("[INST]", "[/INST]", *_TOOL_TOKENS)
_V3_TOKENS = (*_V2_TOKENS, "[PREFIX]", "[SUFFIX]")
_V7_TOKENS = (*_V3_TOKENS, "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]")
_V11_TOKENS = (*_V7_TOKENS, "[ARGS]", "[CALL_ID]")
_V15_TOKENS = (*_V11_TOKENS, "[MODEL_SETTINGS]", "[/MODEL_SETTINGS]")

#: The control tokens without which a version's template cannot be written. v13's `[THINK]` is optional there.
REQUIRED_CONTROL_TOKENS: dict[int, tuple[str, ...]] = {
    1: (),
    2: _V2_TOKENS,
    3: _V3_TOKENS,
    7: _V7_TOKENS,
    11: _V11_TOKENS,
    13: _V11_TOKENS,
    15: _V15_TOKENS,
}


def find_tokenizer_file(folder: Path) -> Path:
    """The tokenizer file of a checkpoint folder: tekken before SentencePiece, the newest version first.

    Raises TokenizerError, naming what the folder has instead, when there is none that Tramontane reads.
    """
    if not folder.is_dir():
        raise TokenizerError(f"There is no folder {folder} to read a tokenizer from.")
    names = [path.name for path in folder.iterdir() if path.is_file()]
    tekken = sorted(name for name in names if name.startswith("tekken") and name.endswith(".json"))
    if tekken:
        return folder / ("tekken.json" if "tekken.json" in tekken else tekken[-1])
    spm = [name for name in names if _SPM_NAME.search(name)]
    if spm:
        # The bare `tokenizer.model` repeats one of the versioned files: it comes last.
        return folder / max(spm, key=lambda name: (named_spm_version(name) or 0, name))
    if "tokenizer.json" in names:
        raise TokenizerError(
            f"{folder} has only a Hugging Face tokenizer.json; "
            "put the tekken.json or tokenizer.model of the original model beside it."
        )
    raise TokenizerError(
        f"{folder} has no tokenizer: neither tekken.json nor tokenizer.model (nor tokenizer.model.v*)."
    )


def named_spm_version(name: str) -> int | None:
    """The version that a SentencePiece file's name tells (`tokenizer.model.v3` → 3), or None."""
    match = _SPM_NAME.search(name)
    return int(match["version"]) if match and match["version"] else None


def version_of_control_tokens(names: Container[str]) -> int:
    """The version of a bare `tokenizer.model`, told by the control tokens that it has.

    Repositories publish v2, v3 and v7 models under this name too; mistral-common alone would call each of them v1.
    """
    return max(version for version in (1, 2, 3, 7) if not missing_control_tokens(version, names))


def missing_control_tokens(version: int, names: Container[str]) -> list[str]:
    """The control tokens that the version's template needs and `names` lacks."""
    return [name for name in REQUIRED_CONTROL_TOKENS[version] if name not in names]
