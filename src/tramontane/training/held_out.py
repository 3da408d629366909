"""Text that is like what a run reads, and that it does not read: the documents of its sources behind their limits.

A run's folder `held_out` has, for each language that a source with more text than its limit is in, `LANGUAGE.txt` with
documents divided by form feeds, and `held_out.json`, which says how much is of which source. Perplexity is measured on
them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tramontane.training.corpus import clean_texts, shuffled_documents
from tramontane.training.files import write_json, write_text
from tramontane.training.recipe import SourceRecipe
from tramontane.training.record import SourceRecord
from tramontane.training.sources.cleaning import Cleaner
from tramontane.training.sources.source import find_source

KILOBYTES = 100.0
"""So much text of a language is held out, if there is."""

DESCRIPTION = "held_out.json"
_BETWEEN = "\n\f\n"  # documents
_MOST_OF_ONE = 0.1  # of a language's text: no document has more of it
_SHORTEST = 400  # characters; what is left of a document after cleaning may be little more than its headings
_SPARE = 30  # times what is asked for is kept of a source, for what cleaning takes away


@dataclass(frozen=True)
class HeldOut:
    """A cleaned document, or the beginning of one, that is not in the corpus."""

    source: str
    text: str


def held_out_texts(
    recipes: Sequence[SourceRecipe], records: Sequence[SourceRecord], kilobytes: float = KILOBYTES
) -> dict[str, list[HeldOut]]:
    """Documents by language, up to `kilobytes` of each, from all its sources in turn; an empty list where none is left.

    `records` are those of the corpus. A source whose text is no longer what the corpus was written from is passed over:
    which of its documents the corpus has cannot be told. Paragraphs that the corpus has go too, wherever they stand.
    Raises SourceError where a source cannot be read.
    """
    cleaner, room = Cleaner(), kilobytes * 1000
    rests: list[tuple[str, str, list[str]]] = []  # (language, source, documents that the corpus does not have)
    for recipe, record in zip(recipes, records, strict=True):
        documents, digest = shuffled_documents(find_source(recipe)), hashlib.sha256()
        for text in clean_texts(documents, cleaner, recipe.megabytes * 1e6):
            digest.update(text.encode())
        if record.digest == f"sha256:{digest.hexdigest()}":
            rests.append((record.language, record.name, list(_beginning(documents, room * _SPARE))))
    found: dict[str, list[HeldOut]] = {record.language: [] for record in records}
    for language, taken in found.items():
        sources = [_usable(name, texts, cleaner, room) for of, name, texts in rests if of == language]
        left = room
        for one in _in_turn(sources):
            left -= len(f"{one.text}{_BETWEEN}".encode())
            if left < 0:
                break
            taken.append(one)
    return found


def write_held_out(
    recipes: Sequence[SourceRecipe], records: Sequence[SourceRecord], folder: Path, say: Callable[[str], None]
) -> None:
    """Writes `folder`, and says what is in it. Raises SourceError where a source cannot be read."""
    found = held_out_texts(recipes, records)
    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, dict[str, int]] = {}
    for language, taken in found.items():
        sizes: dict[str, int] = {}
        for one in taken:
            sizes[one.source] = sizes.get(one.source, 0) + len(one.text.encode())
        described[language] = sizes
        if taken:
            write_text(folder / f"{language}.txt", _BETWEEN.join(one.text for one in taken))
            parts = ", ".join(f"{size / 1000:.0f} kB of {source}" for source, size in sizes.items())
            say(f"held out in {language}: {parts}")
        else:
            say(f"no text is held out in {language}: no source of it has more than is used")
    write_json(folder / DESCRIPTION, described)


def _beginning(documents: Iterator[tuple[str, str]], characters: float) -> Iterator[str]:
    for _, text in documents:
        if characters <= 0:
            return
        characters -= len(text)
        yield text


def _usable(source: str, texts: list[str], cleaner: Cleaner, room: float) -> Iterator[HeldOut]:
    """Documents of which cleaning leaves most, cut at the end of a paragraph where they are long."""
    longest = int(room * _MOST_OF_ONE)
    for text in texts:
        cleaned = cleaner.clean(text)
        if len(cleaned) < max(_SHORTEST, len(text) / 2) or "\ufffd" in cleaned or "\x00" in cleaned:
            continue
        if len(cleaned) > longest:
            cleaned = cleaned[: max(cleaned.rfind("\n\n", 0, longest), 0) or longest]
        yield HeldOut(source, cleaned.replace("\f", " ").strip())


def _in_turn(sources: list[Iterator[HeldOut]]) -> Iterator[HeldOut]:
    """One document of each source, then another of each, until all are at their ends."""
    for row in itertools.zip_longest(*sources):
        yield from (one for one in row if one is not None)
