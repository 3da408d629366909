"""Linear layers: plain, int8 (W8A8) and int4, behind one call: `layer(x)`, [T, in] → [T, out].

A door for later: LoRA adapters mixed in one batch enter here, as a layer that wraps another and adds its
low-rank term for the rows of each adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tramontane.errors import TramontaneError
from tramontane.model import kernels
from tramontane.model.rows import quantize_rows, rescale_rows

Quantization = Literal["none", "int8", "int4"]

INT4_GROUP = 32  # inputs that share one scale and one zero
_ROWS_AT_ONCE = 2048  # how many rows of a weight are widened to float32 at a time while it is quantised


class Linear(nn.Module):
    """`x @ weight.T`, no bias, as everywhere in the family."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))

        self.in_features, self.out_features = in_features, out_features

    @property
    def num_bytes(self) -> int:
        """Memory of the weight."""
        return self.weight.nbytes

    def forward(self, x: Tensor) -> Tensor:
        if kernels.reads_few_rows(x, self.weight):
            return kernels.few_rows_product(x, self.weight)
        return F.linear(x, self.weight)


class Int8Linear(nn.Module):
    """W8A8: one scale an output row of the weight, one a row of activations.

    The product is exact integer arithmetic, so that a row's result does not depend on the rows beside it.
    """

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        """`weight` int8 [out, in], `scale` float32 [out]."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.product = kernels.int8_product(weight, scale)
        self.num_bytes = weight.numel() + scale.numel() * 4

    def forward(self, x: Tensor) -> Tensor:
        quantized, scale = quantize_rows(x)
        return rescale_rows(self.product(quantized), scale, x.dtype)


class Int4Linear(nn.Module):
    """int4 in groups of 32 for few rows; more rows go to an int8 copy, which costs its memory.

    The two round differently: a row's result depends on how many rows stand beside it.
    """

    def __init__(self, weight: Tensor, many_rows: Int8Linear, max_rows: int) -> None:
        """`weight` [out, in], any floating dtype; `max_rows`: up to how many rows the int4 kernel is used."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        if self.out_features % 16 or self.in_features % INT4_GROUP:
            raise TramontaneError(
                f"int4 needs matrices of 16 x {INT4_GROUP} tiles, and one here is {self.out_features} x "
                f"{self.in_features}; use int8."
            )
        self.many_rows, self.max_rows = many_rows, max_rows
        self.few_rows = kernels.int4_product(*quantize_int4(weight))
        self.few_rows_bytes = weight.numel() // 2 + weight.numel() // INT4_GROUP * 4  # two bfloat16 a group
        self.num_bytes = self.few_rows_bytes + many_rows.num_bytes

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > self.max_rows:
            return self.many_rows(x)  # type: ignore[no-any-return]
        return self.few_rows(x)


AnyLinear = Linear | Int8Linear | Int4Linear


def quantize_int8(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stacks `parts` [out_i, in] and rounds each row to int8: (int8 [out, in], float32 scale [out]).

    Works on a few rows at a time, so that a memory-mapped weight is never widened as a whole.
    """
    rows = sum(part.shape[0] for part in parts)
    quantized = torch.empty(rows, parts[0].shape[1], dtype=torch.int8)
    scales = torch.empty(rows, dtype=torch.float32)
    start = 0
    for part in parts:
        for piece in part.split(_ROWS_AT_ONCE):
            wide = piece.to(torch.float32, copy=True)  # divided in place below: the caller's tensor must not change
            scale = wide.abs().amax(-1).clamp_min_(1e-20) / 127.0
            stop = start + piece.shape[0]
            quantized[start:stop] = wide.div_(scale[:, None]).round_().to(torch.int8)
            scales[start:stop] = scale
            start = stop
    return quantized, scales


def quantize_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds groups of 32 inputs to 0…15: (uint8 [out, in], bfloat16 scales and zeros [in / 32, out, 2]).

    A value is `(q - 8) * scale + zero`.
    """
    out_features, in_features = weight.shape
    quantized = torch.empty(out_features, in_features, dtype=torch.uint8)
    scales_and_zeros = torch.empty(in_features // INT4_GROUP, out_features, 2, dtype=torch.bfloat16)
    for start in range(0, out_features, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        groups = weight[rows].float().unflatten(1, (-1, INT4_GROUP))  # [rows, groups, 32]
        low, high = groups.aminmax(dim=-1)
        # The kernel computes with bfloat16 scales: round to them first, then choose the nearest steps.
        scale = ((high - low) / 15).clamp_min(1e-8).bfloat16().float()
        zero = (low + scale * 8).bfloat16().float()
        steps = ((groups - zero[..., None]) / scale[..., None]).round_().add_(8).clamp_(0, 15)
        quantized[rows] = steps.to(torch.uint8).flatten(1)
        scales_and_zeros[:, rows, 0] = scale.t().bfloat16()
        scales_and_zeros[:, rows, 1] = zero.t().bfloat16()
    return quantized, scales_and_zeros
