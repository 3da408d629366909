"""The gated feed-forward network (SwiGLU, arXiv:2002.05202)."""

from __future__ import annotations

from torch import Tensor, nn

from tramontane.model.linear import Linear
from tramontane.model.rows import silu_mul


class FeedForward(nn.Module):
    """`w2(silu(w1 x) * w3 x)`; w1 and w3 are one fused product, w1's rows first."""

    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.w13 = Linear(dim, 2 * ffn_dim)
        self.w2 = Linear(ffn_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(silu_mul(self.w13(x)))  # type: ignore[no-any-return]
