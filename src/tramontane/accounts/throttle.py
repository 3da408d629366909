"""How often something may be tried: a token bucket for each who tries, in memory of bounded size."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from time import monotonic

from tramontane.errors import RateLimitedError

_MOST = 10_000  # of whom something is remembered; beyond, whoever tried longest ago is forgotten


class Throttle:
    """Lets `burst` tries through at once, then one every `seconds`."""

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._burst, self._seconds, self._clock = burst, seconds, clock
        self._full_at: dict[str, float] = {}  # when all of one's tries will be there again; the oldest first

    def take(self, who: str) -> None:
        """Raises RateLimitedError where there was a try too many; such a one does not count."""
        present = self._clock()
        full_at = max(self._full_at.get(who, present), present) + self._seconds
        wait = full_at - present - self._burst * self._seconds
        if wait > 0:
            raise RateLimitedError("There were too many tries: wait before the next one.", wait)
        self._full_at.pop(who, None)
        self._full_at[who] = full_at
        if len(self._full_at) > _MOST:
            del self._full_at[next(iter(self._full_at))]

    def give_back(self, who: str) -> None:
        """Called after a try that succeeded: it does not count."""
        if who in self._full_at:
            self._full_at[who] -= self._seconds


def network_of(address: str) -> str:
    """An IPv4 address itself, and of an IPv6 one the /64: so many one connection has of its own."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False))
