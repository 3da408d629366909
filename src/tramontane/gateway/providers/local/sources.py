"""Where a local model comes from: a folder with a checkpoint, or random weights in a shape of the family."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import mistral_common
import torch

from tramontane.catalogue.references import Reference
from tramontane.errors import TramontaneError
from tramontane.model.checkpoint import Checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.family import shape
from tramontane.model.linear import Quantization
from tramontane.model.machine import best_dtype
from tramontane.model.pooling import Pooling
from tramontane.model.random_weights import RandomWeights
from tramontane.model.weights import LoadedModel, Progress, build_model, load_model
from tramontane.tokenizer.tokenizer import Tokenizer

# The tokenizers in mistral-common's wheel, by the number of their entries: what a model without files can use.
_BUNDLED = {
    32_000: "tokenizer.model.v1",
    32_768: "mistral_instruct_tokenizer_240323.model.v3",
    131_072: "tekken_240718.json",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A model whose configuration and tokenizer were read and fit each other; no weight has been read yet."""

    name: str
    config: ModelConfig
    tokenizer: Tokenizer
    folder: Path | None  # None: random weights
    pooling: Pooling | None = None
    has_output_head: bool = True

    @property
    def created(self) -> int:
        """Seconds since 1970: when its files were written; now, for random weights."""
        return int(time.time() if self.folder is None else self.folder.stat().st_mtime)

    def load(self, quantization: Quantization, device: torch.device, progress: Progress) -> LoadedModel:
        """Reads, or makes, the weights."""
        if self.folder is not None:
            return load_model(self.folder, quantization=quantization, device=device, progress=progress)
        read = RandomWeights(self.config, dtype=torch.bfloat16).read
        loaded = build_model(
            self.config, read, quantization=quantization, dtype=best_dtype(device), device=device, progress=progress
        )
        loaded.notices.append(f"{self.name} has random weights: it answers in the right form, and knows nothing.")
        return loaded


def open_folder(name: str, folder: Path) -> Source:
    """A checkpoint of either layout, checked from its headers; raises CheckpointError or TokenizerError."""
    checkpoint, tokenizer = Checkpoint.open(folder), Tokenizer.from_folder(folder)
    tokenizer.check_fits(checkpoint.config.vocab_size)
    return Source(name, checkpoint.config, tokenizer, folder, checkpoint.pooling, checkpoint.has_output_head)


def open_reference(reference: Reference) -> Source:
    """The model that a user named, checked from its files' headers."""
    if reference.shape is not None:
        return random_source(reference.name, reference.shape)
    return open_folder(reference.name, reference.require_folder())


def random_source(name: str, shape_name: str, layers: int | None = None) -> Source:
    """Random weights in a shape of the family, with a published tokenizer of at least its vocabulary."""
    config = shape(shape_name)
    if layers is not None:
        config = replace(config, num_layers=layers, windows=config.windows[:layers])
    # v1 has neither tools nor fill in the middle: it serves only where nothing else fits.
    sizes = [config.vocab_size, *sorted(_BUNDLED)[1:]]
    size = next((size for size in sizes if size in _BUNDLED and size >= config.vocab_size), None)
    if size is None:
        raise TramontaneError(f"No bundled tokenizer has the {config.vocab_size} entries of {shape_name}.")
    data = Path(mistral_common.__file__).parent / "data"
    return Source(name, replace(config, vocab_size=size), Tokenizer.from_file(data / _BUNDLED[size]), None)
