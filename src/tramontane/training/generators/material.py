"""All that a language brings to the generators: families of documents, names, words, and ways to write values."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from tramontane.training.generators.families import Family, read_families, read_lists
from tramontane.training.generators.names import Names
from tramontane.training.generators.template import Template, template
from tramontane.training.generators.values import Values

LANGUAGES = ("fr", "de", "es", "it", "en")
TRAINING_DATA = Path(__file__).parent / "data"

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Material:
    """One language's material. `words` are its lists of words and of ready sentences."""

    language: str
    families: dict[str, Family]
    words: dict[str, list[str]]
    names: Names
    values: Values

    def fill(self, text: Template, rng: random.Random, value: Callable[[str], str] | None = None) -> str:
        """A template filled by `value`, or by fresh values of the slots' kinds."""
        return text.fill(rng, value or (lambda slot: self.values.draw(slot, rng)), self.values.join)

    def phrase(self, name: str, rng: random.Random, **values: str) -> str:
        """A sentence from one of the lists; slots that `values` does not fill get fresh values."""
        text = template(rng.choice(self.words[name]))
        return self.fill(text, rng, lambda slot: values[slot] if slot in values else self.values.draw(slot, rng))


def load_material(folder: Path, language: str, words: dict[str, list[str]] | None = None) -> Material:
    """The material in `folder/language`; `words` are there for what its own lists do not have.

    Raises ValueError where two files have a family or a list of the same name.
    """
    place = folder / language
    lists = {**(words or {}), **_merged(read_lists, place / "words")}
    names = Names(language, read_lists(place / "names.txt"))
    return Material(language, _merged(read_families, place / "families"), lists, names, Values(language, names, lists))


def _merged(read: Callable[[Path], dict[str, _Read]], folder: Path) -> dict[str, _Read]:
    """What all files of a folder have, in the order of their names."""
    merged: dict[str, _Read] = {}
    for path in sorted(folder.glob("*.txt")):
        found = read(path)
        if twice := merged.keys() & found.keys():
            raise ValueError(f"{path} has {sorted(twice)[0]!r} once more; give it another name")
        merged |= found
    return merged


@cache
def training_material(language: str) -> Material:
    """What training draws from, and evaluation never does."""
    return load_material(TRAINING_DATA, language)
