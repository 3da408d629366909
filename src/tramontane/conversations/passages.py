"""Passages: documents cut into pieces, and the choice of pieces that a model is given where not all has room.

A passage is `text[start:end]`. What the model is given of a document are spans of its text with `[…]` between them, and
`locate` says of a quotation from that where in the document it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SIZE = 900
"""Characters of a passage: some 200 tokens, a thought or two; small enough that a small model is given several."""

GAP = "[…]"
"""The line that stands where a document's text was left out."""

_BETWEEN = f"\n\n{GAP}\n\n"
_BEFORE = f"{GAP}\n\n"
_AFTER = f"\n\n{GAP}"

_PARAGRAPH_END = re.compile(r"\n\s*\n\s*")
_SENTENCE_END = re.compile(r"\n\s*|(?<=[.!?…])[\"'»”’)\]]*\s+|(?<=[。！？])")
_WORD_END = re.compile(r"\s+")
_MAX_HEADING = 120  # characters
_NO_HEADING = re.compile(r"- |.* \| |.*[.!?;,…][\"'»”’)\]]*$")


class Span(NamedTuple):
    """Characters of a text, from `start` to before `end`."""

    start: int
    end: int


class Key(NamedTuple):
    """A passage: the index of its document among those attached, and its number in it."""

    document: int
    number: int


@dataclass(frozen=True)
class Document:
    """A document to choose from: how long it is, and its passages as `cut` made them."""

    length: int
    passages: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Given:
    """What the model is given of a document, in reading order; nothing where there was no room."""

    spans: tuple[Span, ...]
    whole: bool


@dataclass(frozen=True)
class Choice:
    """What is given of each document, in their order, and the indices of those of which nothing found room."""

    given: tuple[Given, ...]
    left_out: tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """A span of a document, and where it begins in the text that was joined from such spans."""

    at: int
    span: Span


def cut(text: str, size: int = SIZE) -> list[Span]:
    """The passages of a text: none longer than `size`, every character but blanks in one of them, in order.

    The cuts are between paragraphs, where that makes no tiny passages, else between sentences or lines, else between
    words. A heading stays with what follows.
    """
    if size < 1:
        raise ValueError(f"A passage has at least one character, not {size}.")
    passages = []
    start = _skip_blanks(text, 0)
    while start < len(text):
        end = _end(text, start, size)
        passages.append(Span(start, start + len(text[start:end].rstrip())))
        start = _skip_blanks(text, end)
    return passages


def choose(documents: Sequence[Document], ranking: Iterable[tuple[int, int]], budget: int) -> Choice:
    """What of the documents is given to the model, within `budget` characters in all, with the marks of gaps.

    `ranking` has passages as (index of the document, number of the passage), the best first. Everything is given
    whole where it has room. Else each document has a turn before any has a second one: its best passage, or its
    beginning if none was ranked; then the ranking decides.
    """
    if sum(document.length for document in documents) <= budget:
        return Choice(tuple(Given((Span(0, d.length),), True) for d in documents), ())
    keys = [Key(*key) for key in dict.fromkeys(ranking)]
    room = _Room(documents, budget)
    for mine in _by_document(keys, len(documents)):
        next(filter(room.add, mine), None)
    for key in keys:
        room.add(key)
    given = tuple(room.given(index) for index in range(len(documents)))
    return Choice(given, tuple(index for index, of_it in enumerate(given) if not of_it.spans))


def join(text: str, spans: Sequence[tuple[int, int]]) -> tuple[str, list[Piece]]:
    """The spans of a text as one, with a line `[…]` wherever words were left out; and where each is in it."""
    joined = ""
    pieces = []
    end = 0
    for span in spans:
        if text[end : span[0]].strip():
            joined += _BETWEEN if joined else _BEFORE
        elif joined:
            joined += text[end : span[0]]
        pieces.append(Piece(len(joined), Span(*span)))
        joined += text[slice(*span)]
        end = span[1]
    if joined and text[end:].strip():
        joined += _AFTER
    return joined, pieces


def locate(pieces: Iterable[Piece], start: int, end: int) -> list[Span]:
    """The spans of the document that `joined[start:end]` shows: two where it runs over a gap, none in a gap."""
    found = []
    for piece in pieces:
        offset = piece.span.start - piece.at
        span = Span(max(start + offset, piece.span.start), min(end + offset, piece.span.end))
        if span.start < span.end:
            found.append(span)
    return found


def _skip_blanks(text: str, start: int) -> int:
    match = re.compile(r"\s*").match(text, start)
    return match.end() if match else start


def _end(text: str, start: int, size: int) -> int:
    """Where the passage that begins at `start` ends."""
    limit = start + size
    if len(text) <= limit:
        return len(text)
    least = start + max(size // 3, 1)  # a cut before that would leave crumbs
    window = text[start : limit + 1]  # with the blank that may follow the passage
    paragraphs = [start + m.start() for m in _PARAGRAPH_END.finditer(window) if m.start() <= size]
    headings = {end for end in paragraphs if _is_heading(text, start, end)}
    sentences = [start + m.start() + len(m[0].rstrip()) for m in _SENTENCE_END.finditer(window)]
    words = [start + m.start() for m in _WORD_END.finditer(window)]
    # From the best kind of cut to the worst; of a kind, the last.
    for cuts, first in ((paragraphs, least), (sentences, least), (paragraphs, start + 1), (words, start + 1)):
        last = max((end for end in cuts if first <= end <= limit and end not in headings), default=None)
        if last is not None:
            return last
    return limit


def _is_heading(text: str, start: int, end: int) -> bool:
    """Whether the paragraph that ends at `end` is a heading: a short line that is no sentence, item or table row."""
    begin = max((m.end() for m in _PARAGRAPH_END.finditer(text, start, end)), default=start)
    line = text[begin:end]
    if line.startswith("#"):
        return "\n" not in line
    return len(line) <= _MAX_HEADING and "\n" not in line and not _NO_HEADING.match(line)


def _by_document(keys: Iterable[Key], count: int) -> list[list[Key]]:
    """The ranked passages of each document, that with the best first; those without begin at their beginning."""
    ranked: dict[int, list[Key]] = {}
    for key in keys:
        ranked.setdefault(key.document, []).append(key)
    return [*ranked.values(), *([Key(index, 0)] for index in range(count) if index not in ranked)]


class _Room:
    """Passages that were chosen, and what is left of the budget."""

    def __init__(self, documents: Sequence[Document], budget: int) -> None:
        self._documents = documents
        self._left = budget
        self._chosen: list[set[int]] = [set() for _ in documents]
        self._costs = [0] * len(documents)

    def add(self, key: Key) -> bool:
        """Chooses a passage, if it has room and is not chosen already."""
        chosen = self._chosen[key.document]
        if key.number in chosen or key.number >= len(self._documents[key.document].passages):
            return False
        chosen.add(key.number)
        cost = self._cost(key.document)
        if cost - self._costs[key.document] > self._left:
            chosen.remove(key.number)
            return False
        self._left -= cost - self._costs[key.document]
        self._costs[key.document] = cost
        return True

    def given(self, index: int) -> Given:
        """What is given of a document. Neighbours are one span."""
        spans = tuple(self._spans(index))
        return Given(spans, len(self._chosen[index]) == len(self._documents[index].passages))

    def _spans(self, index: int) -> Iterator[Span]:
        passages = self._documents[index].passages
        numbers = sorted(self._chosen[index])
        firsts = [n for n in numbers if n - 1 not in self._chosen[index]]
        lasts = [n for n in numbers if n + 1 not in self._chosen[index]]
        for first, last in zip(firsts, lasts, strict=True):
            yield Span(passages[first][0], passages[last][1])

    def _cost(self, index: int) -> int:
        """The length of what `join` makes of the document's chosen passages."""
        passages, spans = self._documents[index].passages, list(self._spans(index))
        cost = sum(span.end - span.start for span in spans) + len(_BETWEEN) * (len(spans) - 1)
        cost += len(_BEFORE) * (0 not in self._chosen[index])
        return cost + len(_AFTER) * (len(passages) - 1 not in self._chosen[index])
