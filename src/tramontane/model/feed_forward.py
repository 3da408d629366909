"""The gated feed-forward network (SwiGLU, arXiv:2002.05202)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tramontane.model.linear import Linear


class FeedForward(nn.Module):
    """`w2(silu(w1 x) * w3 x)`; w1 and w3 are one fused product, w1's rows first."""

    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.w13 = Linear(dim, 2 * ffn_dim)
        self.w2 = Linear(ffn_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.w13(x).chunk(2, -1)  # [T, ffn] each
        return self.w2(F.silu(gate) * up)  # type: ignore[no-any-return]
