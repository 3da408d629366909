"""Sparse mixture of experts, as in Mixtral (arXiv:2401.04088)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tramontane.model.config import MoEConfig
from tramontane.model.feed_forward import FeedForward
from tramontane.model.linear import Linear


class Experts(nn.Module):
    """Each token goes to its best `num_experts_per_tok` experts, weighed by the softmax over those."""

    def __init__(self, dim: int, ffn_dim: int, moe: MoEConfig) -> None:
        super().__init__()
        self.num_experts_per_tok = moe.num_experts_per_tok
        self.gate = Linear(dim, moe.num_experts)
        self.experts = nn.ModuleList(FeedForward(dim, ffn_dim) for _ in range(moe.num_experts))

    def forward(self, x: Tensor) -> Tensor:
        scores, chosen = self.gate(x).topk(self.num_experts_per_tok, dim=-1)  # [T, k]
        weights = torch.softmax(scores, -1, dtype=torch.promote_types(x.dtype, torch.float32)).to(x.dtype)
        out = torch.zeros_like(x)
        for expert in chosen.unique().tolist():  # an expert that nobody chose is not read from memory
            rows, slots = torch.where(chosen == expert)
            out.index_add_(0, rows, self.experts[expert](x[rows]) * weights[rows, slots, None])
        return out
