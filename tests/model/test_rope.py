"""Rotations: those of transformers, relative, and precise at positions far away."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.ministral3.modeling_ministral3 import apply_rotary_pos_emb, get_llama_4_attn_scale

from tramontane.model.config import ModelConfig, YarnConfig
from tramontane.model.rope import Rope, inverse_frequencies

PLAIN = ModelConfig(64, 1, 4, 2, 128, 64, 64, rope_theta=1e6)
# The numbers that Ministral 3 ships with, and ones whose ramp is not rounded to whole dimensions.
YARNS: dict[str, YarnConfig] = {
    "ministral3": YarnConfig(16.0, 16384),
    "not truncated": YarnConfig(4.0, 4096, beta_fast=4.0, beta_slow=0.5, truncate=False),
    "attention factor": YarnConfig(32.0, 8192, attention_factor=1.25),
}
MODES = pytest.mark.parametrize("inference", [True, False], ids=["inference", "autograd"])


def theirs(yarn: YarnConfig) -> tuple[torch.Tensor, float]:
    """transformers' frequencies and attention factor."""
    parameters: dict[str, Any] = {"rope_type": "yarn", "rope_theta": PLAIN.rope_theta, **dataclasses.asdict(yarn)}
    config = transformers.Ministral3Config(
        hidden_size=64, num_attention_heads=4, head_dim=128, max_position_embeddings=262144, rope_parameters=parameters
    )
    return ROPE_INIT_FUNCTIONS["yarn"](config, torch.device("cpu"))


def rotated(config: ModelConfig, heads: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    rope = Rope(config, heads.device, heads.dtype)
    return rope.at(positions).apply(heads.clone(), heads.shape[1])


def heads(rows: int, num_heads: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, num_heads, 128, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_plain_frequencies_follow_the_formula() -> None:
    for pair, frequency in enumerate(inverse_frequencies(PLAIN).tolist()):
        assert frequency == pytest.approx(1e6 ** (-2 * pair / 128), rel=1e-12)


@pytest.mark.parametrize("yarn", YARNS.values(), ids=YARNS)
def test_yarn_frequencies_are_those_of_transformers(yarn: YarnConfig) -> None:
    expected, factor = theirs(yarn)
    config = dataclasses.replace(PLAIN, yarn=yarn)
    torch.testing.assert_close(inverse_frequencies(config).float(), expected, rtol=1e-6, atol=0)
    assert Rope(config, torch.device("cpu"), torch.float32).factor == factor


def test_yarn_keeps_fast_pairs_and_stretches_slow_ones() -> None:
    plain = inverse_frequencies(PLAIN)
    ratio = plain / inverse_frequencies(dataclasses.replace(PLAIN, yarn=YARNS["ministral3"]))
    assert torch.allclose(ratio[:10], torch.ones(10, dtype=torch.float64))
    assert torch.allclose(ratio[-10:], torch.full((10,), 16.0, dtype=torch.float64))
    assert ratio.diff().min() >= -1e-12


@MODES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rotation_is_that_of_transformers(dtype: torch.dtype, inference: bool) -> None:
    positions = torch.tensor([0, 1, 2, 17, 255, 4000])
    x = heads(6, dtype=dtype)
    angles = positions[:, None].double() * inverse_frequencies(PLAIN).repeat(2)  # [T, D]
    expected, _ = apply_rotary_pos_emb(
        x.double().transpose(0, 1)[None], x.double().transpose(0, 1)[None], angles.cos()[None], angles.sin()[None]
    )
    with torch.inference_mode(inference):
        result = rotated(PLAIN, x, positions)
    assert result.dtype == dtype
    # One rounding to the dtype, and angles whose float32 is off by up to 2^-24 of themselves.
    bound = torch.finfo(dtype).eps * 4 + (0 if dtype == torch.float64 else 4000 * 2**-23)
    assert (result.double() - expected[0].transpose(0, 1)).abs().max() < bound * x.abs().max()


@MODES
def test_only_the_heads_asked_for_are_rotated(inference: bool) -> None:
    x, positions = heads(5, num_heads=4), torch.arange(5) + 3
    with torch.inference_mode(inference):
        rotation = Rope(PLAIN, x.device, x.dtype).at(positions)
        some, all_of_them = rotation.apply(x.clone(), 3), rotation.apply(x.clone(), 4)
    assert torch.equal(some[:, :3], all_of_them[:, :3])
    assert torch.equal(some[:, 3], x[:, 3])
    assert not torch.equal(all_of_them[:, 3], x[:, 3])


@pytest.mark.parametrize("yarn", [None, YARNS["ministral3"]], ids=["plain", "yarn"])
def test_scores_depend_on_distance_alone(yarn: YarnConfig | None) -> None:
    config = dataclasses.replace(PLAIN, yarn=yarn)
    q, k = (heads(1, dtype=torch.float64, seed=seed).expand(4, -1, -1) for seed in (1, 2))
    starts = torch.tensor([0, 7, 1000, 200_000])
    for distance in (0, 1, 50):
        scores = (rotated(config, q, starts + distance) * rotated(config, k, starts)).sum(-1)
        assert torch.allclose(scores, scores[:1].expand(4, -1), rtol=0, atol=1e-7)


def test_positions_far_away_are_precise_enough() -> None:
    positions = torch.tensor([32_767, 131_071, 262_143])
    x = heads(3)
    exact = rotated(PLAIN, x.double(), positions)
    # Angles are float32 products, as where the models were trained: off by up to 2^-23 of themselves.
    error = (rotated(PLAIN, x, positions).double() - exact).abs().amax((1, 2))
    assert (error < x.abs().max() * positions * 2**-23).all()


def test_query_scale_is_that_of_transformers() -> None:
    config = dataclasses.replace(PLAIN, query_scale_beta=0.1, query_scale_original=16)
    positions = torch.tensor([0, 15, 16, 31, 32, 1000, 100_000])
    rotation = Rope(config, positions.device, torch.float32).at(positions)
    scaled = rotation.scale_queries(torch.ones(7, 2, 4))
    expected = get_llama_4_attn_scale(positions[None], 0.1, 16)  # [1, 1, T, 1]
    torch.testing.assert_close(scaled, expected[0, 0, :, :, None].expand(7, 2, 4))
    assert scaled[:2].eq(1).all()
    assert scaled[2, 0, 0].item() == pytest.approx(1 + 0.1 * math.log(2))


def test_queries_of_other_models_are_left_alone() -> None:
    queries = torch.ones(3, 2, 4)
    assert Rope(PLAIN, queries.device, torch.float32).at(torch.arange(3)).scale_queries(queries) is queries
