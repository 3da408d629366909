"""The rate rises, stays, and falls to zero."""

from __future__ import annotations

import pytest

from tramontane.training.schedule import rate_factor


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.4, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.0)]
)
def test_trapezoid(progress: float, expected: float) -> None:
    assert rate_factor(progress, warmup=0.1, warmdown=0.5) == pytest.approx(expected)


def test_without_either_end_the_rate_is_level() -> None:
    assert [rate_factor(progress, 0.0, 0.0) for progress in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


def test_a_stage_may_overshoot_its_tokens() -> None:
    assert rate_factor(1.01, 0.0, 0.5) == 0.0
