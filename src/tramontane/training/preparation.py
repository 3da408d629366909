"""What a run needs before its first step: tokenizer, checked data files, corpus. What is there is not made again."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tramontane.model.config import ModelConfig
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.base import Base
from tramontane.training.corpus import Corpus, build_corpus, read_texts
from tramontane.training.data_files import DataFile, check_lengths, open_files, spread_texts
from tramontane.training.drawing import Drawer
from tramontane.training.errors import SourceError, TrainingError
from tramontane.training.files import replace_file
from tramontane.training.held_out import DESCRIPTION, write_held_out
from tramontane.training.recipe import OF_TEXT, Recipe, TokenizerRecipe
from tramontane.training.record import SourceRecord, share_out
from tramontane.training.sources.cleaning import Cleaner
from tramontane.training.sources.source import find_source
from tramontane.training.tokenizer_training import train_tokenizer
from tramontane.training.trainer import Watcher


@dataclass(frozen=True)
class Preparation:
    """A recipe's tokenizer, data and corpus in a run's folder. Raises TramontaneError that says what is wrong."""

    recipe: Recipe
    folder: Path
    watcher: Watcher

    @property
    def tokenizer_file(self) -> Path:
        """Where the run's tokenizer is, or will be."""
        return self.folder / "tokenizer" / "tekken.json"

    @cached_property
    def base(self) -> Base | None:
        """What the run goes on from, if it does not begin anew."""
        return Base(Path(self.recipe.base)) if self.recipe.base else None

    @cached_property
    def drawers(self) -> list[Drawer]:
        """Who draws each stage's samples."""
        recipe, corpus = self.recipe, self.folder / "corpus" if self.recipe.source else None
        return [
            Drawer(stage, self.tokenizer_file, corpus, recipe.source, self.folder / "data", recipe.data)
            for stage in recipe.stage
        ]

    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer: the base's, or its own, trained if it is not there yet."""
        if not self.tokenizer_file.exists():
            if self.base is not None:
                found = self.base.tokenizer_file
                replace_file(self.tokenizer_file, lambda temporary: shutil.copyfile(found, temporary))
            elif self.recipe.tokenizer is not None:
                self.watcher.say("training the tokenizer")
                texts = self._tokenizer_texts(self.recipe.tokenizer)
                train_tokenizer(texts, self.recipe.tokenizer.entries, self.tokenizer_file)
        return Tokenizer.from_file(self.tokenizer_file)

    def shape(self, tokenizer: Tokenizer) -> ModelConfig:
        """The shape of the run's model."""
        if self.base is not None:
            return self.base.config
        assert self.recipe.model is not None  # a recipe has the one or the other
        return self.recipe.model.config(tokenizer.vocab_size)

    def _tokenizer_texts(self, asked: TokenizerRecipe) -> Iterator[str]:
        for entry in self.recipe.data:
            yield from spread_texts(entry, asked.megabytes)
        cleaner, written = Cleaner(), {*OF_TEXT, *(entry.name for entry in self.recipe.data)}
        for source in self.recipe.source:
            yield from read_texts(source, find_source(source), cleaner, asked.megabytes)
        for drawer in self.drawers:
            mix = {kind: weight for kind, weight in drawer.stage.mix.items() if kind not in written and weight}
            rng = random.Random(f"{drawer.stage.seed}/tokenizer/{drawer.stage.name}")
            for _ in range(asked.samples if mix else 0):
                yield from drawer.sample(rng.choices(list(mix), list(mix.values()))[0], rng).texts()

    def data(self, tokenizer: Tokenizer) -> list[DataFile]:
        """The recipe's data files, every line of which makes a sample; checked if they were not yet."""
        watcher = self.watcher
        files = open_files(self.recipe.data, tokenizer, self.folder / "data", watcher.say, watcher.show)
        check_lengths(files, self.recipe.stage, watcher.say)
        return files

    def corpus(self, tokenizer: Tokenizer) -> Corpus | None:
        """The run's corpus, built if it is not there yet; None for a recipe without sources."""
        if not self.recipe.source:
            return None
        folder = self.folder / "corpus"
        if not (folder / "corpus.json").exists():
            build_corpus(self.recipe.source, tokenizer, folder, self.watcher.say)
        corpus = Corpus(folder, self.recipe.source)
        if corpus.fingerprint != tokenizer.fingerprint:
            raise TrainingError(f"{folder} was written with another tokenizer; remove it, and it is built again.")
        return corpus

    def hold_out(self, corpus: Corpus) -> None:
        """Writes text that the corpus does not have, to measure the model on; a run goes on without it too."""
        folder = self.folder / "held_out"
        if (folder / DESCRIPTION).exists():
            return
        self.watcher.say("looking for text to hold out")
        try:
            write_held_out(self.recipe.source, corpus.records, folder, self.watcher.say)
        except SourceError as error:  # a corpus may have come from another machine, without its sources
            self.watcher.say(f"no text is held out: {error}")

    def everything(self) -> None:
        """All of it, in order."""
        tokenizer = self.tokenizer()
        self.data(tokenizer)
        if corpus := self.corpus(tokenizer):
            self.hold_out(corpus)

    def records(self) -> list[SourceRecord]:
        """What is known of every source and data file, once they are there."""
        corpus = Corpus(self.folder / "corpus", self.recipe.source).records if self.recipe.source else []
        records = [*corpus, *(DataFile(self.folder / "data", entry).record for entry in self.recipe.data)]
        share_out(records)
        return records
