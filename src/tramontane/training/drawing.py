"""Which sample comes at which place of a stage: a function of the seed, the stage and the place, and of nothing else.

So it does not matter how many processes draw, and a resumed run goes on with exactly the samples that were to come.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.corpus import Corpus
from tramontane.training.data_files import DataFile
from tramontane.training.errors import RecipeError, SampleError
from tramontane.training.passages import continue_sample
from tramontane.training.recipe import CONTINUE, OF_TEXT, TEXT, DataRecipe, SourceRecipe, StageRecipe
from tramontane.training.rendering import Document, render_sample
from tramontane.training.samples import Generator, Sample

_TRIES = 1000  # until a sample of a wanted language comes


def generators() -> Mapping[str, Generator]:
    """Every kind of sample by name."""
    from tramontane.training.copying import COPYING
    from tramontane.training.generators import GENERATORS

    return {**COPYING, **GENERATORS}


@dataclass(frozen=True)
class Drawer:
    """Draws a stage's documents by their place. It holds names and paths alone, so that it can go to other processes.

    `corpus_folder` None: the run has no text; `data_folder` None: it has no data files.
    """

    stage: StageRecipe
    tokenizer_file: Path
    corpus_folder: Path | None = None
    sources: tuple[SourceRecipe, ...] = ()
    data_folder: Path | None = None
    data: tuple[DataRecipe, ...] = ()

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(self.tokenizer_file)

    @cached_property
    def _corpus(self) -> Corpus:
        assert self.corpus_folder is not None
        return Corpus(self.corpus_folder, self.sources)

    @cached_property
    def _files(self) -> Mapping[str, DataFile]:
        """The data files that the stage mixes, by name."""
        mixed = [entry for entry in self.data if entry.name in self.stage.mix]
        return {entry.name: DataFile(self.data_folder, entry) for entry in mixed} if self.data_folder else {}

    @cached_property
    def _generators(self) -> Mapping[str, Generator]:
        known, files = generators(), [entry.name for entry in self.data]
        for name in files:
            if name in known:
                raise RecipeError(f"The data file {name} has the name of a generator; give it another in the recipe.")
        for kind in self.stage.mix:
            if kind not in known and kind not in OF_TEXT and kind not in files:
                raise RecipeError(
                    f"The stage {self.stage.name} mixes {kind!r}, which no generator makes; known are "
                    f"{', '.join([*OF_TEXT, *files, *sorted(known)])}."
                )
        return known

    def check(self) -> None:
        """Raises RecipeError for a kind of sample that nothing makes."""
        _ = self._generators

    def __getstate__(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def draw(self, place: int) -> Document | None:
        """The document at `place`; None when it is longer than the stage's sequences (a text or a line never is)."""
        rng = random.Random(f"{self.stage.seed}/{self.stage.name}/{place}")
        mix = self.stage.mix
        kind = rng.choices(list(mix), list(mix.values()))[0]
        if kind == TEXT:
            return self._corpus.draw(rng, self.stage.sequence_length, self.stage.languages, self._tokenizer)
        if kind in self._files:
            return self._files[kind].draw(rng, self.stage.sequence_length, self._tokenizer)
        if kind == CONTINUE:
            drawn = continue_sample(rng, kind, partial(self._corpus.passage, tokenizer=self._tokenizer))
            if drawn is None:
                return None
            sample = drawn
        else:
            sample = self.sample(kind, rng)
        document = render_sample(self._tokenizer, sample, f"{kind} {place} of stage {self.stage.name}")
        return document if len(document) <= self.stage.sequence_length else None

    def sample(self, kind: str, rng: random.Random) -> Sample:
        """A sample of the kind, in one of the stage's languages in proportion to their weights."""
        languages, generate = self.stage.languages, self._generators[kind]
        most = max(languages.values(), default=1.0)
        for _ in range(_TRIES):
            sample = generate(rng)
            if not languages or rng.random() * most < languages.get(sample.language, 0.0):
                return sample
        raise SampleError(f"Of {_TRIES} samples of {kind} none is in the stage's languages, {', '.join(languages)}.")


Draw = Callable[[int], Document | None]
