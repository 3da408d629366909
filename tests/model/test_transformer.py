"""The model computes what transformers computes, for every tier, in both layouts, however the tokens are cut up."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from tests.checkpoints import (
    CHECKPOINTS,
    CONFIGS,
    int4_values,
    make_checkpoint,
    make_prompt,
    run,
    typical_error,
    worst_error,
)
from tramontane.engine.attention import native, sdpa
from tramontane.engine.attention.native import native_serves
from tramontane.model.config import ModelConfig
from tramontane.model.layouts import Layout
from tramontane.model.linear import Linear, Quantization, quantize_int4, quantize_int8
from tramontane.model.random_weights import RandomWeights
from tramontane.model.transformer import Transformer
from tramontane.model.weights import build_model, load_model

# Longer than the windows (5), YaRN's original context (16) and several blocks.
PROMPT = make_prompt(75, 96)

# The largest difference of any logit, in standard deviations of the logits. Over all tiers, layouts and ways to cut the
# prompt 4.3e-6 was measured on an AMD EPYC, and 1.03e-5 on an Intel Xeon, whose products in experts round otherwise; a
# context, window, scale or base of rotation that is a little wrong makes 0.04 or more.
FLOAT32_BOUND = 2e-5

# Root mean square differences of logits, in their standard deviations, on six layers of normally distributed weights,
# which are as hard to round as any. Measured: int8 0.059 and 0.060 (float32 and bfloat16 activations), int4 0.370,
# bfloat16 0.014. One linear alone has 0.0105 and 0.078 (test_linear.py); the layers amplify that.
INT8_BOUND, INT4_BOUND = 0.07, 0.42


# ── against transformers ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("tier", "layout"), CHECKPOINTS)
def test_logits_are_those_of_transformers(tier: str, layout: Layout, tmp_path: Path) -> None:
    made = make_checkpoint(tier, layout, tmp_path)
    expected = made.expected(PROMPT)
    model = load_model(made.folder, dtype=torch.float32).model
    assert worst_error(run(model, [PROMPT])[0], expected) < FLOAT32_BOUND
    assert worst_error(run(model, [PROMPT], chunk=7, block_size=4)[0], expected) < FLOAT32_BOUND
    assert worst_error(run(model, [PROMPT], chunk=1, prepare=sdpa)[0], expected) < FLOAT32_BOUND
    # transformers rounds norms and rotations to float32 whatever the dtype; float64 here shows that we do not need to.
    exact = load_model(made.folder, dtype=torch.float64).model
    assert worst_error(run(exact, [PROMPT])[0], expected) < FLOAT32_BOUND


@pytest.mark.parametrize("tier", ["interleaved", "moe", "yarn"])
def test_neighbours_in_a_batch_do_not_show(tier: str, tmp_path: Path) -> None:
    made = make_checkpoint(tier, "hf", tmp_path)
    model = load_model(made.folder, dtype=torch.float32).model
    prompts = [make_prompt(length, 96, seed=length) for length in (1, 40, 17, 66)]
    for prepare in (None, sdpa):
        together = run(model, prompts, chunk=13, **({} if prepare is None else {"prepare": prepare}))
        for prompt, logits in zip(prompts, together, strict=True):
            assert worst_error(logits, made.expected(prompt)) < FLOAT32_BOUND


# ── what each part of a configuration is for: the tests above would notice its absence ─────────────────────────────


@pytest.mark.parametrize(
    ("tier", "changes"),
    [
        ("windows", {"windows": (6,) * 4}),
        ("interleaved", {"windows": (5, None) * 2}),
        ("yarn", {"yarn": None}),
        ("yarn", {"query_scale_beta": 0.0}),
        ("yarn", {"query_scale_original": 17}),
        ("dense", {"rope_theta": 10_100.0}),
        ("dense", {"norm_eps": 2e-3}),
    ],
)
def test_each_part_of_the_configuration_shows_in_the_logits(tier: str, changes: dict[str, object]) -> None:
    config = CONFIGS[tier]
    changed = ModelConfig(**{name: getattr(config, name) for name in config.__slots__} | changes)  # type: ignore[arg-type]
    right, wrong = (
        build_model(shape, RandomWeights(config).read, dtype=torch.float32).model for shape in (config, changed)
    )
    assert worst_error(run(wrong, [PROMPT])[0], run(right, [PROMPT])[0]) > 100 * FLOAT32_BOUND


# ── reduced precision ──────────────────────────────────────────────────────────────────────────────────────────────

MODERATE = ModelConfig(512, 6, 8, 2, 64, 1536, 1024, max_context=512)
MODERATE_PROMPTS = [make_prompt(96, MODERATE.vocab_size, seed) for seed in (1, 2)]


@cache
def exact_logits() -> list[torch.Tensor]:
    return run(moderate("none", torch.float64), MODERATE_PROMPTS)


def moderate(quantization: Quantization, dtype: torch.dtype, int4_max_rows: int = 1) -> Transformer:
    read = RandomWeights(MODERATE, dtype=torch.bfloat16).read
    return build_model(MODERATE, read, quantization=quantization, dtype=dtype, int4_max_rows=int4_max_rows).model


def moderate_error(model: Transformer, **how: object) -> float:
    return typical_error(torch.cat(run(model, MODERATE_PROMPTS, **how)), torch.cat(exact_logits()))  # type: ignore[arg-type]


def test_int8_error_is_bounded() -> None:
    assert moderate_error(moderate("int8", torch.float32)) < INT8_BOUND
    assert moderate_error(moderate("int8", torch.bfloat16)) < INT8_BOUND


def test_int4_error_is_bounded_and_gone_where_rows_are_many() -> None:
    model = moderate("int4", torch.float32, int4_max_rows=4)
    assert INT8_BOUND < moderate_error(model, chunk=1) < INT4_BOUND
    assert moderate_error(model) < INT8_BOUND  # prompts go through the int8 copy


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_the_error_is_that_of_rounding_and_nothing_else(quantization: Quantization) -> None:
    model = moderate(quantization, torch.float32, int4_max_rows=4)
    rounded = moderate("none", torch.float64)
    for path, module in list(rounded.named_modules()):
        if isinstance(module, Linear):
            int4 = quantization == "int4" and path != "output"
            rounded.set_submodule(path, Rounded(module.weight, int4))
    assert moderate_error(model, chunk=1) == pytest.approx(moderate_error(rounded, chunk=1), rel=0.05)


class Rounded(torch.nn.Module):
    """What a quantised linear stands for, in float64."""

    def __init__(self, weight: torch.Tensor, int4: bool) -> None:
        super().__init__()
        self.int4 = int4
        if int4:
            self.weight = int4_values(*quantize_int4(weight))
        else:
            values, scale = quantize_int8([weight])
            self.weight = values.double() * scale.double()[:, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.int4:
            step = x.abs().amax(-1, keepdim=True) / 127
            x = (x / step).round() * step
        return x @ self.weight.t()


@pytest.mark.parametrize("chunk", [1, 40])
def test_the_c_attention_costs_no_accuracy(chunk: int) -> None:
    if not native_serves(MODERATE, torch.bfloat16, 16):
        pytest.skip("the C attention needs AVX-512 BF16 and a C compiler")
    model = moderate("none", torch.bfloat16)
    assert moderate_error(model, chunk=chunk, prepare=native) < 1.1 * moderate_error(model, chunk=chunk)


# ── the class itself ───────────────────────────────────────────────────────────────────────────────────────────────


def test_logits_are_float32_at_least() -> None:
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        model = build_model(CONFIGS["dense"], RandomWeights(CONFIGS["dense"]).read, dtype=dtype).model
        assert model.dtype == dtype
        assert model.logits(torch.zeros(3, 64, dtype=dtype)).dtype == expected


def test_tied_embeddings_are_one_parameter() -> None:
    tied, untied = Transformer(CONFIGS["tied"]), Transformer(CONFIGS["dense"])
    assert tied.output.weight is tied.tok_embeddings.weight
    assert "output.weight" not in dict(tied.named_parameters())
    assert "output.weight" in dict(untied.named_parameters())


def test_attention_comes_from_the_caller() -> None:
    model = build_model(CONFIGS["dense"], RandomWeights(CONFIGS["dense"]).read, dtype=torch.float32).model
    seen = []

    def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        seen.append((layer, tuple(q.shape), tuple(k.shape), tuple(v.shape)))
        return torch.zeros_like(q)

    hidden = model(torch.tensor([3, 3, 4]), torch.tensor([0, 9, 0]), attend)
    assert seen == [(layer, (3, 4, 16), (3, 2, 16), (3, 2, 16)) for layer in range(4)]
    assert torch.equal(hidden[0], hidden[1])  # where nothing is attended to, positions make no difference
    assert not torch.equal(hidden[0], hidden[2])
