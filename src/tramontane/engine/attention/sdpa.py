"""Attention by PyTorch's own kernels, on any device and in any dtype."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tramontane.engine.attention.batch import Batch, SequenceSlice, first_visible
from tramontane.engine.kv_cache import KVCache
from tramontane.model.transformer import Attend


@dataclass
class _Padded:
    """Sequences whose keys are gathered to one length and attended to in one call."""

    rows: Tensor  # rows of the ragged batch, [B * n]
    slots: Tensor  # [B * L]
    num_sequences: int
    num_new: int
    mask: Tensor | None  # [B, 1, n, L], True where seen; None: everything

    @cached_property
    def length(self) -> int:
        return self.slots.shape[0] // self.num_sequences


def sdpa(cache: KVCache, batch: Batch) -> Attend:
    """Single tokens of sequences of like length are gathered together, longer chunks one by one."""
    new_slots = [batch.new_slots(group) for group in range(len(cache.groups))]
    plans = [_plan(cache, batch, group) for group in range(len(cache.groups))]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        group, _ = cache.place[layer]
        keys, values = cache.write(layer, new_slots[group], k, v)
        out = torch.empty_like(q)
        for padded in plans[group]:
            # [Hkv, B * L, D] → [B, Hkv, L, D]
            shape = (keys.shape[0], padded.num_sequences, padded.length, keys.shape[2])
            seen_k = keys.index_select(1, padded.slots).view(shape).transpose(0, 1).to(q.dtype)
            seen_v = values.index_select(1, padded.slots).view(shape).transpose(0, 1).to(q.dtype)
            queries = q[padded.rows].unflatten(0, (padded.num_sequences, -1)).transpose(1, 2)  # [B, H, n, D]
            if padded.num_new == 1:
                # Heads that share keys become rows of one product, which PyTorch does many times faster: [B, Hkv, G, D]
                queries = queries.view(padded.num_sequences, k.shape[1], -1, q.shape[2])
            result = F.scaled_dot_product_attention(
                queries, seen_k, seen_v, attn_mask=padded.mask, enable_gqa=queries.shape[1] != k.shape[1]
            )
            if padded.num_new == 1:
                out[padded.rows] = result.reshape(padded.num_sequences, *q.shape[1:])
            else:
                out[padded.rows] = result.transpose(1, 2).flatten(0, 1)
        return out

    return attend


def _plan(cache: KVCache, batch: Batch, group: int) -> list[_Padded]:
    window = cache.groups[group].window

    def length(piece: SequenceSlice) -> int:
        return piece.num_total - first_visible(piece.num_computed, window)

    singles = sorted((piece for piece in batch.slices if piece.num_new == 1), key=length)
    plan, start = [], 0
    for stop in range(1, len(singles) + 1):
        # A new bucket where the longest would be padded to more than half as much again as the shortest.
        if stop == len(singles) or length(singles[stop]) > 1.5 * length(singles[start]) + 32:
            plan.append(_pad(batch, group, window, singles[start:stop]))
            start = stop
    return plan + [_pad(batch, group, window, [piece]) for piece in batch.slices if piece.num_new > 1]


def _pad(batch: Batch, group: int, window: int | None, pieces: list[SequenceSlice]) -> _Padded:
    num_new = pieces[0].num_new
    firsts = [first_visible(piece.num_computed, window) for piece in pieces]
    longest = max(piece.num_total - first for piece, first in zip(pieces, firsts, strict=True))
    slots = np.zeros((len(pieces), longest), dtype=np.int64)
    mask = np.zeros((len(pieces), 1, num_new, longest), dtype=bool)
    for row, (piece, first) in enumerate(zip(pieces, firsts, strict=True)):
        # Padding repeats the sequence's own slots: it is masked, but another's NaN would get through a mask.
        slots[row] = np.resize(batch.slots(group, piece, first, piece.num_total), longest)
        query = np.arange(piece.num_computed, piece.num_total)[:, None]
        key = np.arange(first, first + longest)[None]
        mask[row, 0] = (key <= query) if window is None else (key <= query) & (key > query - window)
    rows = np.concatenate([np.arange(piece.start, piece.start + num_new) for piece in pieces])
    device = batch.tokens.device
    return _Padded(
        rows=torch.from_numpy(rows).to(device),
        slots=torch.from_numpy(slots.ravel()).to(device),
        num_sequences=len(pieces),
        num_new=num_new,
        mask=None if mask.all() else torch.from_numpy(mask).to(device),
    )
