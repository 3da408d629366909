"""What fails is left alone for longer and longer, tried by one request at a time, and trusted again once it answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.gateway.health import OPENS_AFTER, Health, Standing


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def failing(times: int) -> tuple[Health, Clock]:
    clock = Clock()
    health = Health(clock)
    for _ in range(times):
        health.note_failure("o", "It hung up.")
    return health, clock


def test_nothing_is_said_of_what_nobody_has_tried() -> None:
    health = Health()
    assert health.of("o") == Standing()
    assert health.begin("o")
    assert health.problem("o") is None


def test_latency_is_a_moving_average() -> None:
    health = Health()
    health.note_first("o", 0.1)
    assert health.of("o") == Standing("healthy", 0, 100.0, None)
    health.note_first("o", 0.2)
    assert health.latency("o") == pytest.approx(0.12)


def test_it_opens_after_some_failures_in_a_row_and_one_success_closes_it() -> None:
    health, _ = failing(OPENS_AFTER - 1)
    assert health.of("o").state == "failing"
    assert health.begin("o")
    health.note_failure("o", "It hung up.")
    assert health.of("o") == Standing("open", OPENS_AFTER, None, "It hung up.")
    assert health.problem("o") == f"it failed {OPENS_AFTER} times in a row and is left alone for a while"
    assert not health.begin("o")
    health.note_success("o")
    assert health.of("o").state == "healthy"
    assert health.begin("o")


def test_an_answer_that_begins_lets_others_in_and_one_that_breaks_off_shuts_them_out() -> None:
    health, clock = failing(OPENS_AFTER + 2)
    clock.now += 60
    assert health.begin("o")
    assert not health.begin("o")
    health.note_first("o", 0.1)
    assert health.of("o").state == "failing"
    assert health.begin("o")
    health.note_failure("o", "It broke off.")
    assert health.of("o").state == "open"
    assert not health.begin("o")


def test_answers_that_always_break_off_open_it() -> None:
    health = Health()
    for _ in range(OPENS_AFTER):
        assert health.begin("o")
        health.note_first("o", 0.1)
        health.note_failure("o", "It broke off.")
    assert health.of("o").state == "open"


def test_after_the_pause_one_request_at_a_time_tries() -> None:
    health, clock = failing(OPENS_AFTER)
    clock.now += 5
    assert health.problem("o") is None
    assert health.begin("o")
    assert not health.begin("o")
    health.note_nothing("o")  # its client hung up: that says nothing
    assert health.begin("o")
    health.note_failure("o", "Again.")
    clock.now += 5
    assert not health.begin("o"), "the pause has grown"
    clock.now += 5
    assert health.begin("o")


def test_a_trial_that_never_ends_does_not_keep_the_place_for_ever() -> None:
    health, clock = failing(OPENS_AFTER)
    clock.now += 5
    assert health.begin("o")
    clock.now += 200
    assert health.begin("o")


def test_an_answered_question_ends_the_pause_but_not_the_doubt() -> None:
    health, _ = failing(OPENS_AFTER + 4)
    assert not health.begin("o")
    health.note_alive("o")
    assert health.of("o").state == "open"
    assert health.begin("o")
    assert not health.begin("o")


@settings(deadline=None)
@given(st.integers(OPENS_AFTER, 60))
def test_the_pause_grows_and_has_an_end(failures: int) -> None:
    health, clock = failing(failures)
    assert health.problem("o") is not None
    clock.now += 300
    assert health.problem("o") is None
