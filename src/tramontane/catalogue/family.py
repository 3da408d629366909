"""The published models of the family: what is known of each, and what it is called. The data is `family.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources
from typing import Any

from tramontane.catalogue.lifecycle import Lifecycle
from tramontane.catalogue.tables import Stage


@dataclass(frozen=True, slots=True)
class Licence:
    """What a model may be used for."""

    name: str
    url: str | None
    allows_production: bool
    needs_acceptance: bool


@dataclass(frozen=True, slots=True)
class Document:
    """Something official to read about a model."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class FamilyModel:
    """One published model. None and empty where its makers do not say; `repository` None: no weights were published.

    `name` is la Plateforme's where it has one. `aliases` are what else it is called; those that end in `-latest` move
    on to a newer model when one becomes generally available.
    """

    name: str
    title: str
    version: str
    maker: str
    summary: str
    licence: Licence
    parameters: int | None
    active_parameters: int | None
    max_context: int | None
    languages: tuple[str, ...]
    abilities: tuple[str, ...]
    file_formats: tuple[str, ...]
    repository: str | None
    released: date | None
    documents: tuple[Document, ...]
    announced: Lifecycle  # by its makers, of their own service
    aliases: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then what else it is called."""
        return (self.name, *self.aliases)

    @property
    def lifecycle(self) -> Lifecycle:
        """Where it stands by itself, without a word from the operator.

        Nobody can take published weights out of service elsewhere: what makers no longer serve is legacy here, from
        the day on which they said so.
        """
        announced = self.announced
        if self.repository is None:
            return announced
        said = [date for date in announced.dates().values() if date]
        stage: Stage = "preview" if announced.stage == "preview" else "available"
        return Lifecycle(stage, legacy_at=min(said, default=None), replacement=announced.replacement)


@cache
def family() -> tuple[FamilyModel, ...]:
    """Every model of `family.json`, in its order: the newest of each line first."""
    data = json.loads(resources.files(__package__).joinpath("family.json").read_text("utf-8"))
    licences = {name: Licence(name, **terms) for name, terms in data["licences"].items()}
    return tuple(_model(entry, data["maker"], licences) for entry in data["models"])


@cache
def by_name() -> dict[str, FamilyModel]:
    """Every name and alias."""
    return {name: model for model in family() for name in model.names}


def find(name: str) -> FamilyModel | None:
    """The model of a name, an alias or a hub repository, which the hub knows in small and capital letters alike."""
    if name in by_name():
        return by_name()[name]
    return next((model for model in family() if model.repository and model.repository.lower() == name.lower()), None)


def _model(entry: dict[str, Any], maker: str, licences: dict[str, Licence]) -> FamilyModel:
    licence = licences[entry["licence"]]
    return FamilyModel(
        name=entry["name"],
        title=entry["title"],
        version=entry["version"],
        maker=entry.get("maker", maker),
        summary=entry["summary"],
        licence=replace(licence, url=entry.get("licence_url", licence.url)),
        parameters=entry["parameters"],
        active_parameters=entry["active_parameters"],
        max_context=entry["max_context"],
        languages=tuple(entry["languages"]),
        abilities=tuple(entry["abilities"]),
        file_formats=tuple(entry["file_formats"]),
        repository=entry["repository"],
        released=_date(entry["released"]),
        documents=tuple(Document(title, url) for title, url in entry["documents"].items()),
        announced=_lifecycle(entry["lifecycle"]),
        aliases=tuple(entry["aliases"]),
    )


def _lifecycle(entry: dict[str, str]) -> Lifecycle:
    dates = {name: _midnight(entry.get(name)) for name in ("legacy_at", "deprecated_at", "retired_at")}
    stage: Any = entry.get("stage", "available")  # one of Stage, as a test sees to
    return Lifecycle(stage, replacement=entry.get("replacement"), **dates)


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _midnight(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)
