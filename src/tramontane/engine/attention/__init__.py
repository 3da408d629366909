"""Attention over paged keys and values: one signature, several implementations, tested equal.

An implementation prepares a step once, which gives the `Attend` that every layer calls. `reference` is short and
obviously right; `sdpa` uses PyTorch's kernels on any device; `native` is C that reads the pages in place. A Triton
kernel for GPUs will be one more line of `choose_attention`.
"""

from __future__ import annotations

import torch

from tramontane.engine.attention.batch import Batch, Prepare, SequenceSlice
from tramontane.engine.attention.native import native, native_serves
from tramontane.engine.attention.reference import reference
from tramontane.engine.attention.sdpa import sdpa
from tramontane.model.config import ModelConfig

__all__ = ["Batch", "Prepare", "SequenceSlice", "choose_attention", "native", "reference", "sdpa"]


def choose_attention(config: ModelConfig, device: torch.device, dtype: torch.dtype, block_size: int) -> Prepare:
    """The fastest implementation that serves this model on this device."""
    if device.type == "cpu" and native_serves(config, dtype, block_size):
        return native
    return sdpa
