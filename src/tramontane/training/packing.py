"""Documents side by side in one ragged batch: no padding, positions from 0 in each, attention within each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tramontane.training.rendering import Document, Tokens, Weights


@dataclass(frozen=True)
class Batch:
    """What one forward pass reads. T tokens of all documents, R of them in front of a token that is learnt."""

    tokens: Tensor  # [T], int64
    positions: Tensor  # [T], from 0 in each document
    lengths: list[int]  # of each document; they sum to T
    rows: Tensor  # [R]: which hidden states are scored
    targets: Tensor  # [R]: the token that follows each
    weights: Tensor  # [R], float32

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`; copying to a GPU goes on beside what the caller does next."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

        return Batch(
            moved(self.tokens),
            moved(self.positions),
            self.lengths,
            moved(self.rows),
            moved(self.targets),
            moved(self.weights),
        )


def pack(documents: Sequence[Document], size: int = 0) -> Batch:
    """Puts documents side by side; the first token of each is predicted by nothing, whatever its weight.

    Behind them come sequences of padding of which nothing is learnt, up to `size` tokens.
    """
    lengths = [len(document) for document in documents]
    padding = max(0, size - sum(lengths))
    longest = max(lengths)
    lengths += [min(longest, padding - start) for start in range(0, padding, longest)]
    nothing: tuple[Tokens, Weights] = np.zeros(padding, dtype=np.int32), np.zeros(padding, dtype=np.float32)
    tokens = np.concatenate([*(document.tokens for document in documents), nothing[0]]).astype(np.int64)
    weights = np.concatenate([*(document.weights for document in documents), nothing[1]])
    starts = np.cumsum([0, *lengths[:-1]])
    positions = np.arange(len(tokens)) - np.repeat(starts, lengths)
    learnt = np.flatnonzero((weights != 0) & (positions != 0))
    return Batch(
        tokens=torch.from_numpy(tokens),
        positions=torch.from_numpy(positions),
        lengths=lengths,
        rows=torch.from_numpy(learnt - 1),
        targets=torch.from_numpy(tokens[learnt]),
        weights=torch.from_numpy(weights[learnt]),
    )
