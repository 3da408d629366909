"""The ledger's clock: never backwards, and not after every jump."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.billing.clock import Clock

START = datetime(2026, 11, 30, 23, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


class Machine:
    """One whose clock may be set, and which has been up for a while."""

    def __init__(self) -> None:
        self.off, self.up = timedelta(), 1000.0
        self.clock = Clock(lambda: START + self.off + timedelta(seconds=self.up - 1000.0), lambda: self.up)

    def after(self, minutes: float) -> timedelta:
        """What the clock tells then, since the start."""
        self.up += 60 * minutes
        return self.clock.moment() - START


def test_a_jump_is_believed_when_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    machine.off = 365 * DAY
    with caplog.at_level(logging.WARNING):
        assert [machine.after(5), machine.after(4)] == [5 * MINUTE, 9 * MINUTE]
    assert caplog.text.count("the machine's clock jumped from") == 1
    assert machine.after(7) == 365 * DAY + 16 * MINUTE


def test_a_jump_that_is_taken_back_never_was() -> None:
    machine = Machine()
    machine.off = 365 * DAY
    assert machine.after(5) == 5 * MINUTE
    machine.off = timedelta()
    assert [machine.after(5), machine.after(10), machine.after(10)] == [10 * MINUTE, 20 * MINUTE, 30 * MINUTE]


def test_it_waits_for_a_clock_that_is_set_back() -> None:
    machine = Machine()
    machine.after(30)
    machine.off = -60 * MINUTE
    assert machine.after(5) == 35 * MINUTE
    believed = machine.after(15)
    assert believed == machine.after(20)  # it stands still, and does not go back
    assert machine.after(60) == 70 * MINUTE


def test_small_corrections_are_followed_at_once_and_never_add_up_to_a_jump() -> None:
    machine = Machine()
    for number in range(1, 20):
        machine.off += MINUTE / 2
        assert machine.after(10) == number * 10.5 * MINUTE


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-500, 500)), max_size=30))
def test_it_never_runs_backwards(steps: list[tuple[float, float]]) -> None:
    machine, last = Machine(), timedelta()
    for minutes, jump in steps:
        machine.off += jump * MINUTE
        told = machine.after(minutes)
        assert told >= last
        last = told


def test_the_real_one_tells_the_time() -> None:
    assert abs(Clock().moment() - datetime.now(UTC)) < MINUTE
