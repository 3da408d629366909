"""How words join in each language, and how templates are read."""

from __future__ import annotations

import random

import pytest

from tramontane.training.generators.joining import join
from tramontane.training.generators.names import SYLLABLES
from tramontane.training.generators.template import template
from tramontane.training.generators.typography import curly, no_break


@pytest.mark.parametrize(
    ("language", "text", "word", "joined"),
    [
        ("fr", "le contrat de ", "Alvane", "le contrat d'Alvane"),
        ("fr", "le contrat de ", "Édis", "le contrat d'Édis"),
        ("fr", "le contrat de ", "Belac", "le contrat de Belac"),
        ("fr", "parce que ", "Odile", "parce qu'Odile"),
        ("fr", "le code ", "Alvane", "le code Alvane"),
        ("it", "scade il ", "8 marzo", "scade l'8 marzo"),
        ("it", "disponibile dal ", "11 aprile 2027", "disponibile dall'11 aprile 2027"),
        ("it", "libera dal ", "3 aprile", "libera dal 3 aprile"),
        ("it", "fino al ", "8 maggio", "fino all'8 maggio"),
        ("it", "con il ", "110 per cento", "con il 110 per cento"),
        ("it", "abita a ", "Ancona", "abita ad Ancona"),
        ("es", "Pérez y ", "Ibarra", "Pérez e Ibarra"),
        ("es", "Pérez y ", "Garro", "Pérez y Garro"),
        ("es", "uno o ", "Otero", "uno u Otero"),
        ("en", "it is a ", "old house", "it is an old house"),
        ("de", "mit ", "Anna", "mit Anna"),
    ],
)  # fmt: skip
def test_words_join(language: str, text: str, word: str, joined: str) -> None:
    assert join(language, text, word) == joined


def test_choices_nest_and_tables_keep_their_bars() -> None:
    texts = {template("[a|b[c|]|] {x}").fill(random.Random(n), str.upper, str.__add__) for n in range(50)}
    assert texts == {"a X", "bc X", "b X", " X"}
    assert template("| {x} | y |").fill(random.Random(0), str.upper, str.__add__) == "| X | y |"


@pytest.mark.parametrize("text", ["[a|b", "a]", "a|b", "{a"])
def test_broken_templates_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        template(text)


def test_typography() -> None:
    assert curly("l'eau") == "l’eau"
    assert no_break("12 400 € : « oui » !") == "12\u00a0400\u00a0€\u00a0: «\u00a0oui\u00a0»\u00a0!"


def test_syllables_are_listed() -> None:
    assert "start" in SYLLABLES
