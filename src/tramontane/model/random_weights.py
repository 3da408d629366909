"""Random weights of a given shape: for benchmarks and tests, where only sizes and arithmetic matter."""

from __future__ import annotations

import torch
from torch import Tensor

from tramontane.model.checkpoint import canonical_shapes
from tramontane.model.config import ModelConfig


class RandomWeights:
    """Reads like a checkpoint: `read(name)` draws a tensor that depends on the seed and the name alone."""

    def __init__(self, config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        self.shapes = canonical_shapes(config)
        self.order = {name: index for index, name in enumerate(self.shapes)}
        self.seed, self.dtype = seed, dtype

    def read(self, name: str) -> Tensor:
        """Norms near 1, matrices scaled so that activations keep their size through the layers."""
        shape = self.shapes[name]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.order[name])
        values = torch.empty(shape, dtype=self.dtype).normal_(generator=generator)
        return values.mul_(0.1).add_(1) if len(shape) == 1 else values.mul_(shape[-1] ** -0.5)
