"""Both dialects of configuration, against what transformers reads out of the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tramontane.errors import CheckpointError
from tramontane.model.config import ModelConfig, MoEConfig, YarnConfig
from tramontane.model.config_hf import from_hf_config, to_hf_config
from tramontane.model.config_native import from_params_json, to_params_json

SMALL = ModelConfig(dim=32, num_layers=4, num_heads=4, num_kv_heads=2, head_dim=16, ffn_dim=48, vocab_size=96)
PARAMS: dict[str, Any] = {
    "dim": 32,
    "n_layers": 4,
    "head_dim": 16,
    "hidden_dim": 48,
    "n_heads": 4,
    "n_kv_heads": 2,
    "norm_eps": 1e-5,
    "vocab_size": 96,
}
HF: dict[str, Any] = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 48,
    "vocab_size": 96,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "sliding_window": None,
    "max_position_embeddings": 256,
}
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16}
MLA = "multi-head latent attention"


def changed(**changes: Any) -> ModelConfig:
    fields = {name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__}
    return ModelConfig(**{**fields, "windows": (), **changes})


def native(**changes: Any) -> ModelConfig:
    return from_params_json({**PARAMS, **changes}, "params.json")


def hf(**changes: Any) -> ModelConfig:
    return from_hf_config({**HF, **changes}, "config.json")


# ── ModelConfig ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_windows_are_filled() -> None:
    assert SMALL.windows == (None,) * 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, "dim 0 must be a whole number between 1 and"),
        ({"dim": 3.0}, "dim 3.0 must be a whole number"),
        ({"num_layers": 10**9}, "num_layers 1000000000 must be"),
        ({"num_kv_heads": 3}, "num_heads 4 is not a multiple of num_kv_heads 3"),
        ({"head_dim": 15}, "head_dim 15 is odd"),
        ({"norm_eps": float("nan")}, "norm_eps nan must be a finite number"),
        ({"rope_theta": -1.0}, r"rope_theta -1\.0 must be"),
        ({"rope_theta": 1.0}, r"rope_theta 1\.0 must be above 1"),
        ({"query_scale_beta": -0.1}, r"query_scale_beta -0\.1 must be"),
        ({"windows": (None,)}, "windows has 1 entries for 4 layers"),
        ({"windows": (None, 0, 4, 4)}, "windows holds 0"),
    ],
)
def test_bad_shapes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        changed(**changes)


def test_bad_parts_are_refused() -> None:
    with pytest.raises(CheckpointError, match="num_experts_per_tok 3 is larger than num_experts 2"):
        MoEConfig(2, 3)
    with pytest.raises(CheckpointError, match=r"yarn factor 0\.5 is below 1"):
        YarnConfig(0.5, 16)
    with pytest.raises(CheckpointError, match="original_max_position_embeddings 0 must be"):
        YarnConfig(2.0, 0)


# ── native ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_native_defaults() -> None:
    assert native() == changed(rope_theta=1e6)
    assert native(sliding_window=8).rope_theta == 1e4  # 7B v0.1 wrote a window and no theta
    assert native(sliding_window="8").windows == (8,) * 4
    assert native(n_kv_heads=None).num_kv_heads == 4
    assert native(head_dim=None).head_dim == 8
    assert native(max_seq_len=77).max_context == 77
    assert native(model_max_length=78, max_seq_len=77, max_position_embeddings=76).max_context == 76


@pytest.mark.parametrize("name", ["sliding_window", "_sliding_window"])
def test_native_window_pattern_repeats(name: str) -> None:
    assert native(**{name: [None, 8]}).windows == (None, 8, None, 8)


def test_native_yarn_and_query_scale() -> None:
    yarn = {"factor": 16, "original_max_position_embeddings": 16, "beta": 32, "alpha": 1, "apply_scale": False}
    config = native(yarn=yarn, llama_4_scaling={"original_max_position_embeddings": 16, "beta": 0.1})
    assert config.yarn == YarnConfig(16.0, 16)
    assert (config.query_scale_beta, config.query_scale_original, config.max_context) == (0.1, 16, 256)
    scaled = native(yarn=yarn | {"apply_scale": True}).yarn
    assert scaled is not None
    assert scaled.attention_factor == pytest.approx(1.2772588722)


def test_native_moe() -> None:
    assert native(moe={"num_experts": 8, "num_experts_per_tok": 2}).moe == MoEConfig(8, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": None}, "params.json: dim is missing"),
        ({"dim": "many"}, "params.json: dim is 'many'; it must be a whole number"),
        ({"dim": True}, "params.json: dim is True"),
        ({"n_layers": 10**12}, "params.json: num_layers 1000000000000 must be"),
        ({"n_layers": 10**12, "sliding_window": 4}, "params.json: num_layers 1000000000000 must be"),
        ({"norm_eps": "x"}, "params.json: norm_eps is 'x'; it must be a number"),
        ({"kv_lora_rank": 256}, f"params.json: kv_lora_rank asks for {MLA}"),
        ({"q_lora_rank": 1024}, f"params.json: q_lora_rank asks for {MLA}"),
        ({"model_type": "mamba"}, "params.json: model_type is 'mamba'"),
        ({"activation": "gelu"}, "params.json: activation is 'gelu'"),
        ({"use_biases": True}, "params.json: use_biases is true"),
        ({"lora": {"rank": 8}}, "params.json: lora is set"),
        ({"moe": {"num_experts": 8}}, r"params.json: moe\.num_experts_per_tok is missing"),
        ({"moe": {"num_experts": 8, "num_experts_per_tok": 2, "num_shared_experts": 1}}, "num_shared_experts asks"),
        ({"moe": 8}, "params.json: moe is 8; it must be an object"),
        ({"sliding_window": [None, 8, 8]}, "params.json: sliding_window has 3 entries"),
        ({"sliding_window": ["a"]}, "params.json: sliding_window is 'a'"),
        ({"yarn": {"factor": 4}}, r"params.json: yarn\.original_max_position_embeddings is missing"),
        ({"quantization": {"qformat_weight": "int4"}}, r"params.json: quantization\.qformat_weight is 'int4'"),
        ({"quantization": {"quant_method": "awq"}}, r"params.json: quantization\.quant_method is 'awq'"),
    ],
)
def test_bad_params_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        native(**changes)


# ── HF ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "rope", [{"rope_theta": 3e5}, {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 3e5}}]
)
def test_hf_rope_of_both_versions(rope: dict[str, Any]) -> None:
    assert hf(**rope) == changed(rope_theta=3e5, max_context=256)


def test_hf_yarn_of_both_versions() -> None:
    expected = YarnConfig(16.0, 16, attention_factor=hf_attention_factor({}))
    assert hf(rope_parameters=YARN).yarn == expected
    old = {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 16}
    assert hf(rope_scaling=old).yarn == expected
    truncated = hf(rope_parameters=YARN | {"truncate": False}).yarn
    assert truncated is not None
    assert not truncated.truncate


def hf_attention_factor(options: dict[str, Any]) -> float:
    config = transformers.MistralConfig(head_dim=16, max_position_embeddings=256, rope_parameters=YARN | options)
    return float(ROPE_INIT_FUNCTIONS["yarn"](config)[1])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mscale": 1.0, "mscale_all_dim": 1.0},
        {"mscale": 0.7, "mscale_all_dim": 1.2},
        {"mscale": 0.7},
        {"mscale_all_dim": 1.0},
        {"attention_factor": 1.5, "mscale": 1.0},
        {"factor": 1.0},
    ],
)
def test_attention_factor_is_that_of_transformers(options: dict[str, Any]) -> None:
    yarn = hf(rope_parameters=YARN | options).yarn
    assert yarn is not None
    assert yarn.attention_factor == pytest.approx(hf_attention_factor(options), abs=0)


def test_hf_windows() -> None:
    assert hf(sliding_window=8).windows == (8,) * 4
    assert hf(sliding_window=[8, None, 8, None]).windows == (8, None, 8, None)
    types = ["full_attention", "sliding_attention"] * 2
    for model_type in ("mistral", "ministral"):
        assert hf(model_type=model_type, sliding_window=8, layer_types=types).windows == (None, 8, None, 8)


@pytest.mark.parametrize("kind", ["Mistral", "Mixtral", "Ministral", "Ministral3"])
def test_missing_fields_mean_what_they_mean_to_transformers(kind: str) -> None:
    theirs = getattr(transformers, f"{kind}Config")()
    ours = from_hf_config({"model_type": theirs.model_type}, "config.json")
    assert ours.dim == theirs.hidden_size
    assert ours.num_layers == theirs.num_hidden_layers
    assert (ours.num_heads, ours.num_kv_heads) == (theirs.num_attention_heads, theirs.num_key_value_heads)
    assert ours.head_dim == (theirs.head_dim or theirs.hidden_size // theirs.num_attention_heads)
    assert (ours.ffn_dim, ours.vocab_size) == (theirs.intermediate_size, theirs.vocab_size)
    assert ours.norm_eps == theirs.rms_norm_eps
    assert ours.max_context == theirs.max_position_embeddings
    assert set(ours.windows) == {theirs.sliding_window}
    assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
    assert ours.query_scale_beta == theirs.rope_parameters.get("llama_4_scaling_beta", 0.0)
    assert (ours.yarn is not None) == (theirs.rope_parameters["rope_type"] == "yarn")


def test_null_is_not_absent() -> None:
    assert hf(num_key_value_heads=None).num_kv_heads == 4
    assert hf(head_dim=None).head_dim == 8
    assert hf(sliding_window=None).windows == (None,) * 4


def test_wrapper_gives_its_text_model() -> None:
    wrapper = {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "text_config": HF}
    assert from_hf_config(wrapper, "config.json") == hf()
    assert from_hf_config({**wrapper, "tie_word_embeddings": True}, "config.json").tied_embeddings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}, r"model_type is 'qwen2' \(Qwen2ForCausalLM\)"),
        ({"model_type": None}, "config.json: model_type is ''"),
        ({"model_type": 3}, "config.json: model_type is 3; it must be a string"),
        ({"model_type": "mistral4"}, f"config.json: model_type is 'mistral4': {MLA}"),
        ({"architectures": ["MistralLarge3ForCausalLM"]}, f"architectures is 'MistralLarge3ForCausalLM': {MLA}"),
        ({"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3"}, MLA),
        ({"kv_lora_rank": 512}, f"config.json: kv_lora_rank asks for {MLA}"),
        ({"model_type": "mistral3"}, "config.json: text_config is missing"),
        ({"model_type": "llava", "text_config": {"model_type": "llama"}}, r"text_config\.model_type is 'llama'"),
        ({"model_type": "llava", "text_config": {"kv_lora_rank": 1}}, rf"text_config\.kv_lora_rank asks for {MLA}"),
        ({"hidden_act": "gelu"}, "config.json: hidden_act is 'gelu'"),
        ({"attention_bias": True}, "config.json: attention_bias is true"),
        ({"hidden_size": [32]}, r"config.json: hidden_size is \[32\]"),
        ({"num_hidden_layers": 10**12, "sliding_window": 3}, "config.json: num_layers 1000000000000 must be"),
        ({"num_attention_heads": 0}, "config.json: num_heads 0 must be"),
        ({"layer_types": ["full_attention"]}, "config.json: layer_types has 1 entries for 4 layers"),
        ({"layer_types": ["linear_attention"] * 4}, "config.json: layer_types holds 'linear_attention'"),
        ({"layer_types": ["sliding_attention"] * 4}, "config.json: sliding_window is null"),
        ({"rope_parameters": {"rope_type": "llama3"}}, r"rope_parameters\.rope_type is 'llama3'"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, r"rope_scaling\.rope_type is 'linear'"),
        ({"rope_parameters": {"full_attention": {}}}, "rope_parameters differs by kind of layer"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is not 1"),
        ({"rope_parameters": YARN | {"llama_4_scaling_beta": 0.1}}, "only ministral3 scales its queries"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"quantization_config\.quant_method is 'gptq'"),
        ({"quantization_config": {"quant_method": "awq"}}, r"quant_method is 'awq'"),
        ({"quantization_config": {"load_in_4bit": True}}, r"quant_method is 'unknown'"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, r"quant_method is 'bitsandbytes'"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "weight_block_size asks"),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"g": {"weights": {"num_bits": 8, "type": "int", "strategy": "channel"}}},
                }
            },
            r"config_groups\.g\.weights\.num_bits/type/strategy is 8/int/channel",
        ),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"g": {"weights": {"num_bits": 4, "type": "float", "strategy": "tensor_group"}}},
                }
            },
            "is 4/float/tensor_group",
        ),
    ],
)
def test_bad_hf_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        hf(**changes)


# ── both ways ──────────────────────────────────────────────────────────────────────────────────────────────────────

EVERY_KIND = {
    "plain": SMALL,
    "tied": changed(tied_embeddings=True),
    "window": changed(windows=(8,) * 4),
    "interleaved": changed(windows=(None, 8, None, 8)),
    "no pattern": changed(windows=(None, 8, 8, 8)),
    "experts": changed(moe=MoEConfig(4, 2)),
    "yarn": changed(yarn=YarnConfig(4.0, 64)),
    "yarn, query scale": changed(yarn=YarnConfig(4.0, 64), query_scale_beta=0.1, query_scale_original=64),
    "query scale alone": changed(query_scale_beta=0.1, query_scale_original=64),
    "yarn, experts": changed(yarn=YarnConfig(4.0, 64), moe=MoEConfig(4, 2)),
}


@pytest.mark.parametrize("name", EVERY_KIND)
def test_round_trip(name: str, tmp_path: Path) -> None:
    config = EVERY_KIND[name]
    assert from_params_json(json.loads(json.dumps(to_params_json(config))), "params.json") == config
    written = json.dumps(to_hf_config(config))
    assert from_hf_config(json.loads(written), "config.json") == config
    (tmp_path / "config.json").write_text(written)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert from_hf_config(theirs.to_dict(), "config.json") == config


def test_what_a_dialect_cannot_say_is_refused() -> None:
    with pytest.raises(CheckpointError, match="windows of several sizes"):
        to_hf_config(changed(windows=(4, 8, 4, 8)))
    with pytest.raises(CheckpointError, match="query_scale_original 32 differs from yarn"):
        to_hf_config(changed(yarn=YarnConfig(4.0, 64), query_scale_beta=0.1, query_scale_original=32))
    with pytest.raises(CheckpointError, match="no class that combines"):
        to_hf_config(changed(moe=MoEConfig(4, 2), windows=(None, 8, None, 8)))
    with pytest.raises(CheckpointError, match=r"attention_factor 1\.3 cannot be said"):
        to_params_json(changed(yarn=YarnConfig(4.0, 64, attention_factor=1.3)))
    with pytest.raises(CheckpointError, match="truncate false cannot be said"):
        to_params_json(changed(yarn=YarnConfig(4.0, 64, truncate=False)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_any_damage_is_read_or_refused_never_a_crash(data: st.DataObject) -> None:
    base, read = data.draw(st.sampled_from([({**PARAMS, **NATIVE_MORE}, from_params_json), (HF_MORE, from_hf_config)]))
    damaged = dict(base)
    for name in data.draw(st.lists(st.sampled_from(sorted(base)), max_size=3)):
        damaged[name] = data.draw(json_values)
    try:
        outcome = str(type(read(damaged, "file.json")))
    except CheckpointError as error:
        outcome = str(error)
    assert outcome.startswith(("file.json: ", str(ModelConfig)))


NATIVE_MORE = {name: {} for name in ("moe", "yarn", "llama_4_scaling", "quantization", "lora")} | {
    name: None for name in ("sliding_window", "_sliding_window", "tied_embeddings", "model_type", "activation")
}
HF_MORE: dict[str, Any] = {
    **HF,
    **{name: None for name in ("rope_parameters", "rope_scaling", "layer_types", "quantization_config")},
    **{name: None for name in ("hidden_act", "tie_word_embeddings", "partial_rotary_factor", "text_config")},
}
