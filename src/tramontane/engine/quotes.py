"""Quotes that cannot lie: a grammar under which a model can only quote what numbered documents say, word for word.

The answer is a series of `«span» [n]`: the span is a piece of document n, verbatim and cut at word boundaries, and n
is a document that contains it. Or it is one sentence which says that the documents do not tell. With `free_text` the
model may write between the quotes, but no quotation mark and no bracket: what looks like a quotation is one.

Verbatim means: the characters of the document as they are, without any Unicode normalisation, but for white space. A
run of blanks, tabs and line breaks is one blank (half a surrogate pair, which is no text, is U+FFFD). No-break blanks
and ideographic ones are kept. `parse_quotes` finds each span again in the original text.

The spans of a document are the language of its suffix automaton over words (llguidance's `substring_chunks`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tramontane.engine.grammar import Grammar
from tramontane.errors import InvalidRequestError

if TYPE_CHECKING:
    from tramontane.tokenizer.tokenizer import Tokenizer

REFUSALS = {
    "de": "Die Dokumente sagen es nicht.",
    "en": "The documents do not say.",
    "es": "Los documentos no lo dicen.",
    "fr": "Les documents ne le disent pas.",
    "it": "I documenti non lo dicono.",
}
"""The sentence which says that the documents do not tell, by language."""

MAX_QUOTES = 32
"""How many quotes an answer may hold; a small model that likes to quote would go on until its budget is spent."""

# The pair of a request is the first that no document contains.
DELIMITERS = ("«»", "“”", "‹›", "「」", "⟦⟧", "⟪⟫", "❮❯", "⦅⦆")

# What free text may not hold: everything that a reader could take for a quotation or a citation, what turns the order
# of letters around, and control characters.
_QUOTATION_MARKS = '"«»‹›“”„‟‚‘‛「」『』〝〞〟＂⟦⟧⟪⟫❮❯❝❞⦅⦆〈〉《》'
_BRACKETS = "[]［］【】〔〕"
_DIRECTION_MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

# White space that becomes one blank; what forbids a line break (U+00A0, U+2007, U+202F) or has its own width in a text
# without blanks (U+3000) is a character like any other.
_WHITESPACE = re.compile(r"[^\S\u00a0\u2007\u202f\u3000]+")
_JOINER = "\u200d"  # makes one sign of its two neighbours
_SURROGATE = re.compile("[\ud800-\udfff]")

# Scripts written without blanks: each character may begin or end a span.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def _class(characters: Iterable[str]) -> str:
    """Characters as a class in a regular expression holds them, by number: nothing to escape, nothing to overlook."""
    return "".join(rf"\x{{{ord(c):x}}}" for c in characters)


_NOT_FREE = r"\x{0}-\x{8}\x{b}-\x{1f}\x{7f}-\x{9f}" + _class(_QUOTATION_MARKS + _BRACKETS + _DIRECTION_MARKS)


@dataclass(frozen=True)
class QuoteSpan:
    """One quotation of an answer: `answer[text_start:text_end]` is `documents[document - 1][start:end]`.

    (but for white space in the document). `document` counts from 1; `occurrences` has every (start, end) of the span in
    that document, of which `start` and `end` are the first.
    """

    document: int
    start: int
    end: int
    text_start: int
    text_end: int
    occurrences: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Quotes(Grammar):
    """An answer of verbatim quotes from numbered documents (the first is 1), or of a refusal in one of `languages`."""

    documents: tuple[str, ...]
    free_text: bool = False
    languages: tuple[str, ...] = tuple(REFUSALS)
    field: ClassVar[str] = "documents"
    max_bytes: ClassVar[int] = 800_000  # 35,000 words; compiles in 2 s and takes 300 MB
    limits: ClassVar[dict[str, Any]] = {
        "max_lexer_states": 100_000,
        "initial_lexer_fuel": 100_000_000,
        "step_lexer_fuel": 20_000_000,
    }

    @cached_property
    def delimiters(self) -> str:
        """The two characters around each span: a pair that no document contains, else the rarest; spans avoid it."""
        text = "".join(self.documents)
        return min(DELIMITERS, key=lambda pair: text.count(pair[0]) + text.count(pair[1]))

    def lark(self, tokenizer: Tokenizer) -> str:
        # llguidance's lexer looks at bytes and never back: a terminal that could go on with a character whose first
        # byte is that of "«" swallows this byte. So each terminal here ends with its own delimiter.
        opening, closing = self.delimiters[0], self.delimiters[1]
        blank = " ?" if tokenizer.kind == "spm" else ""  # before the first word, where decoding drops it
        rules = [f"EDGES: {self._edges()}"]
        for n, document in self._quotable.items():
            rules += [f"TEXT_{n}: {_substring(document.chunks)}", f'SPAN_{n}: (TEXT_{n} & EDGES) "{closing} [{n}]"']
        if self._quotable:
            rules.append(f"span: {' | '.join(f'SPAN_{n}' for n in self._quotable)}")
        rules.append(f"start: {' | '.join(self._answers(opening, blank))}")
        return "\n".join(rules)

    def warm_up(self, tokenizer: Tokenizer) -> list[str]:
        # All spans are still possible after the delimiter: the slowest mask of all, 5-500 ms where others take 0.1.
        return [self.delimiters[0]] if self._quotable else []

    @cached_property
    def _normal(self) -> tuple[_NormalText, ...]:
        return tuple(_NormalText(document) for document in self.documents)

    @cached_property
    def _quotable(self) -> dict[int, _NormalText]:
        """The documents that hold words, by number."""
        return {n: document for n, document in enumerate(self._normal, start=1) if document.has_words}

    def _answers(self, opening: str, blank: str) -> Iterator[str]:
        """The forms that the answer may have, as alternatives of a rule."""
        if self._quotable and self.free_text:
            free = f"[^{_NOT_FREE}]"
            yield f"(/{free}*{opening}/ span){{1,{MAX_QUOTES}}} /{free}+/?"
        elif self._quotable:
            yield rf"/{blank}{opening}/ span (/( |\n\n?){opening}/ span){{0,{MAX_QUOTES - 1}}}"
        for language in self.languages:
            if language not in REFUSALS:
                raise InvalidRequestError("languages", f"There is no refusal in {language!r}, only in {[*REFUSALS]}.")
            yield f"/{blank}{re.escape(REFUSALS[language])}/"
        if not self._quotable and not self.languages:
            raise InvalidRequestError(self.field, "The documents hold no word that could be quoted.")

    def _edges(self) -> str:
        """What makes a piece of text a span: a word in it, no blank at either end, no delimiter."""
        characters = sorted(set().union(*(document.text for document in self._normal), " "))
        blanks = _class(c for c in characters if c.isspace())
        no_words = _class(c for c in characters if not _is_letter(c))
        edges = f"~/[{no_words}]*/ & ~/[{blanks}](?s:.*)/ & ~/(?s:.*)[{blanks}]/"
        if set(self.delimiters) & set(characters):
            edges += f" & /[^{_class(self.delimiters)}]*/"
        return edges


def parse_quotes(answer: str, quotes: Quotes) -> list[QuoteSpan]:
    """The quotations of an answer, in order, each found again in its document.

    What was not written under the grammar of `quotes` is safe too: a quotation that its document does not contain is
    left out, as is one that was cut short.
    """
    opening, closing = quotes.delimiters[0], quotes.delimiters[1]
    spans = []
    for match in re.finditer(rf"{opening}([^{opening}{closing}]+){closing} \[([1-9][0-9]{{0,8}})\]", answer):
        number = int(match[2])
        if number > len(quotes.documents):
            continue
        occurrences = tuple(quotes._normal[number - 1].find(match[1]))
        if occurrences:
            spans.append(QuoteSpan(number, *occurrences[0], *match.span(1), occurrences))
    return spans


class _NormalText:
    """A document with its white space normalised: its text, its words, and where each character was."""

    def __init__(self, original: str) -> None:
        self._starts: list[int] = []  # of each character of `text`, in the original
        self._ends: list[int] = []
        pieces = []
        position = 0
        for match in _WHITESPACE.finditer(original):
            pieces.append(original[position : match.start()])
            self._keep(position, match.start())
            if match.start() > 0 and match.end() < len(original):
                pieces.append(" ")
                self._starts.append(match.start())
                self._ends.append(match.end())
            position = match.end()
        pieces.append(original[position:])
        self._keep(position, len(original))
        self.text = _SURROGATE.sub("\ufffd", "".join(pieces))

    def _keep(self, start: int, end: int) -> None:
        self._starts.extend(range(start, end))
        self._ends.extend(range(start + 1, end + 1))

    @cached_property
    def chunks(self) -> list[str]:
        """The text cut wherever a span may begin or end."""
        return list(_chunks(self.text))

    @property
    def has_words(self) -> bool:
        return any(map(_is_letter, self.text))

    def find(self, span: str) -> Iterator[tuple[int, int]]:
        """Where the original has the span, cut as the grammar cuts it."""
        start = self.text.find(span)
        while start >= 0:
            end = start + len(span)
            if start in self._cuts and end in self._cuts:
                yield self._starts[start], self._ends[end - 1]
            start = self.text.find(span, start + 1)

    @cached_property
    def _cuts(self) -> frozenset[int]:
        cuts = [0]
        for chunk in self.chunks:
            cuts.append(cuts[-1] + len(chunk))
        return frozenset(cuts)


def _chunks(text: str) -> Iterator[str]:
    """Words, single other characters, and single characters of scripts without blanks; none loses what modifies it."""
    start = 0
    for i in range(1, len(text)):
        if not _belong_together(text[i - 1], text[i]):
            yield text[start:i]
            start = i
    if text:
        yield text[start:]


def _belong_together(before: str, after: str) -> bool:
    if _modifies(after) or before == _JOINER:
        return True
    if _UNSPACED.match(before) or _UNSPACED.match(after):
        return False
    return (_is_letter(before) or _is_mark(before)) and _is_letter(after)


def _modifies(character: str) -> bool:
    """Whether it changes the character before it: an accent, a variant, a skin tone, a joiner."""
    return character == _JOINER or _is_mark(character) or "🏻" <= character <= "🏿"


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _is_letter(character: str) -> bool:
    """Whether it makes a word: a letter, a digit, a low line."""
    return character.isalnum() or character == "_"


def _substring(chunks: list[str]) -> str:
    return f"%regex {json.dumps({'substring_chunks': chunks})}"
