"""Attention within each document of a packed batch, by PyTorch's own kernels, with a gradient.

On a GPU the fused kernel reads documents of any lengths as they stand, one after another. Elsewhere documents of like
length are put side by side as [B, L], padded at their ends: under a causal mask no token sees what comes after it, so
the padding needs no mask of its own and one call of the fused causal kernel serves many documents.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tramontane.model.transformer import Attend

# A bucket's longest document may be this much longer than its shortest: padding costs work, and so do calls.
_STRETCH, _SLACK = 1.25, 8


@dataclass(frozen=True)
class _Layout:
    """Where the T tokens of a batch lie in buckets, which stand one after another as P = sum of B * L rows."""

    sizes: list[tuple[int, int]]  # B, L of each bucket
    gather: Tensor  # [P]: the batch's row for each of the buckets' rows; padding repeats its document's first
    places: Tensor  # [T]: the buckets' row for each of the batch's


class _IntoBuckets(torch.autograd.Function):
    """[T, …] → [P, …]. Nothing that is learnt depends on padding, so the gradient is that of the real rows alone:
    read, not added up, which is fast and gives the same bits each time on any device."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return x.index_select(0, gather)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return gradients[0].index_select(0, places), None, None


class _OutOfBuckets(torch.autograd.Function):
    """[P, …] → [T, …]; the padding gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.rows = x.shape[0]
        return x.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (places,), gradient = ctx.saved_tensors, gradients[0]
        padded = gradient.new_zeros(ctx.rows, *gradient.shape[1:])
        return padded.index_copy_(0, places, gradient), None


_into_buckets: Callable[[Tensor, Tensor, Tensor], Tensor] = _IntoBuckets.apply
_out_of_buckets: Callable[[Tensor, Tensor], Tensor] = _OutOfBuckets.apply


def block_diagonal(
    lengths: Sequence[int], windows: Sequence[int | None], device: torch.device, dtype: torch.dtype = torch.float32
) -> Attend:
    """Causal attention within each of the documents whose lengths are given; prepared once for all layers."""
    ragged = device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)  # what the ragged kernel computes in
    return _ragged(lengths, windows, device) if ragged else _in_buckets(lengths, windows, device)


def _ragged(lengths: Sequence[int], windows: Sequence[int | None], device: torch.device) -> Attend:
    from torch.nn.attention import varlen

    # Older releases have no such argument: there the kernel sees from the shapes that heads share keys.
    told = "enable_gqa" in inspect.signature(varlen.varlen_attn).parameters
    kernel = partial(varlen.varlen_attn, enable_gqa=True) if told else varlen.varlen_attn
    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32).pin_memory().to(device, non_blocking=True)
    longest = max(lengths)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        back = (windows[layer] or 0) - 1  # -1: as far as the document goes
        found = kernel(q, k, v, ends, ends, longest, longest, window_size=(back, 0))
        assert isinstance(found, Tensor)
        return found

    return attend


def _in_buckets(lengths: Sequence[int], windows: Sequence[int | None], device: torch.device) -> Attend:
    layout = _layout(lengths, device)
    longest = max(lengths)
    masks = {window: _window_mask(longest, window, device) for window in set(windows) if window and window < longest}

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask, dtype = masks.get(windows[layer] or 0), q.dtype
        if q.device.type == "cpu" and dtype == torch.bfloat16:  # its fused kernel is faster in float32
            q, k, v = q.float(), k.float(), v.float()
        if q.device.type == "cpu" and q.shape[1] != k.shape[1]:
            # The CPU's fused kernel wants as many key heads as query heads.
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        q, k, v = (_into_buckets(x, layout.gather, layout.places) for x in (q, k, v))  # [P, H, D]
        out, start = [], 0
        for B, L in layout.sizes:
            rows = slice(start, start + B * L)
            queries, keys, values = (x[rows].unflatten(0, (B, L)).transpose(1, 2) for x in (q, k, v))  # [B, H, L, D]
            out.append(_causal(queries, keys, values, mask).transpose(1, 2).flatten(0, 1))
            start += B * L
        together = torch.cat(out) if len(out) > 1 else out[0]
        return _out_of_buckets(together.to(dtype), layout.places)

    return attend


def _causal(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    seen = None if mask is None else mask[: q.shape[2], : q.shape[2]]
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=seen is None, enable_gqa=grouped)


def _layout(lengths: Sequence[int], device: torch.device) -> _Layout:
    starts = np.cumsum([0, *lengths[:-1]])
    sizes, gathers, places, first, filled = [], [], np.empty(sum(lengths), dtype=np.int64), 0, 0
    by_length = np.argsort(lengths, kind="stable")
    for stop in range(1, len(by_length) + 1):
        if stop < len(by_length) and lengths[by_length[stop]] <= _STRETCH * lengths[by_length[first]] + _SLACK:
            continue
        members = by_length[first:stop]
        length = np.array(lengths)[members][:, None]  # [B, 1]
        offsets = np.arange(length.max())  # [L]
        present = offsets < length  # [B, L]
        gather = np.where(present, starts[members][:, None] + offsets, starts[members][:, None])
        places[gather[present]] = np.flatnonzero(present) + filled
        sizes.append((len(members), len(offsets)))
        gathers.append(gather.ravel())
        first, filled = stop, filled + gather.size
    gather_all = torch.from_numpy(np.concatenate(gathers)).to(device)
    return _Layout(sizes, gather_all, torch.from_numpy(places).to(device))


def _window_mask(length: int, window: int, device: torch.device) -> Tensor:
    """[L, L], True where a query (row) sees a key: itself and the `window - 1` before it."""
    places = torch.arange(length, device=device)
    distance = places[:, None] - places
    return (distance >= 0) & (distance < window)
