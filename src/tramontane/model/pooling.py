"""How an embedding model makes one vector of many, as sentence-transformers writes it down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tramontane.errors import CheckpointError
from tramontane.model.fields import Fields, read_json_object, read_json_value

_MODES: dict[str, Literal["last", "mean"]] = {
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
    "lasttoken": "last",
    "mean": "mean",
}


@dataclass(frozen=True, slots=True)
class Pooling:
    """`mode`: the last token's hidden state, or the mean over all tokens; `normalize`: to length 1 afterwards."""

    mode: Literal["last", "mean"]
    normalize: bool


def read_pooling(folder: Path, dim: int) -> Pooling | None:
    """Read `modules.json` and the pooling configuration that it names; None when the folder has no `modules.json`.

    Raises CheckpointError for a module or a mode that is not supported, a width other than `dim`, and a path that
    leads out of the folder.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return None
    modules = read_json_value(path)
    if not isinstance(modules, list):
        raise CheckpointError(f"{path} must hold a list of modules; download it again.")
    mode: Literal["last", "mean"] | None = None
    normalize = False
    for position, module in enumerate(modules):
        fields = Fields(module if isinstance(module, dict) else {}, path, f"[{position}].")
        kind = fields.text("type", "nothing").rsplit(".", 1)[-1]
        if kind == "Pooling":
            mode = _read_mode(folder / _plain_name(fields) / "config.json", dim)
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            fields.refuse("type", f"is {kind!r}; Transformer, Pooling and Normalize are supported.")
    if mode is None:
        raise CheckpointError(f"{path} names no Pooling module; without one the model gives no single vector.")
    return Pooling(mode, normalize)


def _plain_name(module: Fields) -> str:
    """The module's folder: a plain name, so that it cannot lead out of the checkpoint."""
    name = module.text("path", "")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        module.refuse("path", f"is {name[:60]!r}; it must be the plain name of a folder beside modules.json.")
    return name


def _read_mode(path: Path, dim: int) -> Literal["last", "mean"]:
    fields = Fields(read_json_object(path), path)
    width = fields.integer("word_embedding_dimension", fields.integer("embedding_dimension", dim))
    if width != dim:
        fields.refuse("word_embedding_dimension", f"is {width}, but the model's vectors have {dim} elements.")
    if not fields.boolean("include_prompt", True):
        fields.refuse("include_prompt", "is false; leaving the instruction out of the mean is not supported.")
    name = "pooling_mode" if fields.has("pooling_mode") else "pooling_mode_*"
    if fields.has("pooling_mode"):
        found = [fields.text("pooling_mode", "")]
    else:
        found = [key for key, value in fields.data.items() if key.startswith("pooling_mode_") and value is True]
    if len(found) != 1 or found[0] not in _MODES:
        fields.refuse(name, f"asks for {', '.join(found) or 'nothing'}; one of lasttoken and mean is supported.")
    return _MODES[found[0]]
