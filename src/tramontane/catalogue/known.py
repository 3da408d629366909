"""The short names of the family: which hub repository each stands for, and its licence. The data is `known.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One published model; `names` are its short name and aliases, as la Plateforme spells them where it does."""

    repository: str
    licence: str
    names: tuple[str, ...]


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Every model of `known.json`, in its order."""
    entries = json.loads(resources.files(__package__).joinpath("known.json").read_text("utf-8"))
    return tuple(KnownModel(entry["repository"], entry["licence"], tuple(entry["names"])) for entry in entries)


def known_names() -> dict[str, KnownModel]:
    """Every short name and alias."""
    return {name: model for model in known_models() for name in model.names}


def known_licence(repository: str) -> str | None:
    """The licence of a repository that `known.json` lists, else None."""
    return next((model.licence for model in known_models() if model.repository == repository), None)
