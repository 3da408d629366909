"""The family's own dialect: `params.json`, beside `consolidated*.safetensors`.

Sources for the meaning of the fields: mistral-inference (args.py), vLLM's Mistral configuration adaptor.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tramontane.errors import CheckpointError
from tramontane.model.config import ModelConfig, MoEConfig, YarnConfig
from tramontane.model.fields import Fields
from tramontane.model.stored_quantization import check_quantization

_MLA_FIELDS = ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim")
_CONTEXT_FIELDS = ("max_position_embeddings", "max_seq_len", "model_max_length")


def from_params_json(params: dict[str, Any], path: Path | str) -> ModelConfig:
    """The shape in a parsed `params.json`; `path` is for messages.

    Raises CheckpointError when a field is missing or malformed, or asks for what the engine does not have (MLA,
    shared experts, Mamba, biases, adapters, quantisation other than per-tensor FP8).
    """
    fields = Fields(params, path)
    _refuse_other_architectures(fields)
    check_quantization(fields, "quantization")
    num_layers, num_heads = fields.integer("n_layers"), fields.integer("n_heads")
    dim = fields.integer("dim")
    try:
        yarn = _read_yarn(fields)
        windows = _read_windows(fields, num_layers)
        beta, original = _read_query_scale(fields)
        return ModelConfig(
            dim=dim,
            num_layers=num_layers,
            num_heads=num_heads,
            num_kv_heads=fields.integer("n_kv_heads", num_heads),
            head_dim=fields.integer("head_dim", dim // max(num_heads, 1)),
            ffn_dim=fields.integer("hidden_dim"),
            vocab_size=fields.integer("vocab_size"),
            norm_eps=fields.number("norm_eps", 1e-5),
            # The first release wrote no theta and meant 1e4, with its window; later ones without a window mean 1e6.
            rope_theta=fields.number("rope_theta", 1e4 if any(windows) else 1e6),
            max_context=_read_max_context(fields, yarn),
            tied_embeddings=fields.boolean("tied_embeddings", False),
            windows=windows,
            moe=_read_moe(fields),
            yarn=yarn,
            query_scale_beta=beta,
            query_scale_original=original,
        )
    except CheckpointError as error:
        raise error if str(error).startswith(str(path)) else CheckpointError(f"{path}: {error}") from error


def to_params_json(config: ModelConfig) -> dict[str, Any]:
    """The same shape as a `params.json`; CheckpointError when the dialect has no word for it."""
    params: dict[str, Any] = {
        "dim": config.dim,
        "n_layers": config.num_layers,
        "head_dim": config.head_dim,
        "hidden_dim": config.ffn_dim,
        "n_heads": config.num_heads,
        "n_kv_heads": config.num_kv_heads,
        "norm_eps": config.norm_eps,
        "vocab_size": config.vocab_size,
        "rope_theta": config.rope_theta,
        "max_position_embeddings": config.max_context,
        "max_seq_len": config.max_context,
        "tied_embeddings": config.tied_embeddings,
    }
    if any(config.windows):
        same = len(set(config.windows)) == 1
        params["sliding_window"] = config.windows[0] if same else _shortest_pattern(config.windows)
    if config.moe:
        params["moe"] = {
            "num_experts": config.moe.num_experts,
            "num_experts_per_tok": config.moe.num_experts_per_tok,
        }
    if config.yarn:
        params["yarn"] = _write_yarn(config.yarn)
    if config.query_scale_beta:
        params["llama_4_scaling"] = {
            "original_max_position_embeddings": config.query_scale_original,
            "beta": config.query_scale_beta,
        }
    return params


def yarn_attention_factor(factor: float, mscale: float = 1.0) -> float:
    """The magnitude correction of the YaRN paper (arXiv:2309.00071, section 3.4): 0.1 · mscale · ln(factor) + 1."""
    return 1.0 if factor <= 1.0 else 0.1 * mscale * math.log(factor) + 1.0


def _refuse_other_architectures(fields: Fields) -> None:
    for name in _MLA_FIELDS:
        if fields.has(name):
            fields.refuse(name, "asks for multi-head latent attention, which is not supported; choose another model.")
    model_type = fields.text("model_type", "transformer")
    if model_type != "transformer":
        fields.refuse("model_type", f"is {model_type!r}; only transformers of the Mistral family are supported.")
    if fields.text("activation", "silu") != "silu":
        fields.refuse("activation", f"is {fields.data['activation']!r}; the family uses silu.")
    if fields.boolean("use_biases", False):
        fields.refuse("use_biases", "is true; the family has no biases.")
    lora = fields.nested("lora")
    if lora and lora.boolean("enable", True):
        fields.refuse("lora", "is set; merge the adapter into the weights, or serve it with --adapter.")


def _read_windows(fields: Fields, num_layers: int) -> tuple[int | None, ...]:
    """`sliding_window` is one number for all layers, or a pattern repeated over them ([null, 32768, 32768, 32768])."""
    name = "sliding_window" if fields.has("sliding_window") else "_sliding_window"
    value = fields.data.get(name)
    if not isinstance(value, list):
        # A falsy window (null, 0) means none. num_layers is not validated yet, hence the bound on the repetition.
        return (fields.integer(name),) * min(num_layers, 4096) if value else ()
    if not value or num_layers % len(value):
        fields.refuse(name, f"has {len(value)} entries, which do not repeat evenly over {num_layers} layers.")
    pattern = tuple(Fields({name: entry}, fields.path).integer(name) if entry else None for entry in value)
    return pattern * min(num_layers // len(value), 4096)


def _shortest_pattern(windows: tuple[int | None, ...]) -> list[int | None]:
    for length in range(1, len(windows) + 1):
        if len(windows) % length == 0 and windows[:length] * (len(windows) // length) == windows:
            return list(windows[:length])
    raise AssertionError("a tuple repeats itself once")


def _read_moe(fields: Fields) -> MoEConfig | None:
    moe = fields.nested("moe")
    if moe is None or not moe.data:
        return None
    for name in ("num_shared_experts", "first_k_dense_replace"):
        if moe.integer(name, 0):
            moe.refuse(name, "asks for shared experts or dense layers among sparse ones, which are not supported.")
    return MoEConfig(moe.integer("num_experts"), moe.integer("num_experts_per_tok"))


def _read_yarn(fields: Fields) -> YarnConfig | None:
    """`apply_scale: false` is the family's way to say that cos and sin keep their magnitude."""
    yarn = fields.nested("yarn")
    if yarn is None or not yarn.data:
        return None
    factor = yarn.number("factor")
    return YarnConfig(
        factor=factor,
        original_max_position_embeddings=yarn.integer("original_max_position_embeddings"),
        beta_fast=yarn.number("beta", 32.0),
        beta_slow=yarn.number("alpha", 1.0),
        attention_factor=yarn_attention_factor(factor) if yarn.boolean("apply_scale", True) else 1.0,
    )


def _write_yarn(yarn: YarnConfig) -> dict[str, Any]:
    apply_scale = yarn.attention_factor != 1.0
    if apply_scale and not math.isclose(yarn.attention_factor, yarn_attention_factor(yarn.factor)):
        raise CheckpointError(
            f"yarn.attention_factor {yarn.attention_factor} cannot be said in params.json; save in the hf layout."
        )
    if not yarn.truncate:
        raise CheckpointError("yarn.truncate false cannot be said in params.json; save in the hf layout.")
    return {
        "factor": yarn.factor,
        "original_max_position_embeddings": yarn.original_max_position_embeddings,
        "beta": yarn.beta_fast,
        "alpha": yarn.beta_slow,
        "apply_scale": apply_scale,
    }


def _read_query_scale(fields: Fields) -> tuple[float, int]:
    scaling = fields.nested("llama_4_scaling")
    beta = scaling.number("beta", 0.0) if scaling else 0.0
    if scaling is None or beta == 0.0:
        return 0.0, 8192
    return beta, scaling.integer("original_max_position_embeddings")


def _read_max_context(fields: Fields, yarn: YarnConfig | None) -> int:
    for name in _CONTEXT_FIELDS:
        if fields.has(name):
            return fields.integer(name)
    return int(yarn.factor * yarn.original_max_position_embeddings) if yarn else 32_768
