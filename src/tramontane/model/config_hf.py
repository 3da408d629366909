"""The dialect of transformers: `config.json`, versions 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`).

Source for the meaning of the fields and of their defaults: transformers 5.23, models/mistral, mixtral, ministral,
ministral3, mistral3 and modeling_rope_utils.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tramontane.errors import CheckpointError
from tramontane.model.config import ModelConfig, MoEConfig, YarnConfig
from tramontane.model.config_native import yarn_attention_factor
from tramontane.model.fields import Fields
from tramontane.model.stored_quantization import check_quantization

# Text models, and what transformers takes for the fields that a file leaves out: nested text configurations are
# saved without the values that equal the class's defaults, so a missing `sliding_window` may well mean 4096.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "mistral": {"vocab_size": 32_000, "layers": 32, "eps": 1e-6, "window": 4096, "context": 131_072, "theta": 1e4},
    "mixtral": {"vocab_size": 32_000, "layers": 32, "eps": 1e-5, "window": None, "context": 131_072, "theta": 1e6},
    "ministral": {"vocab_size": 32_000, "layers": 32, "eps": 1e-6, "window": 4096, "context": 131_072, "theta": 1e4},
    "ministral3": {"vocab_size": 131_072, "layers": 34, "eps": 1e-5, "window": None, "context": 262_144, "theta": 1e4},
}
# Image models with one of the above inside; only the text model is read.
_WRAPPERS = ("mistral3", "llava", "pixtral")
_MLA_FIELDS = ("kv_lora_rank", "q_lora_rank")


def from_hf_config(config: dict[str, Any], path: Path | str) -> ModelConfig:
    """The shape in a parsed `config.json`; `path` is for messages. A vision wrapper gives its text model.

    Raises CheckpointError when a field is malformed, or asks for what the engine does not have: another architecture,
    MLA, biases, another activation or kind of rope, quantisation other than per-tensor FP8.
    """
    fields = Fields(config, path)
    check_quantization(fields, "quantization_config")
    text = _text_model(fields)
    check_quantization(text, "quantization_config")
    model_type = text.text("model_type", "mistral")
    defaults = _DEFAULTS[model_type]
    num_layers = text.integer("num_hidden_layers", defaults["layers"])
    num_heads = text.integer("num_attention_heads", 32)
    dim = text.integer("hidden_size", 4096)
    max_context = text.integer("max_position_embeddings", defaults["context"])
    # Null and absent differ: null asks transformers to derive the value, absent means the class's default.
    kv_heads_default = num_heads if "num_key_value_heads" in text.data else 8
    fixed_head_dim = model_type == "ministral3" and "head_dim" not in text.data
    try:
        rope = _rope_parameters(text, model_type)
        beta, original = _query_scale(rope, model_type, max_context)
        return ModelConfig(
            dim=dim,
            num_layers=num_layers,
            num_heads=num_heads,
            num_kv_heads=text.integer("num_key_value_heads", kv_heads_default),
            head_dim=text.integer("head_dim", 128 if fixed_head_dim else dim // max(num_heads, 1)),
            ffn_dim=text.integer("intermediate_size", 14_336),
            vocab_size=text.integer("vocab_size", defaults["vocab_size"]),
            norm_eps=text.number("rms_norm_eps", defaults["eps"]),
            rope_theta=rope.number("rope_theta"),
            max_context=max_context,
            # A wrapper has the field twice, and releases differ in which one they keep; a stored head settles it later.
            tied_embeddings=any(place.boolean("tie_word_embeddings", False) for place in (text, fields)),
            windows=_windows(text, num_layers, defaults["window"]),
            moe=_moe(text) if model_type == "mixtral" else None,
            yarn=_yarn(rope, max_context),
            query_scale_beta=beta,
            query_scale_original=original,
        )
    except CheckpointError as error:
        raise error if str(error).startswith(str(path)) else CheckpointError(f"{path}: {error}") from error


def to_hf_config(config: ModelConfig) -> dict[str, Any]:
    """The same shape as a `config.json` that transformers 5 loads; CheckpointError when it has no class for it."""
    model_type, architecture = _class_for(config)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.yarn:
        rope |= {
            "rope_type": "yarn",
            "factor": config.yarn.factor,
            "original_max_position_embeddings": config.yarn.original_max_position_embeddings,
            "beta_fast": config.yarn.beta_fast,
            "beta_slow": config.yarn.beta_slow,
            "attention_factor": config.yarn.attention_factor,
            "truncate": config.yarn.truncate,
        }
    if model_type == "ministral3":
        original = config.query_scale_original if config.query_scale_beta else rope["original_max_position_embeddings"]
        rope |= {"llama_4_scaling_beta": config.query_scale_beta, "original_max_position_embeddings": original}
    windows = {window for window in config.windows if window is not None}
    result: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": config.dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_dim,
        "vocab_size": config.vocab_size,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": rope,
        "max_position_embeddings": config.max_context,
        "tie_word_embeddings": config.tied_embeddings,
        "sliding_window": windows.pop() if windows else None,
    }
    if model_type == "ministral":
        result["layer_types"] = ["sliding_attention" if window else "full_attention" for window in config.windows]
    if config.moe:
        result |= {"num_local_experts": config.moe.num_experts, "num_experts_per_tok": config.moe.num_experts_per_tok}
    return result


def _class_for(config: ModelConfig) -> tuple[str, str]:
    """(model_type, architecture) of the one transformers class that computes this model."""
    alike = len(set(config.windows)) == 1
    if len({window for window in config.windows if window}) > 1:
        raise CheckpointError("windows of several sizes cannot be said in config.json; save in the native layout.")
    original = config.yarn.original_max_position_embeddings if config.yarn else config.query_scale_original
    if config.query_scale_beta and config.query_scale_original != original:
        raise CheckpointError(
            f"query_scale_original {config.query_scale_original} differs from yarn's original_max_position_embeddings "
            f"{original}, and config.json has one field for both; save in the native layout."
        )
    if config.moe and alike and not config.query_scale_beta:
        return "mixtral", "MixtralForCausalLM"
    if not config.moe and alike and (config.yarn or config.query_scale_beta):
        return "ministral3", "Ministral3ForCausalLM"
    if not config.moe and not config.query_scale_beta:
        return ("mistral", "MistralForCausalLM") if alike else ("ministral", "MinistralForCausalLM")
    raise CheckpointError(
        "transformers has no class that combines experts, interleaved windows and query scaling as this model does; "
        "save in the native layout."
    )


def _text_model(fields: Fields) -> Fields:
    """The fields of the text model: the file itself, or the `text_config` of a vision wrapper."""
    _refuse_mla(fields)
    model_type = fields.text("model_type", "")
    text = fields
    if model_type in _WRAPPERS:
        nested = fields.nested("text_config")
        if nested is None:
            fields.refuse("text_config", f"is missing, though model_type is {model_type!r}; download the file again.")
        text = nested
        _refuse_mla(text)
    inner = text.text("model_type", "mistral" if text is not fields else "")
    if inner not in _DEFAULTS:
        known = ", ".join([*_DEFAULTS, *_WRAPPERS])
        found = _architecture(fields) or repr(inner)
        text.refuse("model_type", f"is {inner!r} ({found}); the supported architectures are {known}.")
    if text.text("hidden_act", "silu") != "silu":
        text.refuse("hidden_act", f"is {text.data['hidden_act']!r}; the family uses silu.")
    for name in ("attention_bias", "mlp_bias"):
        if text.boolean(name, False):
            text.refuse(name, "is true; the family has no biases.")
    return text


def _architecture(fields: Fields) -> str:
    architectures = fields.items("architectures")
    return str(architectures[0]) if architectures else ""


def _refuse_mla(fields: Fields) -> None:
    """Mistral Small 4 and Large 3 (and DeepSeek, whose shape they share) keep keys and values in a latent space."""
    names = {"architectures": _architecture(fields), "model_type": fields.text("model_type", "")}
    for field, value in names.items():
        plain = value.lower().replace("_", "")
        if plain.startswith(("mistral4", "mistrallarge3", "mistrallarge4", "deepseek")):
            fields.refuse(field, f"is {value!r}: multi-head latent attention is not supported; choose another model.")
    for name in _MLA_FIELDS:
        if fields.has(name):
            fields.refuse(name, "asks for multi-head latent attention, which is not supported; choose another model.")


def _windows(text: Fields, num_layers: int, default: int | None) -> tuple[int | None, ...]:
    """One window for all layers, or for those that `layer_types` calls sliding.

    transformers opens a `mistral` with `layer_types` as a `ministral`, so the list counts for both.
    """
    value = text.data.get("sliding_window", default)
    layers = min(num_layers, 4096)  # num_layers is not validated yet
    if isinstance(value, list):
        entries = [Fields({"sliding_window": entry}, text.path, text.prefix) if entry else None for entry in value]
        return tuple(entry.integer("sliding_window") if entry else None for entry in entries)
    window = text.integer("sliding_window", default) if value else None
    layer_types = text.items("layer_types")
    if layer_types is None:
        return (window,) * layers
    for entry in layer_types:
        if entry not in ("full_attention", "sliding_attention"):
            text.refuse("layer_types", f"holds {entry!r}; it may hold full_attention and sliding_attention.")
    if "sliding_attention" in layer_types and window is None:
        text.refuse("sliding_window", "is null, though layer_types asks for sliding attention.")
    if len(layer_types) != num_layers:
        text.refuse("layer_types", f"has {len(layer_types)} entries for {num_layers} layers.")
    return tuple(window if entry == "sliding_attention" else None for entry in layer_types)


def _moe(text: Fields) -> MoEConfig:
    return MoEConfig(text.integer("num_local_experts", 8), text.integer("num_experts_per_tok", 2))


def _rope_parameters(text: Fields, model_type: str) -> Fields:
    """Version 5's `rope_parameters` or version 4's `rope_scaling` and `rope_theta`, as one object with `rope_theta`."""
    name = "rope_parameters" if text.has("rope_parameters") else "rope_scaling"
    found = text.nested(name)
    if found is None and model_type == "ministral3":
        # What Ministral3Config fills in for itself.
        found = Fields(
            {"type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16_384}
            | {"mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1},
            text.path,
        )
    data = dict(found.data) if found else {}
    if any(isinstance(value, dict) for value in data.values()):
        text.refuse(name, "differs by kind of layer; one set of rope parameters for all layers is supported.")
    if data.get("rope_theta") is None:
        data["rope_theta"] = text.number("rope_theta", _DEFAULTS[model_type]["theta"])
    rope = Fields(data, text.path, f"{text.prefix}{name}.")
    partial = rope if rope.has("partial_rotary_factor") else text
    if partial.number("partial_rotary_factor", 1.0) != 1.0:
        partial.refuse("partial_rotary_factor", "is not 1; the family turns every dimension of a head.")
    return rope


def _yarn(rope: Fields, max_context: int) -> YarnConfig | None:
    rope_type = rope.text("rope_type", rope.text("type", "default"))
    if rope_type == "default":
        return None
    if rope_type != "yarn":
        rope.refuse("rope_type", f"is {rope_type!r}; default and yarn are supported.")
    original = rope.integer("original_max_position_embeddings", max_context)
    factor = rope.number("factor", max_context / max(original, 1))
    return YarnConfig(
        factor=factor,
        original_max_position_embeddings=original,
        beta_fast=rope.number("beta_fast", 32.0) or 32.0,
        beta_slow=rope.number("beta_slow", 1.0) or 1.0,
        attention_factor=_attention_factor(rope, factor),
        truncate=rope.boolean("truncate", True),
    )


def _attention_factor(rope: Fields, factor: float) -> float:
    """`attention_factor` itself; else the ratio of the two mscales when both are set; else the paper's correction."""
    if rope.has("attention_factor"):
        return rope.number("attention_factor")
    mscale, all_dim = rope.number("mscale", 0.0), rope.number("mscale_all_dim", 0.0)
    if mscale and all_dim:
        return yarn_attention_factor(factor, mscale) / yarn_attention_factor(factor, all_dim)
    return yarn_attention_factor(factor)


def _query_scale(rope: Fields, model_type: str, max_context: int) -> tuple[float, int]:
    beta = rope.number("llama_4_scaling_beta", 0.0)
    if beta == 0.0:
        return 0.0, 8192
    if model_type != "ministral3":
        rope.refuse("llama_4_scaling_beta", f"is {beta} in a {model_type!r}; only ministral3 scales its queries.")
    return beta, rope.integer("original_max_position_embeddings", max_context)
