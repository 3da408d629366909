"""Rotary position embedding, with YaRN and the position-dependent query scale.

Sources: RoFormer (arXiv:2104.09864), YaRN (arXiv:2309.00071). Heads are stored in half-rotated order:
dimension `i` is paired with `i + head_dim / 2` (checkpoint.py permutes files that pair neighbours).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tramontane.model.config import ModelConfig, YarnConfig
from tramontane.model.rows import rotate


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """Radians a position, for each of the `head_dim / 2` pairs; float64."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    frequencies = config.rope_theta**-exponents
    return frequencies if config.yarn is None else _yarn(frequencies, config, config.yarn)


def _yarn(frequencies: Tensor, config: ModelConfig, yarn: YarnConfig) -> Tensor:
    """Slow pairs are interpolated by `factor`, fast ones kept, with a linear ramp between the two."""

    def pair_that_turns(turns: float) -> float:
        """The (fractional) pair that makes `turns` full rotations over the original context."""
        positions_a_turn = yarn.original_max_position_embeddings / (turns * 2 * math.pi)
        return config.head_dim * math.log(positions_a_turn) / (2 * math.log(config.rope_theta))

    low, high = pair_that_turns(yarn.beta_fast), pair_that_turns(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, config.head_dim - 1)
    pairs = torch.arange(config.head_dim // 2, dtype=torch.float64)
    interpolated = ((pairs - low) / max(high - low, 1e-3)).clamp(0, 1)
    return frequencies * (1 - interpolated) + frequencies / yarn.factor * interpolated


class Rope:
    """Angles of one step's positions, computed once and used by every layer."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.dtype = torch.promote_types(dtype, torch.float32)
        self.frequencies = inverse_frequencies(config).to(device, self.dtype)
        self.factor = 1.0 if config.yarn is None else config.yarn.attention_factor
        self.scale_beta = config.query_scale_beta
        self.scale_original = config.query_scale_original

    def at(self, positions: Tensor) -> Rotation:
        """The rotation for `positions` [T]."""
        angles = positions[:, None].to(self.dtype) * self.frequencies  # [T, D/2]
        cos, sin = angles.cos() * self.factor, angles.sin() * self.factor
        query_scale = None
        if self.scale_beta:
            periods = torch.floor(positions / self.scale_original)
            query_scale = (1 + self.scale_beta * torch.log1p(periods)).to(self.dtype)[:, None, None]  # [T, 1, 1]
        return Rotation(cos.contiguous(), sin.contiguous(), query_scale)


class Rotation:
    """Cosines and sines [T, D / 2], and the query scale [T, 1, 1] where the model has one."""

    def __init__(self, cos: Tensor, sin: Tensor, query_scale: Tensor | None) -> None:
        self.cos, self.sin, self.query_scale = cos, sin, query_scale

    def apply(self, heads: Tensor, num_heads: int) -> Tensor:
        """Rotates the first `num_heads` of `heads` [T, H, D]; computes in float32 (float64 for a float64 model)."""
        return rotate(heads, num_heads, self.cos, self.sin)

    def scale_queries(self, queries: Tensor) -> Tensor:
        """Longer contexts get sharper queries, where the model was trained so."""
        return queries if self.query_scale is None else (queries * self.query_scale).to(queries.dtype)
