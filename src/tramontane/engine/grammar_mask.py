"""Bit masks over the vocabulary: made, filled for many sequences at once, and laid over logits.

A mask is int32 [R, ceil(V / 32)], one bit a token, the lowest bit first: a set bit lets the token through.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def new_bitmask(num_rows: int, vocab_size: int) -> torch.Tensor:
    """A mask that lets every token through, int32 [num_rows, ceil(vocab_size / 32)], on the CPU."""
    return torch.full((num_rows, (vocab_size + 31) // 32), -1, dtype=torch.int32)


def pack_bits(allowed: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> torch.Tensor:
    """One row of a mask, int32 [ceil(V / 32)], from bool [V]."""
    padded = np.zeros((len(allowed) + 31) // 32 * 32, dtype=np.bool_)
    padded[: len(allowed)] = allowed
    return torch.from_numpy(np.packbits(padded, bitorder="little").view(np.int32))


def apply_bitmask(logits: torch.Tensor, bitmask: torch.Tensor, rows: Sequence[int] | None = None) -> None:
    """Set the logits of forbidden tokens to minus infinity, in place.

    `logits` is [R, V] on any device, `bitmask` is int32 [R, ceil(V / 32)] on the CPU; only `rows` are touched
    (all of them when None), so that sequences without a grammar cost nothing.
    """
    wanted = range(logits.shape[0]) if rows is None else rows
    for row in wanted:
        logits[row].masked_fill_(_forbidden(bitmask[row].to(logits.device), logits.shape[1]), float("-inf"))


def _forbidden(mask: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Bool [vocab_size] from int32 [ceil(vocab_size / 32)]: which tokens the mask keeps out."""
    if mask.device.type == "cpu":  # numpy unpacks bits many times faster than torch can
        bits = np.unpackbits((~mask).numpy().view(np.uint8), count=vocab_size, bitorder="little")
        return torch.from_numpy(bits.view(np.bool_))
    shifts = torch.arange(32, dtype=torch.int32, device=mask.device)
    return ((mask[:, None] >> shifts) & 1 == 0).flatten()[:vocab_size]
