"""The ledger's clock: it never runs backwards, and it does not follow the machine's clock in every jump."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from tramontane.storage.base import now

logger = logging.getLogger(__name__)

_JUMP = timedelta(minutes=1)  # clocks that are set right in small steps are followed at once
_BELIEVED_AFTER = 600.0  # seconds


def _uptime() -> float:
    """Seconds that no setting of the clock changes; where the system tells, those of its sleep count too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clock:
    """Tells the moments by which lots begin and end, months turn, and usage is dated.

    A clock that jumped would end commitments before their time, and that cannot be undone. So after a jump this one
    goes on by itself, says so in the log, and follows when the machine's clock has stayed there for ten minutes.
    """

    def __init__(self, wall: Callable[[], datetime] = now, uptime: Callable[[], float] = _uptime) -> None:
        self._wall, self._uptime = wall, uptime
        self._anchor = self._last = wall()
        self._anchored_at = uptime()
        self._doubted_since: float | None = None

    def moment(self) -> datetime:
        """Now; never before a moment that was told earlier."""
        self._last = max(self._last, self._steady())
        return self._last

    def _steady(self) -> datetime:
        wall, uptime = self._wall(), self._uptime()
        expected = self._anchor + timedelta(seconds=uptime - self._anchored_at)
        if abs(wall - expected) < _JUMP:
            self._doubted_since = None
        elif self._doubted_since is None:
            self._doubted_since = uptime
            logger.warning(
                "the machine's clock jumped from %s to %s; the ledger goes by it only if it stays there",
                expected.isoformat(timespec="seconds"),
                wall.isoformat(timespec="seconds"),
            )
            return expected
        elif uptime - self._doubted_since < _BELIEVED_AFTER:
            return expected
        # Followed: small corrections are taken over, and so they never add up to a jump.
        self._doubted_since = None
        self._anchor, self._anchored_at = wall, uptime
        return wall
