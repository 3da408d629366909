"""The model's forward pass as training on a GPU computes it: two compiled pieces a layer, with attention between them.

At this size the time goes into moving activations, not into products, and a compiler that fuses what stands between
the products saves most of it. The pieces take their weights as arguments, so all layers share one compilation. What
they compute is what `Transformer.forward` computes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from tramontane.model.feed_forward import FeedForward
from tramontane.model.rope import Rope
from tramontane.model.rows import rms_norm, rotate, silu_mul
from tramontane.model.transformer import Attend, Block, Transformer

Forward = Callable[[Tensor, Tensor, Attend], Tensor]
"""Tokens [T], their positions, attention → hidden states [T, dim]."""

Before = Callable[[Tensor, Tensor, float, Tensor, tuple[int, int], Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
After = Callable[[Tensor, Tensor, Tensor, Tensor, float, Tensor, Tensor], Tensor]


def compiled_forward(model: Transformer) -> Forward:
    """The forward pass of a dense model whose weights all are on this device; for batches of one length alone, since
    each length is compiled anew."""
    return forward_in_pieces(model, *_compiled())


@cache
def _compiled() -> tuple[Before, After]:
    return torch.compile(before_attention, dynamic=False), torch.compile(after_attention, dynamic=False)


def forward_in_pieces(model: Transformer, before: Before, after: After) -> Forward:
    """The forward pass, made of what stands before attention and what stands after it in a layer."""
    config = model.config
    heads, eps = (config.num_heads, config.num_kv_heads), config.norm_eps
    rope = Rope(config, model.device, model.dtype)

    def forward(tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        rotation = rope.at(positions)
        x = F.embedding(tokens, model.tok_embeddings.weight)  # [T, dim]
        for number, layer in enumerate(model.layers):
            assert isinstance(layer, Block)
            assert isinstance(layer.feed_forward, FeedForward)
            norm, attention = layer.attention_norm.weight, layer.attention
            q, k, v = before(x, norm, eps, attention.wqkv.weight, heads, rotation.cos, rotation.sin)
            found = attend(number, rotation.scale_queries(q), k, v)
            feed_forward = layer.feed_forward
            w13, w2 = feed_forward.w13.weight, feed_forward.w2.weight
            x = after(x, found, attention.wo.weight, layer.ffn_norm.weight, eps, w13, w2)
        return rms_norm(x, model.norm.weight, eps)

    return forward


def before_attention(
    x: Tensor, norm: Tensor, eps: float, wqkv: Tensor, heads: tuple[int, int], cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The residual stream [T, dim] → rotated queries and keys, and values, [T, heads, D] each."""
    num_heads, num_kv_heads = heads
    fused = F.linear(rms_norm(x, norm, eps), wqkv).unflatten(-1, (num_heads + 2 * num_kv_heads, -1))
    q, k, v = rotate(fused, num_heads + num_kv_heads, cos, sin).split((num_heads, num_kv_heads, num_kv_heads), 1)
    return q, k, v


def after_attention(x: Tensor, found: Tensor, wo: Tensor, norm: Tensor, eps: float, w13: Tensor, w2: Tensor) -> Tensor:
    """The residual stream behind a layer, from what its attention found [T, heads, D]."""
    x = x + F.linear(found.flatten(1), wo)
    return x + F.linear(silu_mul(F.linear(rms_norm(x, norm, eps), w13)), w2)
