"""How a word joins the text before it, by language: elision, and conjunctions that avoid a clash of vowels."""

from __future__ import annotations

import re
import unicodedata

_FRENCH = re.compile(r"(?:^|(?<=[\s('’«]))([dD]|[qQ]u|[lL]orsqu|[pP]uisqu)e $")
_ITALIAN_ARTICLE = re.compile(r"(?:^|(?<=[\s(]))(il|Il|dal|Dal|al|Al|del|Del|nel|Nel|sul|Sul) $")
_ITALIAN_AND = re.compile(r"(?:^|(?<=[\s(]))(a|A|e|E) $")
_SPANISH_AND = re.compile(r"(?<=\s)(y|o) $")
_ENGLISH_A = re.compile(r"(?:^|(?<=[\s(]))(a|A) $")
_EIGHT_OR_ELEVEN = re.compile(r"8|11(?!\d)")  # otto, undici


def join(language: str, text: str, word: str) -> str:
    """The text with the word behind it."""
    if not text.endswith(" ") or not word:
        return text + word
    return _JOINERS.get(language, _plainly)(text, word)


def _plainly(text: str, word: str) -> str:
    return text + word


def _french(text: str, word: str) -> str:
    if _first(word) in "aeiouœ" and (found := _FRENCH.search(text)):
        return text[: found.end(1)] + "'" + word
    return text + word


def _italian(text: str, word: str) -> str:
    if _EIGHT_OR_ELEVEN.match(word) and (found := _ITALIAN_ARTICLE.search(text)):
        article = found[1]
        stem = article[:-1] if article in ("il", "Il") else article
        return text[: found.start(1)] + {"i": "l", "I": "L"}.get(stem, stem + "l") + "'" + word
    if (found := _ITALIAN_AND.search(text)) and _first(word) == found[1].lower():
        return text[:-1] + "d " + word
    return text + word


def _spanish(text: str, word: str) -> str:
    found = _SPANISH_AND.search(text)
    if found and found[1] == "y" and re.match(r"(?i)h?[ií](?![aeo])", word):
        return text[: found.start(1)] + "e " + word
    if found and found[1] == "o" and re.match(r"(?i)h?[oó]", word):
        return text[: found.start(1)] + "u " + word
    return text + word


def _english(text: str, word: str) -> str:
    if _first(word) in "aeiou" and _ENGLISH_A.search(text):
        return text[:-1] + "n " + word
    return text + word


def _first(word: str) -> str:
    """The first letter without its accent; what is no letter is itself."""
    return unicodedata.normalize("NFD", word[0])[0].lower()


_JOINERS = {"fr": _french, "it": _italian, "es": _spanish, "en": _english}
