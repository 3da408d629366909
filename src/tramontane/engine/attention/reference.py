"""Attention as it is written on paper: short, obviously right, and slow. The others are tested against it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tramontane.engine.attention.batch import Batch, first_visible
from tramontane.engine.kv_cache import KVCache
from tramontane.model.transformer import Attend


def reference(cache: KVCache, batch: Batch) -> Attend:
    """One sequence at a time, in the queries' own dtype."""
    new_slots = [batch.new_slots(group) for group in range(len(cache.groups))]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        group, _ = cache.place[layer]
        window = cache.groups[group].window
        keys, values = cache.write(layer, new_slots[group], k, v)
        out = torch.empty_like(q)
        for piece in batch.slices:
            rows = slice(piece.start, piece.start + piece.num_new)
            first = first_visible(piece.num_computed, window)
            slots = torch.from_numpy(batch.slots(group, piece, first, piece.num_total)).to(q.device)
            repeats = q.shape[1] // k.shape[1]
            seen_k = keys[:, slots].to(q.dtype).repeat_interleave(repeats, 0)  # [H, L, D]
            seen_v = values[:, slots].to(q.dtype).repeat_interleave(repeats, 0)
            scores = torch.einsum("thd,hld->htl", q[rows], seen_k) / math.sqrt(q.shape[2])
            query = torch.arange(piece.num_computed, piece.num_total, device=q.device)[:, None]
            key = torch.arange(first, piece.num_total, device=q.device)[None]
            hidden = key > query if window is None else (key > query) | (key <= query - window)
            weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
            out[rows] = torch.einsum("htl,hld->thd", weights, seen_v)
        return out

    return attend
