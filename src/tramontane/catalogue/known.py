"""The short names of the family: which hub repository each stands for, and its licence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tramontane.catalogue.family import family


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One model whose weights are published; `names` are its name and aliases, as la Plateforme spells them."""

    repository: str
    licence: str
    names: tuple[str, ...]


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Every model of the family that can be pulled."""
    return tuple(
        KnownModel(model.repository, model.licence.name, model.names) for model in family() if model.repository
    )


def known_names() -> dict[str, KnownModel]:
    """Every short name and alias."""
    return {name: model for model in known_models() for name in model.names}


def known_licence(repository: str) -> str | None:
    """The licence of a repository of the family, else None."""
    return next((model.licence for model in known_models() if model.repository == repository), None)
