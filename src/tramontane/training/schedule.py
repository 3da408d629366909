"""How far a stage is, and how the learning rate moves within it: up, level, and down to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def rate_factor(progress: float, warmup: float, warmdown: float) -> float:
    """The share of the full rate at `progress` (0 … 1 of the stage): a trapezoid (arXiv:2405.18392)."""
    rising = progress / warmup if warmup else 1.0
    falling = (1.0 - progress) / warmdown if warmdown else 1.0
    return max(0.0, min(1.0, rising, falling))


@dataclass(frozen=True)
class Pace:
    """How far a stage is at least at a time, if the run is to end in time: from `progress` at `start` to 1 after
    `seconds`. Who has no time to keep is not hurried."""

    progress: float = 0.0
    start: float = 0.0
    seconds: float = float("inf")

    @classmethod
    def until(cls, deadline: float, now: float, progress: float, tokens: Sequence[int]) -> Pace:
        """The first of the stages that are left, of so many tokens each, gets its share of the time up to `deadline`;
        `progress` of it is done."""
        left = (1.0 - progress) * tokens[0]
        share = left / max(1.0, left + sum(tokens[1:]))
        return cls(progress, now, max(0.0, deadline - now) * share)

    def at(self, now: float) -> float:
        """The share of the stage that is behind at `now`, by the clock."""
        if not self.seconds:
            return 1.0
        return min(1.0, self.progress + (1.0 - self.progress) * (now - self.start) / self.seconds)
