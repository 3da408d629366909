"""What a run is made of, as a TOML file: tokenizer, model, sources of text, and stages one after another.

    [tokenizer]
    entries = 4096

    [model]
    dim = 256
    …

    [[source]]
    package = "manpages-fr"
    language = "fr"

    [[data]]
    name = "support"
    file = "support.jsonl"
    …

    [[stage]]
    name = "copy"
    tokens = 5_000_000
    mix = { repeat = 1.0 }
    …

Everything is typed and checked before anything runs; an unknown key is refused by its full name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
import types
import typing
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from tramontane.errors import TramontaneError
from tramontane.model.config import ModelConfig
from tramontane.training.errors import RecipeError

TEXT = "text"
"""The kind of sample that is a piece of the sources' text."""

CONTINUE = "continue"
"""The kind that asks how sentences of the sources' text go on."""

OF_TEXT = (TEXT, CONTINUE)
"""The kinds that need sources; every other kind is the name of a data file or of a generator."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class TokenizerRecipe:
    """`entries` beside the control tokens, the 256 bytes included; `samples` of the stages' mixes to learn them from,
    beside up to `megabytes` of each source."""

    entries: int
    samples: int = 2000
    megabytes: float = 4.0


@dataclass(frozen=True)
class ModelRecipe:
    """The fields of ModelConfig that a plain Mistral model needs; the vocabulary's size comes from the tokenizer."""

    dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    ffn_dim: int
    max_context: int
    head_dim: int = 64
    rope_theta: float = 10_000.0
    tied_embeddings: bool = True

    def config(self, vocab_size: int) -> ModelConfig:
        """The model's configuration; CheckpointError names a field that makes no model."""
        return ModelConfig(vocab_size=vocab_size, **dataclasses.asdict(self))


@dataclass(frozen=True)
class SourceRecipe:
    """A source of text: an installed Debian package by name, or a folder with what there is to know about it."""

    language: str
    package: str = ""
    covered: str = ""  # the `Files:` line of the package's copyright file that covers its text, if not all of them do
    folder: str = ""
    licence: str = ""  # of a folder; a package carries its own
    origin: str = ""  # where a folder's text was obtained
    obtained: str = ""  # when, as YYYY-MM-DD
    weight: float = 1.0  # how often a piece of it is drawn, times its size
    megabytes: float = 16.0  # no more of it than this is used


@dataclass(frozen=True)
class DataRecipe:
    """A file of samples, one JSON object a line (`jsonl.py`), that stages mix by its name; and what is known of it."""

    name: str
    file: str  # beside the recipe, if it is relative; absolute once it is read
    language: str
    licence: str  # or whose it is: it need not be free
    origin: str
    obtained: str  # YYYY-MM-DD


@dataclass(frozen=True)
class StageRecipe:
    """A part of the training with its own data, length of sequences and schedule.

    `mix`: kinds of sample and the share of *samples* that each has; `languages`: likewise, all alike if empty (a data
    file is of one language, and keeps the share that `mix` gives it).
    `batch_tokens` make a step. The rate rises over `warmup` of the steps and falls to zero over the last `warmdown`.
    """

    name: str
    tokens: int
    sequence_length: int
    batch_tokens: int
    mix: dict[str, float]
    languages: dict[str, float] = field(default_factory=dict)
    learning_rate: float = 3e-3  # of AdamW: embeddings and norms
    muon_learning_rate: float = 0.02  # of Muon: matrices
    weight_decay: float = 0.01
    warmup: float = 0.02
    warmdown: float = 0.5
    clip: float = 1.0  # the largest norm of a gradient
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """A whole run. `digest` is that of everything above it: a run is resumed with the same recipe only."""

    name: str
    stage: tuple[StageRecipe, ...]
    base: str = ""  # a folder, beside the recipe, of a model to go on from: its shape and tokenizer are the run's
    tokenizer: TokenizerRecipe | None = None  # without a base, both
    model: ModelRecipe | None = None
    source: tuple[SourceRecipe, ...] = ()
    data: tuple[DataRecipe, ...] = ()
    model_name: str = ""  # of the model card; the recipe's if not given
    languages: tuple[str, ...] = ()  # of the model card
    description: str = ""
    licence: str = "apache-2.0"
    checkpoint_seconds: float = 120.0

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe's content, whatever its layout and wherever its data files lie."""
        content = dataclasses.asdict(self)
        for entry in content["data"]:
            entry["file"] = Path(entry["file"]).name  # what is in it, the run itself compares
        base = Path(content.pop("base")).name  # likewise
        if base:
            content["base"] = base
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_recipe(reference: str | Path) -> Recipe:
    """A recipe from a file, or by the name of one that comes with the package. Raises RecipeError."""
    path = Path(reference)
    if not path.suffix and not path.exists():
        return parse_recipe(_bundled(str(reference)), f"{reference}.toml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe: {error}.") from error
    return parse_recipe(text, str(path))


def parse_recipe(text: str, path: str = "recipe") -> Recipe:
    """A recipe from its text; `path` is named in what is refused, and data files are sought beside it."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML: {error}.") from error
    recipe: Recipe = _read(Recipe, data, path, "")
    _check(recipe, path)
    beside = Path(path).parent.absolute()
    found = tuple(dataclasses.replace(entry, file=str(beside / entry.file)) for entry in recipe.data)
    return dataclasses.replace(recipe, data=found, base=recipe.base and str(beside / recipe.base))


def bundled_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    folder = resources.files(__package__).joinpath("recipes")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _bundled(name: str) -> str:
    if name not in bundled_recipes():
        known = ", ".join(bundled_recipes())
        raise RecipeError(f"There is no recipe {name!r}: give a .toml file, or one of {known}.")
    return resources.files(__package__).joinpath("recipes", f"{name}.toml").read_text(encoding="utf-8")


def _check(recipe: Recipe, path: str) -> None:
    def refuse(name: str, reason: str) -> typing.NoReturn:
        raise RecipeError(f"{path}: {name} {reason}.")

    if not recipe.stage:
        refuse("stage", "is missing: a recipe needs at least one")
    if len({stage.name for stage in recipe.stage}) < len(recipe.stage):
        refuse("stage", "has two entries of one name")
    _check_shape(recipe, path, refuse)
    for number, source in enumerate(recipe.source):
        if bool(source.package) == bool(source.folder):
            refuse(f"source[{number}]", "needs either a package or a folder")
    _check_data(recipe, refuse)
    for number, stage in enumerate(recipe.stage):
        _check_stage(f"stage[{number}]", stage, recipe, refuse)


def _check_shape(recipe: Recipe, path: str, refuse: typing.Callable[[str, str], None]) -> None:
    if recipe.base:
        for name in ("tokenizer", "model"):
            if getattr(recipe, name) is not None:
                refuse(name, "is that of the base; leave it out")
        return
    if recipe.model is None or recipe.tokenizer is None:
        missing = "model" if recipe.model is None else "tokenizer"
        raise RecipeError(f"{path}: {missing} is missing; without it a recipe needs a base to go on from.")
    if recipe.tokenizer.entries < 256:
        refuse("tokenizer.entries", "must be at least 256, one for each byte")
    try:
        recipe.model.config(vocab_size=256)
    except TramontaneError as error:
        raise RecipeError(f"{path}: model: {error}") from error


def _check_data(recipe: Recipe, refuse: typing.Callable[[str, str], None]) -> None:
    if len({entry.name for entry in recipe.data}) < len(recipe.data):
        refuse("data", "has two entries of one name")
    for number, entry in enumerate(recipe.data):
        name = f"data[{number}]"
        for key in ("file", "language", "licence", "origin"):
            if not getattr(entry, key):
                refuse(f"{name}.{key}", "is empty; where data comes from must be known")
        if not _NAME.fullmatch(entry.name):
            refuse(f"{name}.name", "may have letters, digits, - and _ alone")
        if entry.name in OF_TEXT:
            refuse(f"{name}.name", f"is {entry.name!r}, which is a kind of sample already; give it another")
        if not _DATE.fullmatch(entry.obtained):
            refuse(f"{name}.obtained", f"is {entry.obtained!r}, which is no date like 2026-11-24")
        if not any(stage.mix.get(entry.name) for stage in recipe.stage):
            refuse(name, f"is in no stage's mix; add {entry.name} = 1.0 to one, or leave it out")


def _check_stage(name: str, stage: StageRecipe, recipe: Recipe, refuse: typing.Callable[[str, str], None]) -> None:
    positive = ("tokens", "sequence_length", "batch_tokens", "learning_rate", "muon_learning_rate", "clip")
    for key in positive:
        if getattr(stage, key) <= 0:
            refuse(f"{name}.{key}", "must be above 0")
    if recipe.model is not None and stage.sequence_length > recipe.model.max_context:
        refuse(f"{name}.sequence_length", f"exceeds model.max_context, {recipe.model.max_context}")
    if stage.batch_tokens < stage.sequence_length:
        refuse(f"{name}.batch_tokens", "must hold one sequence at least")
    if not 0 <= stage.warmup + stage.warmdown <= 1 or min(stage.warmup, stage.warmdown) < 0:
        refuse(f"{name}.warmdown", "and warmup are shares of the steps, together at most 1")
    for key in ("mix", "languages"):
        weights: dict[str, float] = getattr(stage, key)
        if any(weight < 0 for weight in weights.values()) or (weights and not sum(weights.values())):
            refuse(f"{name}.{key}", "needs weights of at least 0, one of them above")
    if not stage.mix:
        refuse(f"{name}.mix", "is empty: name kinds of sample and their weights")
    for kind in OF_TEXT:
        if stage.mix.get(kind) and not recipe.source:
            refuse(f"{name}.mix.{kind}", "asks for text, but the recipe has no source")
    for entry in recipe.data:
        if stage.mix.get(entry.name) and stage.languages and not stage.languages.get(entry.language):
            refuse(f"{name}.mix.{entry.name}", f"is in {entry.language!r}, which {name}.languages leaves out")


def _read(kind: Any, data: Any, path: str, name: str) -> Any:
    """`data` as the type `kind`: dataclasses, tuples and dictionaries of them, and plain values."""
    if isinstance(kind, types.UnionType):  # what is left out is None; what is there is of the other type
        kind = typing.get_args(kind)[0]
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, data, path, name)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(data, list):
        return tuple(_read(arguments[0], item, path, f"{name}[{number}]") for number, item in enumerate(data))
    if origin is dict and isinstance(data, dict):
        return {key: _read(arguments[1], value, path, f"{name}.{key}") for key, value in data.items()}
    if kind is float and type(data) in (int, float):
        return float(data)
    if isinstance(kind, types.GenericAlias) or type(data) is not kind:
        expected = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise RecipeError(f"{path}: {name} must be {expected.get(kind, 'a list' if origin is tuple else 'a table')}.")
    return data


def _read_dataclass(kind: Any, data: Any, path: str, name: str) -> Any:
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: {name} must be a table.")
    hints, prefix = typing.get_type_hints(kind), f"{name}." if name else ""
    for key in data:
        if key not in hints:
            raise RecipeError(f"{path}: {prefix}{key} is not a key that recipes have; known here: {', '.join(hints)}.")
    for entry in dataclasses.fields(kind):
        optional = (entry.default, entry.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        if entry.name not in data and not optional:
            raise RecipeError(f"{path}: {prefix}{entry.name} is missing.")
    return kind(**{key: _read(hints[key], value, path, prefix + key) for key, value in data.items()})
