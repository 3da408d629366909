"""Checkpoints made by transformers, converted, spoilt in every way that we know of, and read back."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tramontane.errors import CheckpointError
from tramontane.model.checkpoint import Checkpoint, Pooling, canonical_shapes
from tramontane.model.checkpoint_writer import save_checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.layouts import half_to_interleaved, interleaved_to_half
from tramontane.model.shards import Shards

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 16.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}
INTERLEAVED = ["full_attention", "sliding_attention"] * 2
TIERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("Mistral", {"sliding_window": None}),
    "windows": ("Mistral", {"sliding_window": 5}),
    "tied": ("Mistral", {"sliding_window": None, "tie_word_embeddings": True}),
    "moe": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "interleaved": ("Ministral", {"sliding_window": 5, "layer_types": INTERLEAVED}),
    "yarn": ("Ministral3", {"rope_parameters": YARN}),
}


def make_model(tier: str) -> transformers.PreTrainedModel:
    kind, options = TIERS[tier]
    config = getattr(transformers, f"{kind}Config")(**SIZES, **options)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():  # large enough that a wrong layer shows in the logits
        for parameter in model.parameters():
            parameter.mul_(8).add_(torch.rand_like(parameter) * 0.1)
    return model


def logits(model: transformers.PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(1, 41)[None] % 96).logits


def save_hf(tier: str, folder: Path) -> transformers.PreTrainedModel:
    model = make_model(tier)
    model.save_pretrained(folder)
    return model


def expected(model: transformers.PreTrainedModel) -> dict[str, torch.Tensor]:
    """The canonical tensors, worked out by hand from a state dict that transformers holds in memory."""
    parts = {
        **{f"self_attn.{part}_proj": f"attention.w{part}" for part in "qkvo"},
        **{"mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2", "mlp.up_proj": "feed_forward.w3"},
        **{"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"},
        "mlp.gate": "feed_forward.gate",
    }
    result: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        name = name.removeprefix("model.").removeprefix("language_model.")
        if not name.startswith("layers."):
            result[
                {"lm_head.weight": "output.weight", "embed_tokens.weight": "tok_embeddings.weight"}.get(name, name)
            ] = tensor
            continue
        layer, part = name.split(".", 2)[1:]
        prefix = f"layers.{layer}.feed_forward.experts"
        if part == "mlp.experts.gate_up_proj":
            for expert, both in enumerate(tensor):
                result[f"{prefix}.{expert}.w1.weight"], result[f"{prefix}.{expert}.w3.weight"] = both.chunk(2)
        elif part == "mlp.experts.down_proj":
            result |= {f"{prefix}.{expert}.w2.weight": weight for expert, weight in enumerate(tensor)}
        else:
            result[f"layers.{layer}.{parts[part.removesuffix('.weight')]}.weight"] = tensor
    if model.config.tie_word_embeddings:
        del result["output.weight"]
    return result


def assert_same(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> None:
    assert set(checkpoint.names()) == set(tensors)
    for name, tensor in tensors.items():
        assert checkpoint.read(name).shape == checkpoint.shape(name)
        torch.testing.assert_close(checkpoint.read(name), tensor, rtol=0, atol=0, msg=name)


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / ("config.json" if (folder / "config.json").exists() else "params.json")
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | changes))


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    temporary = path.with_suffix(".new")
    save_file(tensors, temporary, metadata={"format": "pt"})
    temporary.replace(path)


@pytest.fixture(scope="session")
def dense_hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    save_hf("dense", folder)
    return folder


@pytest.fixture
def hf(dense_hf: Path, tmp_path: Path) -> Path:
    """A dense HF checkpoint to spoil."""
    return Path(shutil.copytree(dense_hf, tmp_path / "model"))


@pytest.fixture
def native(hf: Path, tmp_path: Path) -> Path:
    """The same checkpoint in the native layout, to spoil."""
    checkpoint = Checkpoint.open(hf)
    save_checkpoint(tmp_path / "native", checkpoint.config, checkpoint.read, "native", torch.float32)
    return tmp_path / "native"


# ── reading and writing ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tier", TIERS)
def test_reads_what_transformers_writes(tier: str, tmp_path: Path) -> None:
    model = save_hf(tier, tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    assert (checkpoint.layout, checkpoint.dtype, checkpoint.notices) == ("hf", torch.float32, [])
    assert checkpoint.config.tied_embeddings == (tier == "tied")
    assert_same(checkpoint, expected(model))


@pytest.mark.parametrize("tier", TIERS)
def test_round_trip_through_both_layouts(tier: str, tmp_path: Path) -> None:
    model = save_hf(tier, tmp_path / "original")
    first = Checkpoint.open(tmp_path / "original")
    save_checkpoint(tmp_path / "native", first.config, first.read, "native", torch.float32)
    second = Checkpoint.open(tmp_path / "native")
    assert second.layout == "native"
    assert second.config == first.config
    assert_same(second, expected(model))

    save_checkpoint(tmp_path / "hf", second.config, second.read, "hf", torch.float32, max_shard_bytes=20_000)
    third = Checkpoint.open(tmp_path / "hf")
    assert third.config == first.config
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    assert type(again) is type(model)
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=0)


def test_native_rows_are_interleaved_in_the_file(native: Path, hf: Path) -> None:
    name = "layers.1.attention.wk.weight"
    stored, canonical = load_file(native / "consolidated.safetensors")[name], Checkpoint.open(hf).read(name)
    assert not torch.equal(stored, canonical)
    for row in range(8):  # two heads of 16 rows; the pair (row, row + 8) of the halves lies side by side
        for head in (0, 16):
            assert torch.equal(stored[head + 2 * row], canonical[head + row])
            assert torch.equal(stored[head + 2 * row + 1], canonical[head + row + 8])


def test_permutations_are_inverse() -> None:
    weight = torch.randn(24, 5)
    assert torch.equal(half_to_interleaved(interleaved_to_half(weight, 3), 3), weight)


@pytest.mark.parametrize("layout", ["hf", "native"])
def test_shards_and_index(hf: Path, tmp_path: Path, layout: Any) -> None:
    whole = Checkpoint.open(hf)
    save_checkpoint(tmp_path / "out", whole.config, whole.read, layout, torch.float32, max_shard_bytes=10_000)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 3
    assert_same(Checkpoint.open(tmp_path / "out"), {name: whole.read(name) for name in whole.names()})
    next((tmp_path / "out").glob("*.index.json")).unlink()  # the numbered names suffice
    assert_same(Checkpoint.open(tmp_path / "out"), {name: whole.read(name) for name in whole.names()})


def test_fused_experts_as_transformers_holds_them(tmp_path: Path) -> None:
    model = save_hf("moe", tmp_path)
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, tmp_path / "model.safetensors")
    checkpoint = Checkpoint.open(tmp_path)
    assert_same(checkpoint, expected(model))
    up = checkpoint.read("layers.0.feed_forward.experts.1.w3.weight")
    gate_up = checkpoint._shards.read("model.layers.0.mlp.experts.gate_up_proj")
    assert up.data_ptr() == gate_up[1, 48:].data_ptr()  # a view of the mapped file, not a copy


def test_stacked_experts_of_the_first_mixtral(tmp_path: Path) -> None:
    model = save_hf("moe", tmp_path / "hf")
    checkpoint = Checkpoint.open(tmp_path / "hf")
    save_checkpoint(tmp_path / "native", checkpoint.config, checkpoint.read, "native", torch.float32)

    def stack(tensors: dict[str, torch.Tensor]) -> None:
        for layer in range(4):
            old, new = f"layers.{layer}.feed_forward", f"layers.{layer}.block_sparse_moe"
            tensors[f"{new}.gate.weight"] = tensors.pop(f"{old}.gate.weight")
            for part in ("w1", "w2", "w3"):
                experts = [tensors.pop(f"{old}.experts.{expert}.{part}.weight") for expert in range(4)]
                tensors[f"{new}.{part}"] = torch.cat([weight.t() if part == "w2" else weight for weight in experts])

    edit_weights(tmp_path / "native/consolidated.safetensors", stack)
    assert_same(Checkpoint.open(tmp_path / "native"), expected(model))


def test_writer_takes_a_mapping_of_views_and_casts(hf: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(hf)
    tensors = {name: checkpoint.read(name) for name in checkpoint.names()}
    fused = torch.cat([tensors["layers.0.attention.wk.weight"], tensors["layers.0.attention.wv.weight"]])
    tensors["layers.0.attention.wk.weight"], tensors["layers.0.attention.wv.weight"] = fused.chunk(2)
    save_checkpoint(tmp_path / "out", checkpoint.config, tensors, "hf", torch.bfloat16)
    again = Checkpoint.open(tmp_path / "out")
    assert again.dtype == torch.bfloat16
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "bfloat16"
    assert torch.equal(again.read("layers.0.attention.wv.weight"), fused.chunk(2)[1].bfloat16())
    assert again.read("norm.weight", torch.float32).dtype == torch.float32


def test_overwriting_leaves_no_shard_behind(hf: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(hf)
    out = tmp_path / "out"
    save_checkpoint(out, checkpoint.config, checkpoint.read, "hf", torch.float32, max_shard_bytes=10_000)
    (out / "tekken.json").write_text("{}")
    save_checkpoint(out, checkpoint.config, checkpoint.read, "hf", torch.float32)
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors", "tekken.json"]


def test_an_interrupted_save_is_refused_not_mixed(hf: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(hf)
    out = tmp_path / "out"
    save_checkpoint(out, checkpoint.config, checkpoint.read, "hf", torch.float32, max_shard_bytes=10_000)

    def fail_late(name: str) -> torch.Tensor:
        if name.startswith("layers.3"):
            raise KeyboardInterrupt
        return checkpoint.read(name)

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(out, checkpoint.config, fail_late, "hf", torch.float32, max_shard_bytes=10_000)
    assert not list(out.glob(".*"))
    with pytest.raises(CheckpointError, match=r"neither params\.json nor config\.json"):
        Checkpoint.open(out)


def test_writer_refuses_what_does_not_fit(hf: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(hf)
    tensors = {name: checkpoint.read(name) for name in checkpoint.names()}
    with pytest.raises(CheckpointError, match=r"saved as torch\.int8"):
        save_checkpoint(tmp_path / "out", checkpoint.config, tensors, "hf", torch.int8)
    del tensors["norm.weight"]
    with pytest.raises(CheckpointError, match=r"norm\.weight was not given"):
        save_checkpoint(tmp_path / "out", checkpoint.config, tensors, "hf", torch.float32)
    tensors["norm.weight"] = torch.ones(7)
    with pytest.raises(CheckpointError, match=r"norm\.weight has shape \[7\], but the model asks for \[32\]"):
        save_checkpoint(tmp_path / "out", checkpoint.config, tensors, "hf", torch.float32)


def test_both_layouts_in_one_folder(hf: Path, native: Path) -> None:
    for path in native.iterdir():
        shutil.copy(path, hf)
    assert Checkpoint.open(hf).layout == "native"
    (hf / "consolidated.safetensors").unlink()
    assert Checkpoint.open(hf).layout == "hf"


def test_reading_maps_the_file_and_copies_nothing(tmp_path: Path) -> None:
    config = Checkpoint.open(save_large(tmp_path)).config
    checkpoint = Checkpoint.open(tmp_path)
    before = anonymous_bytes()
    kept = [checkpoint.read(name) for name in checkpoint.names()]
    total = sum(tensor.sum().item() for tensor in kept)  # touch every page
    size = sum(torch.Size(shape).numel() for shape in canonical_shapes(config).values()) * 2
    assert size > 60 << 20
    assert anonymous_bytes() - before < size // 4
    assert total == pytest.approx(0, abs=1)


def save_large(folder: Path) -> Path:
    config = ModelConfig(1024, 2, 8, 2, 128, 4096, 4096)
    save_checkpoint(folder, config, lambda name: torch.zeros(canonical_shapes(config)[name]), "hf", torch.bfloat16)
    return folder


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


# ── vision wrappers, bare models, output heads ─────────────────────────────────────────────────────────────────────


def make_wrapper(tie: bool = False) -> transformers.PreTrainedModel:
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Mistral3Config(
        text_config={"model_type": "ministral3", **SIZES, "rope_parameters": YARN},
        vision_config={"model_type": "pixtral", "head_dim": 16, "image_size": 28, "patch_size": 14, **vision},
        tie_word_embeddings=tie,
    )
    torch.manual_seed(0)
    return transformers.Mistral3ForConditionalGeneration(config).eval()


def test_vision_wrapper_gives_its_text_model(tmp_path: Path) -> None:
    model = make_wrapper()
    model.save_pretrained(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    assert_same(checkpoint, expected_text(model))
    assert checkpoint.config.yarn is not None
    assert checkpoint.config.query_scale_beta == 0.1
    assert len(checkpoint.notices) == 1
    assert "vision tower skipped" in checkpoint.notices[0]


def test_wrapper_that_transformers_ties_by_default(tmp_path: Path) -> None:
    model = make_wrapper(tie=True)
    model.save_pretrained(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    assert checkpoint.config.tied_embeddings
    assert checkpoint.has_output_head
    assert torch.equal(model.lm_head.weight, checkpoint.read("tok_embeddings.weight"))


def expected_text(model: transformers.PreTrainedModel) -> dict[str, torch.Tensor]:
    text = transformers.Ministral3ForCausalLM(model.config.text_config)
    own = {name.replace("model.language_model.", "model."): tensor for name, tensor in model.state_dict().items()}
    text.load_state_dict({name: own[name] for name in text.state_dict()})
    return expected(text)


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_names_of_both_generations_of_wrappers(prefix: str, hf: Path) -> None:
    whole = Checkpoint.open(hf)
    tensors = {name: whole.read(name) for name in whole.names()}

    def rename(stored: dict[str, torch.Tensor]) -> None:
        for name in list(stored):
            new = name.replace("model.", prefix) if name.startswith("model.") else name
            stored[new] = stored.pop(name).clone()
        if prefix.startswith("language_model"):
            stored["language_model.lm_head.weight"] = stored.pop("lm_head.weight")
        stored["vision_tower.ln_pre.weight"] = torch.ones(3)

    edit_weights(hf / "model.safetensors", rename)
    text = json.loads((hf / "config.json").read_text())
    wrapper = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": text}
    (hf / "config.json").write_text(json.dumps(wrapper))
    assert_same(Checkpoint.open(hf), tensors)


def test_wrapper_that_says_nothing_of_tying_and_stores_no_head(hf: Path) -> None:
    edit_weights(hf / "model.safetensors", lambda stored: stored.pop("lm_head.weight"))
    text = json.loads((hf / "config.json").read_text())
    del text["tie_word_embeddings"]
    (hf / "config.json").write_text(json.dumps({"model_type": "mistral3", "text_config": text}))
    assert Checkpoint.open(hf).config.tied_embeddings


def test_stored_head_wins_over_the_configuration(hf: Path) -> None:
    edit_config(hf, tie_word_embeddings=True)
    checkpoint = Checkpoint.open(hf)
    assert not checkpoint.config.tied_embeddings
    assert "output.weight" in checkpoint.names()
    assert "is stored and is used" in checkpoint.notices[0]


def test_bare_model_has_no_head(hf: Path) -> None:
    def bare(stored: dict[str, torch.Tensor]) -> None:
        del stored["lm_head.weight"]
        for name in list(stored):
            stored[name.removeprefix("model.")] = stored.pop(name)

    edit_weights(hf / "model.safetensors", bare)
    edit_config(hf, architectures=["MistralModel"])
    checkpoint = Checkpoint.open(hf)
    assert not checkpoint.has_output_head
    assert checkpoint.config.tied_embeddings
    assert "cannot generate" in checkpoint.notices[0]


# ── FP8 ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def to_fp8(stored: dict[str, torch.Tensor], scale_name: str, act_name: str, shape: tuple[int, ...]) -> None:
    for name in [name for name in stored if ".layers." in f".{name}" and "norm" not in name]:
        scale = stored[name].abs().max() / 448
        stored[name] = (stored[name] / scale).to(torch.float8_e4m3fn)
        stored[name.removesuffix("weight") + scale_name] = scale.reshape(shape)
        stored[name.removesuffix("weight") + act_name] = torch.tensor(0.5)


def dequantised(stored: dict[str, torch.Tensor], scale_name: str) -> dict[str, torch.Tensor]:
    plain = {name: tensor for name, tensor in stored.items() if name.endswith("weight") and scale_name not in name}
    for name, tensor in plain.items():
        if tensor.dtype == torch.float8_e4m3fn:
            scale = stored[name.removesuffix("weight") + scale_name].float().reshape(())
            plain[name] = (tensor.float() * scale).bfloat16()
    return plain


@pytest.mark.parametrize(
    ("scale_name", "act_name", "shape", "quantization"),
    [
        ("weight_scale_inv", "activation_scale", (), {"quant_method": "fp8", "activation_scheme": "static"}),
        ("weight_scale", "input_scale", (1,), {"quant_method": "fp8", "weight_block_size": None}),
        (
            "weight_scale",
            "input_scale",
            (1,),
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float", "strategy": "tensor"}}},
            },
        ),
    ],
)
def test_fp8_hf(hf: Path, tmp_path: Path, scale_name: str, act_name: str, shape: Any, quantization: object) -> None:
    edit_weights(hf / "model.safetensors", lambda stored: to_fp8(stored, scale_name, act_name, shape))
    copy = Path(shutil.copytree(hf, tmp_path / "plain"))
    save_file(dequantised(load_file(hf / "model.safetensors"), scale_name), copy / "model.safetensors")
    edit_config(hf, quantization_config=quantization)
    checkpoint, plain = Checkpoint.open(hf), Checkpoint.open(copy)
    assert checkpoint.dtype == torch.float8_e4m3fn
    assert checkpoint.notices == []
    for name in checkpoint.names():
        assert torch.equal(checkpoint.read(name), plain.read(name)), name
    assert checkpoint.read("layers.0.attention.wq.weight", torch.float32).dtype == torch.float32


def test_fp8_native_is_permuted_too(native: Path, tmp_path: Path) -> None:
    file = "consolidated.safetensors"
    edit_weights(native / file, lambda stored: to_fp8(stored, "qscale_weight", "qscale_act", ()))
    copy = Path(shutil.copytree(native, tmp_path / "plain"))
    save_file(dequantised(load_file(native / file), "qscale_weight"), copy / file)
    edit_config(native, quantization={"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"})
    checkpoint, plain = Checkpoint.open(native), Checkpoint.open(copy)
    for name in checkpoint.names():
        assert torch.equal(checkpoint.read(name), plain.read(name)), name


@pytest.mark.parametrize("shape", [(32,), (2, 2)])
def test_fp8_with_many_scales_is_refused(hf: Path, shape: tuple[int, ...]) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"

    def quantise(stored: dict[str, torch.Tensor]) -> None:
        stored[name] = stored[name].to(torch.float8_e4m3fn)
        stored[name + "_scale_inv"] = torch.ones(shape)

    edit_weights(hf / "model.safetensors", quantise)
    with pytest.raises(CheckpointError, match=r"q_proj\.weight has an FP8 scale of shape"):
        Checkpoint.open(hf)


def test_fp8_without_scale_is_refused(hf: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    edit_weights(hf / "model.safetensors", lambda s: s.update({name: s[name].to(torch.float8_e4m3fn)}))
    with pytest.raises(CheckpointError, match=r"q_proj\.weight is FP8 without a scale"):
        Checkpoint.open(hf)


# ── bad input ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals come before any weight is read."""

    def read(self: Shards, *args: object) -> torch.Tensor:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(Shards, "read", read)


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: edit_weights(folder / "model.safetensors", lambda stored: stored.pop(name))


def put(name: str, tensor: torch.Tensor) -> Callable[[Path], None]:
    return lambda folder: edit_weights(folder / "model.safetensors", lambda stored: stored.update({name: tensor}))


def write(file: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def configure(**changes: object) -> Callable[[Path], None]:
    return lambda folder: edit_config(folder, **changes)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def index(weight_map: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return spoil


def duplicate(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-a.safetensors")
    shutil.copy(folder / "model-a.safetensors", folder / "model-b.safetensors")


Q = "model.layers.2.self_attn.q_proj.weight"
BAD: list[tuple[Any, str]] = [
    (lambda folder: shutil.rmtree(folder), "is not a folder"),
    (lambda folder: (folder / "config.json").unlink(), r"neither params\.json nor config\.json"),
    (lambda folder: (folder / "model.safetensors").unlink(), r"config\.json but no model\*\.safetensors"),
    (only_pickles, r"pytorch_model\.bin is a pickle.*never loaded.*safetensors"),
    (write("config.json", "{"), r"config\.json is not valid JSON"),
    (write("config.json", b"\xff\xfe"), r"config\.json is not valid JSON"),
    (write("config.json", "[" * 100_000), r"config\.json is not valid JSON"),
    (write("config.json", "[]"), r"config\.json holds a list"),
    (truncate, r"model\.safetensors is not a whole safetensors file"),
    (write("model.safetensors", b""), r"model\.safetensors is not a whole safetensors file"),
    (write("model.safetensors", struct.pack("<Q", 1 << 60) + b"{}"), r"model\.safetensors is not a whole"),
    (drop(Q), f"{Q} is missing"),
    (drop("lm_head.weight"), r"lm_head\.weight is missing"),
    (drop("model.embed_tokens.weight"), r"no tensor is called embed_tokens\.weight"),
    (put(Q, torch.ones(64, 31)), r"q_proj\.weight has shape \[64, 31\], but config\.json asks for \[64, 32\]"),
    (put(Q, torch.ones(64, 32, dtype=torch.int8)), r"q_proj\.weight is stored as I8"),
    (put(Q, torch.ones(64, 32, dtype=torch.float64)), r"q_proj\.weight is stored as F64"),
    (put("model.layers.0.self_attn.q_proj.bias", torch.ones(64)), r"q_proj\.bias has no place"),
    (put("model.layers.0.self_attn.q_norm.weight", torch.ones(16)), r"q_norm\.weight has no place"),
    (configure(num_hidden_layers=3), r"model\.layers\.3\..* has no place"),
    (configure(num_hidden_layers=5), r"model\.layers\.4\..* is missing"),
    (configure(vocab_size=95), r"embed_tokens\.weight has shape \[96, 32\], but config\.json asks for \[95, 32\]"),
    (index({Q: "model-00002-of-00002.safetensors"}), r"model-00002-of-00002\.safetensors is missing"),
    (index({Q: "../model.safetensors"}), r"weight_map puts .* in '\.\./model\.safetensors'"),
    (index({Q: "/etc/passwd"}), r"weight_map puts .* in '/etc/passwd'"),
    (index({Q: 7}), r"weight_map puts .* in '7'"),
    (index({}), r"weight_map is missing or empty"),
    (duplicate, r"is also in model-a\.safetensors"),
]


@pytest.mark.usefixtures("no_reads")
@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_bad_folders_are_refused(hf: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(hf)
    with pytest.raises(CheckpointError, match=message) as caught:
        Checkpoint.open(hf)
    assert "\n" not in str(caught.value)


def test_missing_numbered_shard_without_an_index(hf: Path) -> None:
    (hf / "model.safetensors").rename(hf / "model-00001-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors is missing"):
        Checkpoint.open(hf)


def test_unknown_name(hf: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tensor called 'layers\.9\.norm'"):
        Checkpoint.open(hf).read("layers.9.norm")


def test_tensors_beside_the_model_are_mentioned(hf: Path) -> None:
    put("mtp.head.weight", torch.ones(3))(hf)
    put("model.layers.0.self_attn.rotary_emb.inv_freq", torch.ones(8))(hf)
    assert Checkpoint.open(hf).notices == ["1 tensors outside the text model skipped, the first is mtp.head.weight."]


# ── pooling ────────────────────────────────────────────────────────────────────────────────────────────────────────


def pool(folder: Path, modes: dict[str, object], *more: str, path: str = "1_Pooling") -> None:
    kinds = [("", "Transformer"), (path, "Pooling"), *((f"{kind}_x", kind) for kind in more)]
    modules = [{"path": name, "type": f"sentence_transformers.models.{kind}"} for name, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))


def test_pooling(hf: Path) -> None:
    assert Checkpoint.open(hf).pooling is None
    pool(hf, {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "Normalize")
    assert Checkpoint.open(hf).pooling == Pooling("last", normalize=True)
    pool(hf, {"pooling_mode": "mean"})
    assert Checkpoint.open(hf).pooling == Pooling("mean", normalize=False)


@pytest.mark.parametrize(
    ("modes", "more", "path", "message"),
    [
        ({"pooling_mode_cls_token": True}, (), "1_Pooling", r"pooling_mode_\* asks for pooling_mode_cls_token"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": True},
            (),
            "1_Pooling",
            "asks for pooling_mode_m",
        ),
        ({}, (), "1_Pooling", "asks for nothing"),
        ({"pooling_mode": "max"}, (), "1_Pooling", "pooling_mode asks for max"),
        ({"pooling_mode": "mean", "include_prompt": False}, (), "1_Pooling", "include_prompt is false"),
        ({"pooling_mode": "mean", "word_embedding_dimension": 8}, (), "1_Pooling", "word_embedding_dimension is 8"),
        ({"pooling_mode": "mean"}, ("Dense",), "1_Pooling", r"\[2\]\.type is 'Dense'"),
        ({"pooling_mode": "mean"}, (), "../1_Pooling", r"\[1\]\.path is '\.\./1_Pooling'"),
        ({"pooling_mode": "mean"}, (), "/etc", r"\[1\]\.path is '/etc'"),
    ],
)
def test_bad_pooling(hf: Path, modes: dict[str, object], more: tuple[str, ...], path: str, message: str) -> None:
    pool(hf, modes, *more, path=path)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.open(hf)
