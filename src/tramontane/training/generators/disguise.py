"""Invented words in place of the templates' own, the same everywhere in a sample.

Families of documents are many but not endless, and a model comes to know their sentences by heart. Where the words that
tell things apart are new each time, what is left is what holds for documents of any kind: the words that a question
shares with a sentence, and what kind of value it asks for.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import cache

from tramontane.training.copying import word
from tramontane.training.generators.families import Family
from tramontane.training.generators.material import training_material

_WORD = re.compile(r"[^\W\d_]{4,}")  # shorter ones are articles and the like
_SLOT, _SLOTS = re.compile(r"\{\w+\}"), re.compile(r"(\{\w+\})")
_STEM = 5  # letters that forms of a word share, about
_MOST_GROUPS = 0.1  # of all: a word that more families use says nothing of what is told
_KEPT_LISTS = ("month", "number", "unit_of_time")  # what one knows a kind of value by
_SHARES = (0.3, 0.6, 0.9)  # of a sample's own words that are replaced

Disguise = Callable[[str], str]
"""A text in other words; slots of templates stay."""


def draw_disguise(rng: random.Random, stems: Collection[str]) -> Disguise:
    """Replaces words that begin with one of the stems; the forms of one by forms of one other, in all texts."""
    share = rng.choice(_SHARES)
    invented: dict[str, str] = {}

    def replacement(found: re.Match[str]) -> str:
        text = found[0]
        stem = text[:_STEM].lower()
        if stem not in stems:
            return text
        if stem not in invented:
            new = stem
            if rng.random() < share:
                while new == stem or new in invented.values():
                    new = word(rng).lower()
            invented[stem] = new
        new = invented[stem]
        return (new.capitalize() if text[0].isupper() else new) + text[_STEM:]

    def disguise(text: str) -> str:
        return "".join(part if _SLOT.fullmatch(part) else _WORD.sub(replacement, part) for part in _SLOTS.split(text))

    return disguise


def telling_stems(groups: Iterable[Iterable[str]], kept: Iterable[str] = ()) -> frozenset[str]:
    """The beginnings of the words that only a few of the groups of templates use, and that `kept` has not."""
    found = [_stems(texts) for texts in groups]
    counts = Counter(stem for stems in found for stem in stems)
    return frozenset(stem for stem, count in counts.items() if count <= _MOST_GROUPS * len(found)) - _stems(kept)


@cache
def family_stems(language: str) -> frozenset[str]:
    """The beginnings of the words that tell the language's families of documents apart, and what these tell."""
    material = training_material(language)
    kept = (entry for name in _KEPT_LISTS for entry in material.words[name])
    return telling_stems(map(_texts, material.families.values()), kept)


def _stems(texts: Iterable[str]) -> set[str]:
    return {found[:_STEM].lower() for text in texts for found in _WORD.findall(_SLOT.sub(" ", text))}


def _texts(family: Family) -> Iterable[str]:
    templates = [*family.titles, *family.openings, *family.joint_sentences, *family.rows, *family.fillers]
    for attribute in family.attributes.values():
        templates += [
            *attribute.labels, *attribute.facts, *attribute.near_questions, *attribute.far_questions
        ]  # fmt: skip
    return (template.text for template in templates)
