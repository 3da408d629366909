"""The sentence that fits a question best: for models that are lost in more than that.

A model of a few million parameters picks a value out of a sentence, and hardly ever the right sentence out of a page.
Words can find the sentence: those of the question, by their first letters, the rarer the better.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tramontane.conversations.passages import Span, cut
from tramontane.conversations.plain_text import folded
from tramontane.conversations.stop_words import STOP_WORDS

_LONGEST = 300  # characters; what goes on without an end is a table or a list
_STEMS = (4, 7)  # letters: Kündigung and kündigen have the first in common, plazo and plazas not the second
_WORD = re.compile(r"\w+")
# A line, or what ends with a mark that a new sentence follows. No end is the point of “Dr. Roux” before a small letter,
# nor that of a German date.
_MONTHS = "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
_END = re.compile(rf"\n+|(?<=[.!?…])(?!(?<=\d\.)[ \t]+(?:{_MONTHS})\b)[ \t]+(?=[\W\d]*[A-ZÀ-ÞŒ])")
_HEADING_WORDS, _HEADING_WORTH = 6, 0.4
_CONTEXT_WORTH = 0.6  # of a word that stands in the sentence before, or in the first one: what this one speaks of


def sentences(text: str) -> list[Span]:
    """Where the sentences of a text are, blanks around them left out."""
    spans = []
    start = 0
    ends = [(match.start(), match.end()) for match in _END.finditer(text)]
    for end, following in [*ends, (len(text), len(text))]:
        spans += [Span(start + span.start, start + span.end) for span in cut(text[start:end], _LONGEST)]
        start = following
    return spans


def best_sentence(texts: Sequence[str], question: str) -> tuple[int, Span] | None:
    """Which of the texts has the sentence that fits a question best, and where; None where none shares a word."""
    asked = _stems(question)
    places = [(index, span) for index, text in enumerate(texts) for span in sentences(text)]
    said = [_stems(texts[index][slice(*span)]) for index, span in places]
    found_in = Counter(stem for of_one in said for stem in of_one & asked)
    worth = {stem: math.log(1 + len(places) / number) for stem, number in found_in.items()}

    def score(number: int) -> float:
        index, span = places[number]
        own = sum(worth[stem] for stem in said[number] & asked)
        context = _context(places, said, number) & asked - said[number]
        plainness = _plainness(texts[index][slice(*span)], said[number])
        return own * plainness + _CONTEXT_WORTH * sum(worth[stem] for stem in context)

    best = max(range(len(places)), key=score, default=None)
    return None if best is None or score(best) <= 0 else places[best]


def _context(places: Sequence[tuple[int, Span]], said: Sequence[set[str]], number: int) -> set[str]:
    """The words of the sentence before, and of the first one, of the same text."""
    index = places[number][0]
    first = number
    while first > 0 and places[first - 1][0] == index:
        first -= 1
    return said[first] | said[max(first, number - 1)]


def _plainness(text: str, stems: set[str]) -> float:
    """Of two sentences with the same words the shorter one; a heading has the words, and not the answer."""
    most = _HEADING_WORDS if text[-1] not in ".!?…" else _HEADING_WORDS // 2
    is_heading = len(text.split()) <= most and not re.search(r"[\d:|]", text)
    return (_HEADING_WORTH if is_heading else 1.0) / (1 + 0.01 * len(stems))


def _stems(text: str) -> set[str]:
    return {word[:letters] + str(letters) for word in _telling_words(text) for letters in _STEMS}


def _telling_words(text: str) -> Iterator[str]:
    for word in _WORD.findall(folded(text)):
        if word not in STOP_WORDS and (len(word) > 1 or word.isdigit()):
            yield word
