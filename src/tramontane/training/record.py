"""The training record: what a run knows about itself, as JSON; governance reads it.

What software can know is filled in by the run. What only a person can attest is one of three words, and stays
TO_BE_PROVIDED until a person writes another: nothing here infers it.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tramontane.training.errors import TrainingError
from tramontane.training.files import write_json

SCHEMA = "tramontane.training-record/1"
T = TypeVar("T")


class Attestation(StrEnum):
    """A person's word. Never set by software."""

    YES = "yes"
    NO = "no"
    TO_BE_PROVIDED = "to_be_provided"


@dataclass
class SourceRecord:
    """One source of text, or one file of samples. `share` is that of all sources' tokens; counts are after cleaning.

    A file of samples is used as it stands: its `documents` are its lines, and its personal data is counted, not masked.
    """

    name: str
    version: str
    licence: str
    origin: str
    obtained: str  # YYYY-MM-DD
    language: str
    documents: int
    tokens: int
    share: float
    digest: str  # of the cleaned text, or of the file
    personal_data_hits: int
    duplicates_removed: int
    personal_data_masked: bool = True


@dataclass
class SampleRecord:
    """What was learnt of one kind in one language: `tokens` were read, `learnt_tokens` had a loss."""

    kind: str
    language: str
    samples: int = 0
    tokens: int = 0
    learnt_tokens: int = 0


@dataclass
class StageRecord:
    """One stage as it went; `loss` is the mean over its last tenth, in nats a learnt token."""

    name: str
    tokens: int
    steps: int
    sequence_length: int
    loss: float | None = None


@dataclass
class Compute:
    """What the run took. Energy is estimated unless `energy_method` says that it was measured."""

    flops: float = 0.0
    flops_method: str = "6 x parameters x tokens"
    wall_seconds: float = 0.0
    device: str = ""
    devices: int = 1
    device_days: float = 0.0
    energy_mwh: float | None = None
    energy_method: str = ""


@dataclass
class ModelRecord:
    """What came out. `digests` are SHA-256 of the files by name; `base_model` is None for a model from scratch."""

    name: str
    version: str
    architecture: str
    parameters: int
    context_tokens: int
    vocabulary: int
    layers: int
    dim: int
    licence: str
    digests: dict[str, str] = field(default_factory=dict)
    base_model: str | None = None
    base_model_digest: str | None = None


@dataclass
class Attestations:
    """What a person must say (template C(2025) 8311 and the Model Documentation Form)."""

    publicly_available_datasets: Attestation = Attestation.TO_BE_PROVIDED
    licensed_private_datasets: Attestation = Attestation.TO_BE_PROVIDED
    other_private_datasets: Attestation = Attestation.TO_BE_PROVIDED
    crawled_data: Attestation = Attestation.TO_BE_PROVIDED
    user_data: Attestation = Attestation.TO_BE_PROVIDED
    synthetic_data: Attestation = Attestation.TO_BE_PROVIDED
    data_of_other_models: Attestation = Attestation.TO_BE_PROVIDED
    copyright_policy_in_place: Attestation = Attestation.TO_BE_PROVIDED
    reservations_of_rights_respected: Attestation = Attestation.TO_BE_PROVIDED
    illegal_content_removed: Attestation = Attestation.TO_BE_PROVIDED


@dataclass
class TrainingRecord:
    """Everything about one run. Dates are ISO 8601 in UTC."""

    model: ModelRecord
    recipe: str
    recipe_digest: str
    started: str
    finished: str | None = None
    sources: list[SourceRecord] = field(default_factory=list)
    samples: list[SampleRecord] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)
    compute: Compute = field(default_factory=Compute)
    software: dict[str, str] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    attestations: Attestations = field(default_factory=Attestations)
    base: dict[str, Any] = field(default_factory=dict)  # the record of the base model, as it came with it
    schema: str = SCHEMA

    @property
    def tokens(self) -> int:
        """Tokens read in training, repetitions counted."""
        return sum(stage.tokens for stage in self.stages)


def share_out(records: list[SourceRecord]) -> None:
    """Gives each source its share of all tokens."""
    total = sum(record.tokens for record in records) or 1
    for record in records:
        record.share = record.tokens / total


def write_record(record: TrainingRecord, path: Path) -> None:
    """Writes the record as JSON."""
    write_json(path, to_json(record))


def read_record(path: Path) -> TrainingRecord:
    """Reads a record; TrainingError names the field that is missing or wrong."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read as a training record: {error}.") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise TrainingError(f"{path} is no training record of the schema {SCHEMA}.")
    try:
        return from_json(TrainingRecord, data)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{path} is no whole training record: {error}.") from error


def to_json(value: Any) -> Any:
    """A record's dataclass as plain JSON values."""
    return dataclasses.asdict(value)


def from_json(kind: type[T], data: Any) -> T:
    """The inverse of `to_json`. Raises TypeError or ValueError that names the field."""
    return typing.cast(T, _read(kind, data, kind.__name__))


def _read(kind: Any, data: Any, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(data, dict):
            raise TypeError(f"{name} must be an object")
        hints = typing.get_type_hints(kind)
        if unknown := data.keys() - hints.keys():
            raise TypeError(f"{name} has an unknown field, {sorted(unknown)[0]}")
        return kind(**{key: _read(hints[key], value, f"{name}.{key}") for key, value in data.items()})  # type: ignore[operator]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list and isinstance(data, list):
        return [_read(arguments[0], item, f"{name}[{number}]") for number, item in enumerate(data)]
    if origin is dict and isinstance(data, dict):
        return {key: _read(arguments[1], value, f"{name}.{key}") for key, value in data.items()}
    if origin in (types.UnionType, typing.Union):
        return None if data is None else _read(arguments[0], data, name)
    if kind is float and type(data) in (int, float):
        return float(data)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(data)
    if kind is not Any and type(data) is not kind:
        raise TypeError(f"{name} must be {kind}")
    return data
