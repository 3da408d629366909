"""How offerings fare: told by the requests that go there, and by a question now and then while none do.

After some failures in a row an offering is left alone (its breaker is open) for a pause that grows with each further
one; then a single request may try it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["unknown", "healthy", "failing", "open"]

OPENS_AFTER = 3
"""Failures in a row."""

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0  # seconds; each is twice the one before
_TRIAL_SECONDS = 150.0  # a trial that never says how it went holds the place no longer than this
_WEIGHT = 0.2  # of the newest latency in the average


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an offering."""

    state: State = "unknown"
    failures: int = 0  # in a row
    latency_ms: float | None = None  # to the first token, a moving average
    last_problem: str | None = None


@dataclass(slots=True)
class _Record:
    failures: int = 0
    latency: float | None = None
    last_problem: str | None = None
    open_until: float = 0.0
    trial_until: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.failures >= OPENS_AFTER


class Health:
    """One record for each offering that has been tried, by its id."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}

    def of(self, offering_id: str) -> Standing:
        """For people."""
        record = self._records.get(offering_id)
        if record is None:
            return Standing()
        state: State = "open" if record.is_open else "failing" if record.failures else "healthy"
        latency = None if record.latency is None else record.latency * 1e3
        return Standing(state, record.failures, latency, record.last_problem)

    def latency(self, offering_id: str) -> float | None:
        """Seconds to the first token; None where none has come yet."""
        record = self._records.get(offering_id)
        return None if record is None else record.latency

    def problem(self, offering_id: str) -> str | None:
        """Why nothing should go there now, as a clause; None where a request may."""
        record = self._records.get(offering_id)
        if record is None or not record.is_open or self._may_be_tried(record):
            return None
        return f"it failed {record.failures} times in a row and is left alone for a while"

    def begin(self, offering_id: str) -> bool:
        """Called before a request goes there; False where it must not: of an open one, one at a time tries."""
        record = self._records.get(offering_id)
        if record is None or not record.is_open:
            return True
        if not self._may_be_tried(record):
            return False
        record.trial_until = self._clock() + _TRIAL_SECONDS
        return True

    def note_first(self, offering_id: str, seconds: float) -> None:
        """The first token has come. Others may try as well now; one more failure, and it is left alone again."""
        record = self._records.setdefault(offering_id, _Record())
        before = seconds if record.latency is None else record.latency
        record.latency = before + _WEIGHT * (seconds - before)
        record.failures, record.trial_until = min(record.failures, OPENS_AFTER - 1), 0.0

    def note_success(self, offering_id: str) -> None:
        """An answer was whole, as far as anybody read it."""
        record = self._records.setdefault(offering_id, _Record())
        record.failures, record.trial_until, record.last_problem = 0, 0.0, None

    def note_failure(self, offering_id: str, problem: str) -> None:
        """No answer, or one that broke off; `problem` is for the operator."""
        record = self._records.setdefault(offering_id, _Record())
        record.failures += 1
        record.trial_until, record.last_problem = 0.0, problem
        pause = _FIRST_PAUSE * 2 ** min(max(record.failures - OPENS_AFTER, 0), 10)
        record.open_until = self._clock() + min(_LONGEST_PAUSE, pause)

    def note_nothing(self, offering_id: str) -> None:
        """A trial ended without an answer to the question: the request was wrong, or its client hung up."""
        if (record := self._records.get(offering_id)) is not None:
            record.trial_until = 0.0

    def is_open(self, offering_id: str) -> bool:
        """Whether it is being left alone, so that only a question can tell when that may end."""
        record = self._records.get(offering_id)
        return record is not None and record.is_open

    def note_alive(self, offering_id: str) -> None:
        """It answered a question: the next request may try it at once, whatever is left of the pause."""
        if (record := self._records.get(offering_id)) is not None:
            record.open_until = self._clock()

    def _may_be_tried(self, record: _Record) -> bool:
        now = self._clock()
        return now >= record.open_until and now >= record.trial_until
