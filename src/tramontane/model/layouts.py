"""Where each tensor of a model is stored: canonical names, and what the native and the HF layout call them.

Canonical names are the native ones, with every expert apart. Canonical rows of `wq` and `wk` are in the half-rotated
order of transformers: within a head, the first halves of all rotary pairs come first. Native files interleave them.
Sources: mistral-inference (transformer.py, moe.py); transformers' convert_mistral_weights_to_hf.py,
convert_mixtral_weights_to_hf.py and conversion_mapping.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from tramontane.model.config import ModelConfig

Layout = Literal["native", "hf"]
Shape = tuple[int, ...]

OUTPUT = "output.weight"

# What may stand before `embed_tokens` in an HF file: a causal model, transformers 4 wrappers, 5 wrappers, a bare model.
_HF_PREFIXES = ("model.", "language_model.model.", "model.language_model.", "")
_HF_HEADS = ("lm_head.weight", "language_model.lm_head.weight")
_HF_PARTS = {
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}
_VISION = (
    *("vision_tower.", "multi_modal_projector."),  # HF
    *("vision_encoder.", "vision_language_adapter.", "patch_merger.", "pre_mm_projector_norm."),  # native
)
_LAYER = re.compile(r"layers\.(\d+)\.(.+)\.weight")
_EXPERT = re.compile(r"feed_forward\.experts\.(\d+)\.(w[123])")


@dataclass(frozen=True, slots=True)
class Stored:
    """One place where a canonical tensor may lie: all of a stored tensor, or a slice of a fused one.

    `shape` is that of the whole stored tensor. The wanted part is `tensor[expert]` if `expert` is given, then rows
    `rows[0]:rows[1]` if `rows` is given, then the transpose if `transposed`.
    """

    name: str
    shape: Shape
    expert: int | None = None
    rows: tuple[int, int] | None = None
    transposed: bool = False


def canonical_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Every tensor of the model by canonical name, in the order in which it is used; a linear is [out, in].

    `output.weight` is absent when the embeddings are tied.
    """
    dim, ffn, query = config.dim, config.ffn_dim, config.num_heads * config.head_dim
    key = config.num_kv_heads * config.head_dim
    mlp: dict[str, Shape] = {"w1": (ffn, dim), "w2": (dim, ffn), "w3": (ffn, dim)}
    shapes: dict[str, Shape] = {"tok_embeddings.weight": (config.vocab_size, dim)}
    for layer in range(config.num_layers):
        prefix = f"layers.{layer}"
        shapes[f"{prefix}.attention_norm.weight"] = (dim,)
        for part, shape in {"wq": (query, dim), "wk": (key, dim), "wv": (key, dim), "wo": (dim, query)}.items():
            shapes[f"{prefix}.attention.{part}.weight"] = shape
        shapes[f"{prefix}.ffn_norm.weight"] = (dim,)
        if config.moe is None:
            shapes |= {f"{prefix}.feed_forward.{part}.weight": shape for part, shape in mlp.items()}
            continue
        shapes[f"{prefix}.feed_forward.gate.weight"] = (config.moe.num_experts, dim)
        for expert in range(config.moe.num_experts):
            shapes |= {f"{prefix}.feed_forward.experts.{expert}.{part}.weight": shape for part, shape in mlp.items()}
    shapes["norm.weight"] = (dim,)
    if not config.tied_embeddings:
        shapes[OUTPUT] = (config.vocab_size, dim)
    return shapes


def hf_prefix(names: Collection[str]) -> str | None:
    """What stands before the text model's names in an HF file, or None when there is no text model in it."""
    return next((prefix for prefix in _HF_PREFIXES if f"{prefix}embed_tokens.weight" in names), None)


def native_places(name: str, shape: Shape, config: ModelConfig) -> Iterator[Stored]:
    """Where a native file may hold the canonical tensor `name`, the usual place first."""
    yield Stored(name, shape)
    layer, part = _split(name)
    if config.moe is None or layer is None:
        return
    if part == "feed_forward.gate":
        yield Stored(f"layers.{layer}.block_sparse_moe.gate.weight", shape)
    if match := _EXPERT.fullmatch(part):
        # The first Mixtral release stacked its experts along the rows, with w2 stored as [in, out].
        expert, ffn = int(match[1]), config.ffn_dim
        rows = (expert * ffn, (expert + 1) * ffn)
        stacked = (config.moe.num_experts * ffn, config.dim)
        fused = f"layers.{layer}.block_sparse_moe.{match[2]}"
        for fused_name in (fused, f"{fused}.weight"):
            yield Stored(fused_name, stacked, rows=rows, transposed=match[2] == "w2")


def hf_places(name: str, shape: Shape, config: ModelConfig, prefix: str) -> Iterator[Stored]:
    """Where an HF file may hold the canonical tensor `name`, the usual place first."""
    layer, part = _split(name)
    if name == OUTPUT:
        yield from (Stored(head, shape) for head in _HF_HEADS)
    elif layer is None:
        yield Stored(prefix + ("embed_tokens.weight" if name == "tok_embeddings.weight" else name), shape)
    elif part in _HF_PARTS:
        yield Stored(f"{prefix}layers.{layer}.{_HF_PARTS[part]}.weight", shape)
    elif part == "feed_forward.gate":
        yield from (Stored(f"{prefix}layers.{layer}.{moe}.gate.weight", shape) for moe in ("block_sparse_moe", "mlp"))
    elif (match := _EXPERT.fullmatch(part)) and config.moe:
        yield from _hf_expert_places(f"{prefix}layers.{layer}.", int(match[1]), match[2], shape, config)


def _hf_expert_places(prefix: str, expert: int, part: str, shape: Shape, config: ModelConfig) -> Iterator[Stored]:
    """One tensor an expert, as on the hub; or all experts in one tensor, as transformers 5 has them in memory."""
    for moe in ("block_sparse_moe", "mlp"):
        yield Stored(f"{prefix}{moe}.experts.{expert}.{part}.weight", shape)
    experts, ffn = config.moe.num_experts if config.moe else 0, config.ffn_dim
    if part == "w2":
        yield Stored(f"{prefix}mlp.experts.down_proj", (experts, config.dim, ffn), expert=expert)
    else:  # [experts, gate rows then up rows, dim]
        rows = (0, ffn) if part == "w1" else (ffn, 2 * ffn)
        yield Stored(f"{prefix}mlp.experts.gate_up_proj", (experts, 2 * ffn, config.dim), expert=expert, rows=rows)


def stored_name(name: str, config: ModelConfig, layout: Layout) -> str:
    """The name under which the writer stores the canonical tensor `name`."""
    if layout == "native":
        return name
    return next(hf_places(name, (), config, "model.")).name


def is_vision(name: str) -> bool:
    """Whether a stored tensor belongs to the image half of a model."""
    return name.removeprefix("model.").startswith(_VISION)


def rotary_heads(name: str, config: ModelConfig) -> int | None:
    """The number of heads of a tensor whose rows native files interleave, None for every other tensor."""
    if name.endswith(".attention.wq.weight"):
        return config.num_heads
    return config.num_kv_heads if name.endswith(".attention.wk.weight") else None


def interleaved_to_half(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Rows of each head from pairs (x0 y0 x1 y1 …) to halves (x0 x1 … y0 y1 …). weight: [H * D, in]; a copy."""
    pairs = weight.reshape(num_heads, -1, 2, weight.shape[-1])  # [H, D/2, 2, in]
    return pairs.transpose(1, 2).reshape(weight.shape)


def half_to_interleaved(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """The inverse of `interleaved_to_half`."""
    halves = weight.reshape(num_heads, 2, -1, weight.shape[-1])  # [H, 2, D/2, in]
    return halves.transpose(1, 2).reshape(weight.shape)


def _split(name: str) -> tuple[int | None, str]:
    """`layers.3.attention.wq.weight` → (3, `attention.wq`); a tensor outside the layers → (None, name)."""
    match = _LAYER.fullmatch(name)
    return (int(match[1]), match[2]) if match else (None, name)
