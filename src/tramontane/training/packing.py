"""Documents side by side in one ragged batch: no padding, positions from 0 in each, attention within each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tramontane.training.rendering import Document


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
        """The batch on `device`."""
        tensors = (self.tokens, self.positions, self.rows, self.targets, self.weights)
        tokens, positions, rows, targets, weights = (tensor.to(device, non_blocking=True) for tensor in tensors)
        return Batch(tokens, positions, self.lengths, rows, targets, weights)


def pack(documents: Sequence[Document]) -> Batch:
    """Puts documents side by side; the first token of each is predicted by nothing, whatever its weight."""
    tokens = np.concatenate([document.tokens for document in documents]).astype(np.int64)
    weights = np.concatenate([document.weights for document in documents])
    lengths = [len(document) for document in documents]
    positions = np.concatenate([np.arange(length) for length in lengths])
    learnt = np.flatnonzero((weights != 0) & (positions != 0))
    return Batch(
        tokens=torch.from_numpy(tokens),
        positions=torch.from_numpy(positions),
        lengths=lengths,
        rows=torch.from_numpy(learnt - 1),
        targets=torch.from_numpy(tokens[learnt]),
        weights=torch.from_numpy(weights[learnt]),
    )


def split(documents: Sequence[Document], max_tokens: int) -> list[list[Document]]:
    """Documents in their order, cut into groups of at most `max_tokens`; a longer document is a group of its own."""
    groups: list[list[Document]] = []
    room = 0
    for document in documents:
        if not groups or len(document) > room:
            groups.append([])
            room = max_tokens
        groups[-1].append(document)
        room -= len(document)
    return groups
