"""The rate rises, stays, and falls to zero."""

from __future__ import annotations

import pytest

from tramontane.training.schedule import Pace, rate_factor


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.4, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.0)]
)
def test_trapezoid(progress: float, expected: float) -> None:
    assert rate_factor(progress, warmup=0.1, warmdown=0.5) == pytest.approx(expected)


def test_without_either_end_the_rate_is_level() -> None:
    assert [rate_factor(progress, 0.0, 0.0) for progress in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


def test_a_stage_may_overshoot_its_tokens() -> None:
    assert rate_factor(1.01, 0.0, 0.5) == 0.0


def test_a_stage_has_its_share_of_the_time_that_is_left() -> None:
    pace = Pace.until(110.0, 10.0, 0.0, [300, 500, 200])
    assert [pace.at(now) for now in (10.0, 25.0, 40.0, 90.0)] == pytest.approx([0.0, 0.5, 1.0, 1.0])


def test_a_stage_that_is_under_way_goes_on_from_where_it_is() -> None:
    pace = Pace.until(60.0, 10.0, 0.5, [200, 100])
    assert [pace.at(now) for now in (10.0, 35.0)] == pytest.approx([0.5, 1.0])


def test_without_a_deadline_the_clock_says_nothing_and_after_it_that_all_is_done() -> None:
    assert Pace().at(1e9) == 0.0
    assert Pace.until(5.0, 10.0, 0.0, [300]).at(10.0) == 1.0
