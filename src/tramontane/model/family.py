"""The shapes of the whole family by short name: for benchmarks, for planning memory, for models made from scratch.

The data is `family.json`; each entry's `params` is a `params.json` as in the model's own repository.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from tramontane.errors import CheckpointError
from tramontane.model.config import ModelConfig
from tramontane.model.config_native import from_params_json


def shapes() -> dict[str, ModelConfig]:
    """Every supported shape by short name, in the order of publication."""
    return dict(_read()[0])


def shape(name: str) -> ModelConfig:
    """The shape called `name`.

    Raises CheckpointError with the known names when there is none, and with the reason when the model is of the
    family but not supported.
    """
    known, refused = _read()
    if name in refused:
        raise CheckpointError(f"{name} is not supported: {refused[name]}")
    if name not in known:
        raise CheckpointError(f"no model is called {name!r}; the known ones are {', '.join(known)}.")
    return known[name]


def title(name: str) -> str:
    """What the publisher calls the model or models of this shape, for people to read."""
    shape(name)
    return str(_document()["models"][name]["title"])


@cache
def _read() -> tuple[dict[str, ModelConfig], dict[str, str]]:
    document = _document()
    known = {
        name: from_params_json(entry["params"], f"family.json: {name}") for name, entry in document["models"].items()
    }
    return known, dict(document["refused"])


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(resources.files(__package__).joinpath("family.json").read_text("utf-8"))
    return document
