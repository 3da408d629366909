"""The sources' text as tokens on disk: written once, mapped by whoever draws from it, small enough to travel.

A folder holds, for source n, `n.tokens.npy` (uint16) with all documents one after another and `n.starts.npy` (int64)
with where each begins and, last, where all end; `corpus.json` has the provenance. Nothing is pickled.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import SourceError, TrainingError
from tramontane.training.files import write_json
from tramontane.training.recipe import TEXT, SourceRecipe
from tramontane.training.record import SourceRecord, from_json, share_out, to_json
from tramontane.training.rendering import Document
from tramontane.training.sources.cleaning import Cleaner
from tramontane.training.sources.source import Source, find_source


def read_texts(recipe: SourceRecipe, source: Source, cleaner: Cleaner, megabytes: float) -> Iterator[str]:
    """A source's cleaned documents, spread over all of its files where it has more than `megabytes` of text."""
    yield from clean_texts(shuffled_documents(source), cleaner, min(megabytes, recipe.megabytes) * 1e6)


def shuffled_documents(source: Source) -> Iterator[tuple[str, str]]:
    """A source's documents with their paths, in the one order in which they are always read."""
    documents = list(source.documents())
    random.Random(source.name).shuffle(documents)
    return iter(documents)


def clean_texts(documents: Iterator[tuple[str, str]], cleaner: Cleaner, room: float) -> Iterator[str]:
    """Cleaned documents until `room` characters are full; takes no more than that from the iterator."""
    while room > 0 and (document := next(documents, None)):
        path, text = document
        cleaned = cleaner.clean(text)
        if not cleaned:
            continue
        room -= len(cleaned)
        if "\ufffd" in cleaned or "\x00" in cleaned:
            raise SourceError(f"{path} is damaged: its text has characters that stand for unreadable bytes.")
        yield cleaned


def build_corpus(
    recipes: Sequence[SourceRecipe], tokenizer: Tokenizer, folder: Path, say: Callable[[str], None]
) -> None:
    """Reads every source, cleans it, and writes its tokens and its entry in the record. Raises SourceError."""
    if tokenizer.vocab_size > 1 << 16:
        raise TrainingError(f"A corpus holds token ids of 16 bits, and the tokenizer has {tokenizer.vocab_size}.")
    folder.mkdir(parents=True, exist_ok=True)
    found = [find_source(recipe) for recipe in recipes]  # all licences are judged before anything is read
    cleaner = Cleaner()
    records = []
    for number, (recipe, source) in enumerate(zip(recipes, found, strict=True)):
        say(f"reading {source.name}")
        records.append(_write_source(number, recipe, source, cleaner, tokenizer, folder))
    share_out(records)
    write_json(
        folder / "corpus.json",
        {"tokenizer": tokenizer.fingerprint, "sources": [to_json(record) for record in records]},
    )


def _write_source(
    number: int, recipe: SourceRecipe, source: Source, cleaner: Cleaner, tokenizer: Tokenizer, folder: Path
) -> SourceRecord:
    cleaner.personal_data_hits = cleaner.duplicates_removed = 0
    pieces, starts, digest = [], [0], hashlib.sha256()
    for text in read_texts(recipe, source, cleaner, recipe.megabytes):
        digest.update(text.encode())
        tokens = np.array(tokenizer.encode(text), dtype=np.uint16)
        pieces.append(tokens)
        starts.append(starts[-1] + len(tokens))
    if not pieces:
        raise SourceError(f"The source {source.name} has no text left after cleaning; leave it out.")
    np.save(folder / f"{number}.tokens.npy", np.concatenate(pieces), allow_pickle=False)
    np.save(folder / f"{number}.starts.npy", np.array(starts, dtype=np.int64), allow_pickle=False)
    return SourceRecord(
        name=source.name,
        version=source.version,
        licence=source.licence,
        origin=source.origin,
        obtained=source.obtained,
        language=source.language,
        documents=len(pieces),
        tokens=starts[-1],
        share=0.0,
        digest=f"sha256:{digest.hexdigest()}",
        personal_data_hits=cleaner.personal_data_hits,
        duplicates_removed=cleaner.duplicates_removed,
    )


class Corpus:
    """A corpus on disk, mapped into memory. Raises TrainingError when a file is missing or damaged."""

    def __init__(self, folder: Path, recipes: Sequence[SourceRecipe]) -> None:
        description = folder / "corpus.json"
        try:
            data = json.loads(description.read_text(encoding="utf-8"))
            self.fingerprint: str = data["tokenizer"]
            self.records = [from_json(SourceRecord, entry) for entry in data["sources"]]
            numbers = range(len(self.records))
            self._tokens = [np.load(folder / f"{n}.tokens.npy", mmap_mode="r", allow_pickle=False) for n in numbers]
            self._starts = [np.load(folder / f"{n}.starts.npy", allow_pickle=False).tolist() for n in numbers]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{folder} is no whole corpus ({error}); remove it, and it is built again.") from error
        if len(recipes) != len(self.records):
            raise TrainingError(f"{folder} was built from other sources; remove it, and it is built again.")
        self._weights = [record.tokens * recipe.weight for record, recipe in zip(self.records, recipes, strict=True)]

    def draw(self, rng: random.Random, length: int, languages: dict[str, float], tokenizer: Tokenizer) -> Document:
        """A document of at most `length` tokens, or a piece of one; every token is as likely to be drawn."""
        source, first, last, ends = self._piece(rng, length - 2, languages)  # a sequence has a beginning and an end
        ending = [tokenizer.eos_id] if ends else []
        tokens = np.array([tokenizer.bos_id, *self._tokens[source][first:last].tolist(), *ending], dtype=np.int32)
        record = self.records[source]
        weights_of_tokens: npt.NDArray[np.float32] = np.ones(len(tokens), dtype=np.float32)
        return Document(tokens, weights_of_tokens, TEXT, record.language, f"{record.name}, token {first}")

    def passage(self, rng: random.Random, language: str, length: int, tokenizer: Tokenizer) -> str:
        """At most `length` tokens of one of the language's documents, as text."""
        source, first, last, _ = self._piece(rng, length, {language: 1.0})
        return tokenizer.decode(self._tokens[source][first:last].tolist())

    def _piece(self, rng: random.Random, room: int, languages: dict[str, float]) -> tuple[int, int, int, bool]:
        """A source, and from where to where a piece of a document of it goes; whether the document ends there."""
        weights = [
            weight * (languages.get(record.language, 0.0) if languages else 1.0)
            for weight, record in zip(self._weights, self.records, strict=True)
        ]
        if not any(weights):
            raise TrainingError(f"No source has text in the stage's languages, {', '.join(languages)}.")
        source = rng.choices(range(len(weights)), weights)[0]
        starts = self._starts[source]
        place = rng.randrange(starts[-1])
        document = bisect.bisect_right(starts, place) - 1
        begin, end = starts[document], starts[document + 1]
        first = max(begin, min(place, end - room))
        last = min(end, first + room)
        return source, first, last, last == end
