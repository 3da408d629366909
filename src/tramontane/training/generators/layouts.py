"""Layouts of documents: the same facts as prose, as lists, as tables, as a letter, under headings."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tramontane.training.generators.material import Material
from tramontane.training.generators.typography import wrapped


@dataclass(frozen=True)
class Fact:
    """A value with the sentence that tells it and the label that it has in a list."""

    name: str
    label: str
    sentence: str
    value: str


@dataclass(frozen=True)
class Parts:
    """What a document is made of."""

    material: Material
    opening: str | None
    facts: list[Fact]
    fillers: list[str]
    signature: str

    @property
    def head(self) -> list[str]:
        """The opening, if there is one."""
        return [] if self.opening is None else [self.opening]

    def labelled(self, fact: Fact, mark: str = "") -> str:
        """A line of a list."""
        colon = " : " if self.material.language == "fr" else ": "
        return f"{mark}{fact.label}{colon}{fact.value}"


Layout = Callable[[random.Random, Parts], tuple[str, list[Fact]]]
"""Gives the text, and the facts whose sentences stand in it."""


def lay_out(rng: random.Random, parts: Parts) -> tuple[str, set[str]]:
    """The text in a random layout, and the names of the facts whose whole sentences stand in it."""
    text, told = rng.choices(_LAYOUTS, _WEIGHTS)[0](rng, parts)
    return text, {fact.name for fact in told}


def _sentences(rng: random.Random, parts: Parts, facts: list[Fact]) -> list[str]:
    """Facts and fillers, mixed; a sentence that tells several facts stands there once."""
    sentences = list(dict.fromkeys(fact.sentence for fact in facts))
    for filler in parts.fillers:
        sentences.insert(rng.randint(0, len(sentences)), filler)
    return sentences


def _prose(rng: random.Random, parts: Parts) -> tuple[str, list[Fact]]:
    text = " ".join([*parts.head, *_sentences(rng, parts, parts.facts)])
    return (wrapped(text, rng.choice((60, 72, 78))) if rng.random() < 0.1 else text), parts.facts


def _paragraphs(rng: random.Random, parts: Parts) -> tuple[str, list[Fact]]:
    sentences = _sentences(rng, parts, parts.facts)
    groups = [list(parts.head)]
    for sentence in sentences:
        if groups[-1] and rng.random() < 0.4:
            groups.append([])
        groups[-1].append(sentence)
    return rng.choice(("\n\n", "\n")).join(" ".join(group) for group in groups if group), parts.facts


def _list(rng: random.Random, parts: Parts) -> tuple[str, list[Fact]]:
    mark = rng.choice(("", "", "- ", "• ", "– ", "* "))
    lines = [parts.labelled(fact, mark) for fact in parts.facts]
    return "\n".join([*parts.head, *lines, *parts.fillers]), []


def _table(rng: random.Random, parts: Parts) -> tuple[str, list[Fact]]:
    rows = [f"| {fact.label} | {fact.value} |" for fact in parts.facts]
    if rng.random() < 0.5:
        rows.insert(min(1, len(rows)), "| --- | --- |")
    return "\n".join([*parts.head, *rows, *parts.fillers]), []


def _one_line(rng: random.Random, parts: Parts) -> tuple[str, list[Fact]]:
    listed = rng.choice(("; ", " – ", ", ")).join(parts.labelled(fact) for fact in parts.facts)
    return " ".join([*parts.head, f"{listed}.", *parts.fillers]), []


def _numbered(rng: random.Random, parts: Parts) -> tuple[str, list[Fact]]:
    form = rng.choice(("{}. ", "{}) ", "§ {} ", "Art. {} – "))
    numbered = [form.format(n) + sentence for n, sentence in enumerate(_sentences(rng, parts, parts.facts), start=1)]
    return "\n".join([*parts.head, *numbered]), parts.facts


def _letter(rng: random.Random, parts: Parts) -> tuple[str, list[Fact]]:
    material = parts.material
    lines = [material.phrase("salutation", rng), " ".join([*parts.head, *_sentences(rng, parts, parts.facts)])]
    if rng.random() < 0.4:
        lines.insert(0, material.phrase("reference_line", rng))
    lines += [material.phrase("closing", rng), parts.signature]
    return rng.choice(("\n\n", "\n")).join(lines), parts.facts


def _headed(rng: random.Random, parts: Parts) -> tuple[str, list[Fact]]:
    heading = rng.choice(("## {}", "{}", "**{}**")).format(parts.material.phrase("heading", rng))
    cut = rng.randint(0, len(parts.facts))
    lines = [parts.labelled(fact, "- ") for fact in parts.facts[cut:]]
    prose = " ".join([*parts.head, *_sentences(rng, parts, parts.facts[:cut])])
    blocks = ([prose] if prose else []) + (["\n".join([heading, *lines])] if lines else [])
    return "\n\n".join(blocks), parts.facts[:cut]


_LAYOUTS: list[Layout] = [_prose, _paragraphs, _list, _table, _one_line, _numbered, _letter, _headed]
_WEIGHTS = [30, 20, 14, 6, 5, 8, 9, 8]
