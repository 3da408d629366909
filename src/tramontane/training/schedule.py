"""How the learning rate moves within a stage: up, level, and down to zero."""

from __future__ import annotations


def rate_factor(progress: float, warmup: float, warmdown: float) -> float:
    """The share of the full rate at `progress` (0 … 1 of the stage): a trapezoid (arXiv:2405.18392)."""
    rising = progress / warmup if warmup else 1.0
    falling = (1.0 - progress) / warmdown if warmdown else 1.0
    return max(0.0, min(1.0, rising, falling))
