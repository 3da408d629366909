"""From a checkpoint's tensors to a model and back: nothing is lost, nothing is spoilt on the way."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from tests.checkpoints import CHECKPOINTS, CONFIGS, make_checkpoint, make_prompt, run, typical_error, worst_error
from tramontane.errors import TramontaneError
from tramontane.model import kernels
from tramontane.model.checkpoint import Checkpoint, canonical_shapes
from tramontane.model.checkpoint_writer import save_checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.layouts import Layout
from tramontane.model.linear import Int4Linear, Int8Linear, Linear, Quantization
from tramontane.model.machine import best_dtype
from tramontane.model.random_weights import RandomWeights
from tramontane.model.weights import LoadedModel, build_model, canonical_tensors, linears, load_model, weight_bytes

PROMPT = make_prompt(40, 96)
LAYOUTS: tuple[Layout, ...] = ("hf", "native")


def build(tier: str, quantization: Quantization = "none", dtype: torch.dtype = torch.float32) -> LoadedModel:
    config = CONFIGS[tier]
    return build_model(config, RandomWeights(config).read, quantization=quantization, dtype=dtype, int4_max_rows=2)


# ── there and back ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("tier", "layout"), [pair for pair in CHECKPOINTS if pair[0] != "fp8"])
def test_a_loaded_model_gives_its_checkpoint_back(tier: str, layout: Layout, tmp_path: Path) -> None:
    folder = make_checkpoint(tier, layout, tmp_path).folder
    stored = Checkpoint.open(folder)
    tensors = canonical_tensors(load_model(folder, dtype=torch.float32).model)
    assert sorted(tensors) == sorted(stored.names())
    for name, tensor in tensors.items():
        assert torch.equal(tensor, stored.read(name)), name


@pytest.mark.parametrize("tier", CONFIGS)
def test_canonical_tensors_are_the_ones_built_from(tier: str) -> None:
    read = RandomWeights(CONFIGS[tier]).read
    tensors = canonical_tensors(build(tier).model)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == canonical_shapes(CONFIGS[tier])
    assert all(torch.equal(tensor, read(name)) for name, tensor in tensors.items())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tier", CONFIGS)
def test_save_and_load_keep_the_logits(tier: str, layout: Layout, tmp_path: Path) -> None:
    model = build(tier).model
    save_checkpoint(tmp_path, model.config, canonical_tensors(model), layout, torch.float32, max_shard_bytes=100_000)
    loaded = load_model(tmp_path, dtype=torch.float32)
    assert loaded.config == model.config
    # Not bitwise: float32 products round differently where a file lays a matrix at another alignment.
    assert worst_error(run(loaded.model, [PROMPT])[0], run(model, [PROMPT])[0]) < 1e-5


def test_a_quantised_model_is_not_saved_as_if_it_were_not() -> None:
    for quantization in ("int8", "int4"):
        with pytest.raises(TramontaneError, match="cannot be saved"):
            canonical_tensors(build("dense", quantization).model)


# ── loading ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tier", CONFIGS)
@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_quantising_spoils_nothing_else_that_is_read(
    tier: str, layout: Layout, quantization: Quantization, tmp_path: Path
) -> None:
    """A float32 checkpoint is mapped, and one mapping is read for embeddings and tied head, for int8 and int4."""
    config = CONFIGS[tier]
    save_checkpoint(tmp_path, config, RandomWeights(config).read, layout, torch.float32)
    checkpoint = Checkpoint.open(tmp_path)
    loaded = build_model(
        checkpoint.config, checkpoint.read, quantization=quantization, dtype=torch.float32, int4_max_rows=2
    ).model
    expected = build(tier, quantization).model
    for name in checkpoint.names():
        assert torch.equal(checkpoint.read(name), RandomWeights(config).read(name)), name
    for (name, ours), (_, theirs) in zip(loaded.named_parameters(), expected.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    for ours, theirs in zip(linears(loaded), linears(expected), strict=True):
        if not isinstance(ours, Linear):  # a gate, compared above
            for rows in (1, 3):
                x = torch.randn(rows, ours.in_features, generator=torch.Generator().manual_seed(rows))
                assert torch.equal(ours(x), theirs(x))


def test_fp8_is_quantised_like_its_dequantised_copy(tmp_path: Path) -> None:
    made = make_checkpoint("fp8", "hf", tmp_path)
    rounded, plain = (
        load_model(folder, quantization="int8", dtype=torch.float32).model
        for folder in (made.folder, tmp_path / "plain")
    )
    assert torch.equal(run(rounded, [PROMPT])[0], run(plain, [PROMPT])[0])
    assert typical_error(run(rounded, [PROMPT])[0], made.expected(PROMPT)) < 0.1


@pytest.mark.parametrize("quantization", ["none", "int8", "int4"])
@pytest.mark.parametrize("tier", ["dense", "moe", "tied"])
def test_what_is_quantised_and_what_is_not(tier: str, quantization: Quantization) -> None:
    loaded = build(tier, quantization, torch.bfloat16)
    kinds = {"none": Linear, "int8": Int8Linear, "int4": Int4Linear}
    for path, module in loaded.model.named_modules():
        if path.endswith(".gate"):
            assert isinstance(module, Linear)  # small, and it decides
        elif path == "output":
            assert isinstance(module, Linear if quantization == "none" else Int8Linear)
        elif path.endswith((".wqkv", ".wo", ".w13", ".w2")):
            assert isinstance(module, kinds[quantization])
    assert all(parameter.dtype == torch.bfloat16 for parameter in loaded.model.parameters())
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert not loaded.model.training
    if tier == "tied" and quantization == "none":
        assert loaded.model.output.weight is loaded.model.tok_embeddings.weight


def test_weights_are_streamed_leaf_by_leaf() -> None:
    config = CONFIGS["moe"]
    reads: list[str] = []
    steps: list[tuple[int, int, int]] = []
    source = RandomWeights(config)

    def read(name: str) -> torch.Tensor:
        reads.append(name)
        return source.read(name)

    model = build_model(
        config, read, dtype=torch.float32, progress=lambda done, total: steps.append((done, total, len(reads)))
    ).model
    assert sorted(reads) == sorted(canonical_shapes(config))  # each once
    total = len(steps)
    assert [step[:2] for step in steps] == [(done, total) for done in range(1, total + 1)]
    assert max(after[2] - before[2] for before, after in itertools.pairwise(steps)) == 3  # wq, wk, wv
    assert len(linears(model)) == 3 * (2 + 1 + 2 * 4) + 1


@pytest.mark.parametrize("tier", ["dense", "moe", "tied"])
def test_memory_of_the_weights(tier: str) -> None:
    shapes = canonical_shapes(CONFIGS[tier])
    elements = sum(torch.Size(shape).numel() for shape in shapes.values())
    plain = build(tier, dtype=torch.bfloat16)
    assert plain.num_bytes == weight_bytes(plain.model) == 2 * elements  # a tied embedding counts once
    int8, int4 = build(tier, "int8", torch.bfloat16), build(tier, "int4", torch.bfloat16)
    assert int8.num_bytes < int4.num_bytes
    assert int8.num_bytes < plain.num_bytes or tier == "tied"  # whose head is quantised beside the embeddings


def test_dtype_by_default_is_the_machine_s_best(tmp_path: Path) -> None:
    folder = make_checkpoint("dense", "hf", tmp_path).folder
    assert load_model(folder).model.dtype == best_dtype(torch.device("cpu"))
    assert load_model(folder).notices == []


# ── int4's terms ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_int4_says_what_it_costs() -> None:
    (notice,) = build("dense", "int4").notices
    assert "up to 2 rows" in notice
    assert "int8 copy" in notice
    assert build("dense", "int8").notices == []


def test_int4_gives_way_where_it_is_slower() -> None:
    config = CONFIGS["dense"]
    loaded = build_model(config, RandomWeights(config).read, quantization="int4", dtype=torch.float32, int4_max_rows=0)
    assert "int8 is used in its place" in loaded.notices[0]
    assert not any(isinstance(linear, Int4Linear) for linear in linears(loaded.model))
    own = build_model(config, RandomWeights(config).read, quantization="int4", dtype=torch.float32)
    rows = {linear.max_rows for linear in linears(own.model) if isinstance(linear, Int4Linear)}
    assert rows == ({kernels.int4_max_rows()} - {0})


def test_int4_refuses_sizes_that_it_cannot_group() -> None:
    config = ModelConfig(64, 1, 4, 2, 16, 80, 128)
    with pytest.raises(TramontaneError, match="80"):
        build_model(config, RandomWeights(config).read, quantization="int4", dtype=torch.float32, int4_max_rows=1)


def test_quantisation_is_for_cpus() -> None:
    config = CONFIGS["dense"]
    with pytest.raises(TramontaneError, match="CPUs only"):
        build_model(config, RandomWeights(config).read, quantization="int8", dtype=torch.float32, device="cuda")


# ── random weights ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_random_weights_depend_on_seed_and_name_alone() -> None:
    config = CONFIGS["dense"]
    first, again, other = RandomWeights(config), RandomWeights(config), RandomWeights(config, seed=1)
    names = list(canonical_shapes(config))
    assert all(torch.equal(first.read(name), again.read(name)) for name in reversed(names))
    assert not torch.equal(first.read(names[0]), other.read(names[0]))
    assert not torch.equal(first.read("layers.0.attention.wk.weight"), first.read("layers.0.attention.wv.weight"))


def test_random_weights_keep_activations_in_range() -> None:
    logits = run(build("dense").model, [PROMPT])[0]
    assert 0.3 < logits.std() < 3
