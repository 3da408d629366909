"""The transformer of the family: one class for dense and sparse models, windows, tied embeddings and YaRN.

It computes on one ragged batch: the tokens of any number of sequences side by side, [T], with their positions.
It knows nothing of caches: attention is a function that the caller brings (`Attend`), so that the engine's paged
cache and training's block-diagonal mask serve the same model.

A door for later: multi-head latent attention (Small 4, Large 3) is another `Attention` class with the same call.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tramontane.model.config import ModelConfig
from tramontane.model.experts import Experts
from tramontane.model.feed_forward import FeedForward
from tramontane.model.linear import AnyLinear, Linear
from tramontane.model.rope import Rope, Rotation
from tramontane.model.rows import rms_norm


class Attend(Protocol):
    """Attention of one layer over a step's new tokens and whatever each sequence has seen before."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [T, H, D], k and v [T, Hkv, D], rotated already → [T, H, D]; the scale is 1 / sqrt(D)."""
        ...


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, with a weight a dimension."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query attention; queries, keys and values come from one fused product."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.wqkv = Linear(config.dim, (config.num_heads + 2 * config.num_kv_heads) * config.head_dim)
        self.wo = Linear(config.num_heads * config.head_dim, config.dim)

    def forward(self, x: Tensor, rotation: Rotation, attend: Attend) -> Tensor:
        heads = self.wqkv(x).unflatten(-1, (-1, self.head_dim))  # [T, H + 2 Hkv, D]
        heads = rotation.apply(heads, self.num_heads + self.num_kv_heads)
        q, k, v = heads.split((self.num_heads, self.num_kv_heads, self.num_kv_heads), 1)
        out = attend(self.layer, rotation.scale_queries(q), k, v)  # [T, H, D]
        return self.wo(out.flatten(1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then feed-forward or experts, each on the normalised residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config, layer)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward: nn.Module
        if config.moe is None:
            self.feed_forward = FeedForward(config.dim, config.ffn_dim)
        else:
            self.feed_forward = Experts(config.dim, config.ffn_dim, config.moe)

    def forward(self, x: Tensor, rotation: Rotation, attend: Attend) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rotation, attend)
        return x + self.feed_forward(self.ffn_norm(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """`forward` gives hidden states, `logits` the scores of those that the caller wants scored."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        output = Linear(config.dim, config.vocab_size)
        if config.tied_embeddings:
            output.weight = _weight(self.tok_embeddings)
        self.output: AnyLinear = output
        self._rope: Rope | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of activations."""
        return self.norm.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.norm.weight.device

    def forward(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Tokens [T] at positions [T] → normalised hidden states [T, dim]."""
        if self._rope is None or self._rope.frequencies.device != tokens.device:
            self._rope = Rope(self.config, tokens.device, self.dtype)
        rotation = self._rope.at(positions)
        x = self._embed(tokens)  # [T, dim]
        for layer in self.layers:
            x = layer(x, rotation, attend)
        return self.norm(x)  # type: ignore[no-any-return]

    def _embed(self, tokens: Tensor) -> Tensor:
        table = self.tok_embeddings.weight
        if table.requires_grad and table.device.type == "cpu":
            # The gradient of a row is a sum over a batch, and is added up in the table's own dtype on a CPU.
            table = table.to(torch.promote_types(table.dtype, torch.float32))
        return F.embedding(tokens, table).to(self.dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [R, dim] → scores [R, vocab], float32 at least."""
        scores = self.output(hidden)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))  # type: ignore[no-any-return]


def _weight(embeddings: nn.Embedding) -> nn.Parameter:
    """The embeddings' own parameter, which torch declares as a plain tensor."""
    weight = embeddings.weight
    assert isinstance(weight, nn.Parameter)
    return weight
