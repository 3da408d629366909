"""What attention must know of a step: the ragged batch of its new tokens, and where each sequence's blocks lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tramontane.engine.kv_cache import KVCache
from tramontane.model.transformer import Attend


@dataclass(slots=True)
class SequenceSlice:
    """One sequence's part of a step: rows `start … start + num_new` of the ragged batch."""

    start: int
    num_new: int
    num_computed: int  # tokens in the cache before this step
    tables: list[list[int]]  # for each layer group, the blocks of the sequence

    @property
    def num_total(self) -> int:
        """Tokens in the cache once this step's are written."""
        return self.num_computed + self.num_new


@dataclass
class Batch:
    """All new tokens of a step, [T], with what attention needs to know of each sequence."""

    tokens: Tensor
    positions: Tensor
    slices: list[SequenceSlice]
    block_size: int

    def slots(self, group: int, piece: SequenceSlice, first: int, last: int) -> np.ndarray:
        """Where the tokens `first … last` of a sequence lie in the cache."""
        positions = np.arange(first, last)
        table = np.asarray(piece.tables[group], dtype=np.int64)
        slots: np.ndarray = table[positions // self.block_size] * self.block_size + positions % self.block_size
        return slots

    def new_slots(self, group: int) -> Tensor:
        """Where this step's tokens are written, [T]."""
        parts = [self.slots(group, piece, piece.num_computed, piece.num_total) for piece in self.slices]
        return torch.from_numpy(np.concatenate(parts)).to(self.tokens.device)


# An implementation prepares a step once; what it returns is called by every layer.
Prepare = Callable[[KVCache, Batch], Attend]


def first_visible(position: int, window: int | None) -> int:
    """The first position that the token at `position` sees; a window of 1 is the token itself."""
    return 0 if window is None else max(0, position - window + 1)
