"""Customers' data files on their way into a run: every line is checked once, then drawn by where it begins.

A folder holds, for the file `name`, `name.lines.npy` (int64 [N, 3]: the byte where each line begins, its number from 1,
how many tokens it makes) and `name.json` with its entry in the record. The file stays where it is, and as it was.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import SampleError, SourceError, TrainingError
from tramontane.training.files import write_json
from tramontane.training.jsonl import RawLine, line_at, raw_lines, read_sample
from tramontane.training.recipe import DataRecipe, StageRecipe
from tramontane.training.record import SourceRecord, from_json, to_json
from tramontane.training.rendering import Document, render_sample
from tramontane.training.samples import Sample
from tramontane.training.sources.cleaning import Cleaner

_START, _NUMBER, _TOKENS = range(3)  # the columns


def spread_texts(recipe: DataRecipe, megabytes: float) -> Iterator[str]:
    """What a data file says; of one that has more than about `megabytes`, every so many lines'.

    Raises SampleError for any line that is no sample, whether or not it is taken.
    """
    size = sum(len(line.content) for line in raw_lines(Path(recipe.file)))
    step = max(1, math.ceil(size / (megabytes * 1e6)))
    for place, (_, sample) in enumerate(_samples(recipe)):
        if place % step == 0:
            yield from sample.texts()


def check_file(recipe: DataRecipe, tokenizer: Tokenizer, folder: Path) -> Document:
    """Renders every line as training will, and writes where each begins and the file's record; returns the first.

    Raises SampleError that names the file, the line and what is wrong with it.
    """
    digest, cleaner = hashlib.sha256(), Cleaner()
    rows = array("q")
    first: Document | None = None
    for line, sample in _samples(recipe, digest.update):
        document = render_sample(tokenizer, sample, _where(recipe, line.number))
        rows.extend((line.start, line.number, len(document)))
        first = first or document
        for text in sample.texts():
            cleaner.count_personal_data(text)
    if first is None:
        raise SourceError(f"The data file {recipe.file} has no line; leave it out of the recipe.")
    lines = np.array(rows, dtype=np.int64).reshape(-1, 3)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{recipe.name}.lines.npy", lines, allow_pickle=False)
    record = SourceRecord(
        name=recipe.name,
        version="",
        licence=recipe.licence,
        origin=recipe.origin,
        obtained=recipe.obtained,
        language=recipe.language,
        documents=len(lines),
        tokens=int(lines[:, _TOKENS].sum()),
        share=0.0,
        digest=f"sha256:{digest.hexdigest()}",
        personal_data_hits=cleaner.personal_data_hits,
        duplicates_removed=0,
        personal_data_masked=False,
    )
    write_json(folder / f"{recipe.name}.json", {"tokenizer": tokenizer.fingerprint, "record": to_json(record)})
    return first


def open_files(
    recipes: Sequence[DataRecipe],
    tokenizer: Tokenizer,
    folder: Path,
    say: Callable[[str], None],
    show: Callable[[Document], None],
) -> list[DataFile]:
    """The data files, each checked if it was not yet; shows the first line of those. Raises TramontaneError."""
    files = []
    for recipe in recipes:
        checked = (folder / f"{recipe.name}.json").exists()
        if not checked:
            say(f"checking {recipe.file}")
            show(check_file(recipe, tokenizer, folder))
        file = DataFile(folder, recipe)
        if file.fingerprint != tokenizer.fingerprint:
            raise TrainingError(f"{folder} was written with another tokenizer; remove it, and it is written again.")
        if checked:
            file.check_unchanged()
        else:
            say(_found(recipe, file.record))
        files.append(file)
    return files


def _found(recipe: DataRecipe, record: SourceRecord) -> str:
    hits = record.personal_data_hits
    personal = f"; {hits} e-mail addresses, telephone numbers and IBANs in them stay as they are" if hits else ""
    return f"{recipe.file}: {record.documents:,} lines, {record.tokens:,} tokens{personal}"


def check_lengths(files: Sequence[DataFile], stages: Sequence[StageRecipe], say: Callable[[str], None]) -> None:
    """Says how many lines are too long for a stage that mixes them. Raises TrainingError where none is short enough."""
    for stage in stages:
        for file in (file for file in files if stage.mix.get(file.recipe.name)):
            path, total, left = file.recipe.file, file.record.documents, len(file.fitting(stage.sequence_length))
            if not left:
                raise TrainingError(
                    f"None of the {total} lines of {path} has at most {stage.sequence_length} tokens, as the stage "
                    f"{stage.name} asks: raise its sequence_length, or cut them."
                )
            if left < total:
                say(
                    f"stage {stage.name}: {total - left} of the {total} lines of {path} have more than "
                    f"{stage.sequence_length} tokens and are left out"
                )


class DataFile:
    """A data file that was checked. Raises TrainingError when what `check_file` wrote is missing or damaged."""

    def __init__(self, folder: Path, recipe: DataRecipe) -> None:
        self.recipe = recipe
        description = folder / f"{recipe.name}.json"
        try:
            data = json.loads(description.read_text(encoding="utf-8"))
            self.fingerprint: str = data["tokenizer"]
            self.record = from_json(SourceRecord, data["record"])
            self._lines = np.load(folder / f"{recipe.name}.lines.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{description} is damaged ({error}); remove it, and the data file is checked again."
            ) from error
        self._fitting: dict[int, npt.NDArray[np.int64]] = {}

    def check_unchanged(self) -> None:
        """Raises TrainingError when the file is not what it was when its lines were checked."""
        digest = hashlib.sha256()
        for line in raw_lines(Path(self.recipe.file)):
            digest.update(line.content)
        if self.record.digest != f"sha256:{digest.hexdigest()}":
            raise TrainingError(
                f"The data file {self.recipe.file} is not what it was when this run began: put it back, or give the "
                "run a folder of its own."
            )

    def fitting(self, length: int) -> npt.NDArray[np.int64]:
        """The places of the lines of at most `length` tokens."""
        if length not in self._fitting:
            self._fitting[length] = np.flatnonzero(self._lines[:, _TOKENS] <= length)
        return self._fitting[length]

    def draw(self, rng: random.Random, length: int, tokenizer: Tokenizer) -> Document:
        """One of the lines of at most `length` tokens, all as likely. Raises SampleError if it has changed."""
        places = self.fitting(length)
        start, number, tokens = self._lines[places[rng.randrange(len(places))]].tolist()
        where = _where(self.recipe, number)
        content = line_at(Path(self.recipe.file), start)
        sample = read_sample(content, where, self.recipe.name, self.recipe.language)
        document = None if sample is None else render_sample(tokenizer, sample, where)
        if document is None or len(document) != tokens:
            raise SampleError(f"{where}: it is not what it was when it was checked; put the file back as it was.")
        return document


def _samples(
    recipe: DataRecipe, see: Callable[[bytes], object] = lambda content: None
) -> Iterator[tuple[RawLine, Sample]]:
    """Every line that is not empty, with its sample; `see` is given all bytes of the file."""
    for line in raw_lines(Path(recipe.file)):
        see(line.content)
        sample = read_sample(line.content, _where(recipe, line.number), recipe.name, recipe.language)
        if sample is not None:
            yield line, sample


def _where(recipe: DataRecipe, number: int) -> str:
    return f"{recipe.file}, line {number}"
