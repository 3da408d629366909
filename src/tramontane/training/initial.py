"""The model before its first step."""

from __future__ import annotations

import torch
from torch import Tensor

from tramontane.model.config import ModelConfig
from tramontane.model.layouts import canonical_shapes
from tramontane.model.transformer import Transformer
from tramontane.model.weights import ReadTensor, build_model

_INTO_RESIDUAL = (".attention.wo.weight", ".feed_forward.w2.weight")


def initial_model(config: ModelConfig, seed: int, dtype: torch.dtype, device: torch.device) -> Transformer:
    """Random weights that depend on the seed alone; what is added to the residual stream begins at zero."""
    generator = torch.Generator().manual_seed(seed)
    shapes = canonical_shapes(config)

    def read(name: str) -> Tensor:
        shape = shapes[name]
        if len(shape) == 1:
            return torch.ones(shape)
        if name.endswith(_INTO_RESIDUAL):
            return torch.zeros(shape)
        table = name in ("tok_embeddings.weight", "output.weight")
        return torch.randn(shape, generator=generator) * (0.02 if table else 0.5 * shape[1] ** -0.5)

    return trainable(config, read, dtype, device)


def trainable(config: ModelConfig, read: ReadTensor, dtype: torch.dtype, device: torch.device) -> Transformer:
    """A model whose weights are all learnt, from tensors by canonical name: random ones or a checkpoint's."""
    model = build_model(config, read, dtype=dtype, device=device).model
    return model.train().requires_grad_()
