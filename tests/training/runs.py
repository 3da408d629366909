"""Small runs and documents that the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tramontane.model.config import ModelConfig
from tramontane.model.random_weights import RandomWeights
from tramontane.model.transformer import Transformer
from tramontane.training.initial import trainable
from tramontane.training.log import StepReport
from tramontane.training.ranks import ALONE, Ranks
from tramontane.training.recipe import Recipe, parse_recipe
from tramontane.training.rendering import Document
from tramontane.training.run import Run
from tramontane.training.trainer import Control

RECIPE = """
name = "small"
checkpoint_seconds = 0.0
[tokenizer]
entries = 300
samples = 60
[model]
dim = 32
num_layers = 2
num_heads = 2
num_kv_heads = 1
head_dim = 16
ffn_dim = 48
max_context = 256
[[stage]]
name = "first"
tokens = 4000
sequence_length = 256
batch_tokens = 600
mix = { repeat = 1.0 }
[[stage]]
name = "second"
tokens = 2500
sequence_length = 200
batch_tokens = 600
mix = { look_up = 3.0, repeat = 1.0 }
"""

CONFIG = ModelConfig(
    dim=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, ffn_dim=48, vocab_size=64, max_context=256,
    tied_embeddings=True,
)  # fmt: skip


def small_recipe(text: str = RECIPE) -> Recipe:
    return parse_recipe(text, "small.toml")


class Quiet:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.shown: list[Document] = []
        self.reports: list[StepReport] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def show(self, document: Document) -> None:
        self.shown.append(document)

    def step(self, report: StepReport) -> None:
        self.reports.append(report)


def small_run(
    folder: Path, *, steps: int | None = None, workers: int = 0, recipe: Recipe | None = None, ranks: Ranks = ALONE
) -> tuple[Run, Quiet]:
    """A run that stops after `steps` steps of its own."""
    watcher = Quiet()

    def stop() -> bool:
        return steps is not None and len(watcher.reports) >= steps

    return Run(recipe or small_recipe(), folder, watcher, Control(stop, "resume me", workers), ranks), watcher


def float64_model(config: ModelConfig = CONFIG) -> Transformer:
    read = RandomWeights(config, seed=1, dtype=torch.float64).read
    return trainable(config, read, torch.float64, torch.device("cpu"))


def make_document(tokens: list[int], weights: list[float]) -> Document:
    return Document(np.array(tokens, dtype=np.int32), np.array(weights, dtype=np.float32), "kind", "en", "a test")
