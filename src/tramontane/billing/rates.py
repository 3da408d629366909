"""How fast requests may come: token buckets in memory, for keys, workspaces and organisations.

Each process counts by itself. Months are the ledger's to count: it is told here what their limits are.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic_ns

from sqlalchemy import and_, select

from tramontane.accounts.principal import Principal
from tramontane.billing.months import month_of
from tramontane.billing.tables import Limit, MonthCount, Scope
from tramontane.errors import InvalidRequestError, RateLimitedError
from tramontane.storage.base import now
from tramontane.storage.database import Database

logger = logging.getLogger(__name__)

_REFRESH_SECONDS = 5.0
_SECOND = 10**9  # nanoseconds
_MINUTE = 60 * _SECOND
OWNERS: Mapping[Scope, str] = {"key": "this key", "workspace": "this workspace", "organisation": "this organisation"}
"""What sentences call a scope."""


@dataclass(frozen=True, slots=True)
class Cap:
    """What a scope may use in a month, for the ledger to keep; None: as much as it likes."""

    scope: Scope
    scope_id: str
    tokens_per_month: int | None
    spend_per_month: int | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of `limits`, and what its month had left when that was last read."""

    scope: Scope
    scope_id: str
    requests_per_second: int | None
    tokens_per_minute: int | None
    tokens_per_month: int | None
    spend_per_month: int | None
    month_remaining: int | None


class _Bucket:
    """What was taken and has not yet run off. Empty, it takes a whole period's limit at once.

    Counted in parts of 1/period, and time in nanoseconds: integers, so nothing is ever rounded.
    """

    __slots__ = ("_at", "_period", "_taken", "limit")

    def __init__(self, limit: int, period: int, at: int) -> None:
        self.limit = limit
        self._period = period
        self._taken = 0
        self._at = at

    def taken(self, at: int) -> int:
        """In parts, at this moment."""
        self._taken = max(0, self._taken - self.limit * (at - self._at))
        self._at = at
        return self._taken

    def wait(self, amount: int, at: int) -> int:
        """Nanoseconds until this amount has room; 0: now."""
        excess = self.taken(at) + (amount - self.limit) * self._period
        return max(0, -(-excess // self.limit))

    def take(self, amount: int, at: int) -> None:
        """Takes whether or not there is room; less than nothing is given back."""
        self._taken = max(0, self.taken(at) + amount * self._period)

    def remaining(self, at: int) -> int:
        """What has room now."""
        return max(0, self.limit - -(-self.taken(at) // self._period))

    def reset(self, at: int) -> float:
        """Seconds until it is empty."""
        return self.taken(at) / self.limit / _SECOND


class _Limited:
    """A key, workspace or organisation that has limits."""

    __slots__ = ("known", "requests", "tokens")

    def __init__(self) -> None:
        self.known: _Known
        self.requests: _Bucket | None = None
        self.tokens: _Bucket | None = None

    def follow(self, known: _Known, at: int) -> None:
        """Takes over what the row says now; what was taken stays taken."""
        self.known = known
        self.requests = _adjusted(self.requests, known.requests_per_second, _SECOND, at)
        self.tokens = _adjusted(self.tokens, known.tokens_per_minute, _MINUTE, at)


def _adjusted(bucket: _Bucket | None, limit: int | None, period: int, at: int) -> _Bucket | None:
    if limit is None:
        return None
    if bucket is None:
        return _Bucket(limit, period, at)
    bucket.taken(at)  # until now by the old limit
    bucket.limit = limit
    return bucket


class Admission:
    """A request that was let in. `headers` tell clients how much is left; `caps` are for the ledger."""

    __slots__ = ("_clock", "_reserved", "_scopes", "caps", "headers")

    def __init__(self, scopes: Sequence[_Limited], tokens: int, clock: Callable[[], int]) -> None:
        self._scopes = scopes
        self._reserved = tokens
        self._clock = clock
        self.headers = _headers(scopes, clock()) if scopes else {}
        self.caps = tuple(_caps(scopes))

    def correct(self, tokens: int) -> None:
        """What it really took: the rest is given back, or what it took beyond is taken, though there be no room."""
        more, self._reserved = tokens - self._reserved, tokens
        at = self._clock()
        for scope in self._scopes:
            if scope.tokens is not None:
                scope.tokens.take(more, at)


class RateLimits:
    """Lets requests in, or says which limit of whom is reached and when to try again.

    Nothing is asked of the database on the way: the limits are read by `refresh`, every five seconds by `run`. Memory
    holds what has limits, and nothing else. The clock is monotonic: it never jumps.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = monotonic_ns) -> None:
        self._database = database
        self._clock = clock
        self._scopes: dict[tuple[Scope, str], _Limited] = {}
        self._refreshing = asyncio.Lock()  # so that of two answers the older is never the last

    def admit(self, principal: Principal, tokens: int, requests: int = 1) -> Admission:
        """Counts a request that may take so many tokens, in all its scopes or, where one refuses, in none.

        `requests` 0: it is a part of one that was counted, so that its tokens alone count.
        Raises RateLimitedError, or InvalidRequestError where it asks for more than a minute's tokens: waiting will
        not help it.
        """
        scopes = [scope for place in _places(principal) if (scope := self._scopes.get(place)) is not None]
        at = self._clock()
        _check(scopes, tokens, requests, at)
        for scope in scopes:
            if scope.requests is not None:
                scope.requests.take(requests, at)
            if scope.tokens is not None:
                scope.tokens.take(tokens, at)
        return Admission(scopes, tokens, self._clock)

    async def refresh(self) -> None:
        """Reads the limits, and what is left of the month's; called at the start, and after a change has committed."""
        async with self._refreshing:
            rows = await self._read()
            at = self._clock()
            for place in self._scopes.keys() - {(row.scope, row.scope_id) for row in rows}:
                del self._scopes[place]
            for row in rows:
                self._scopes.setdefault((row.scope, row.scope_id), _Limited()).follow(row, at)

    async def run(self) -> None:
        """Follows what other processes change, until it is cancelled."""
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self.refresh()
            except Exception:
                logger.exception("the limits could not be read; those of before go on, and it is tried again")

    async def _read(self) -> list[_Known]:
        counts = and_(
            MonthCount.scope == Limit.scope,
            MonthCount.scope_id == Limit.scope_id,
            MonthCount.month == month_of(now()),
        )
        query = select(Limit, MonthCount.tokens + MonthCount.tokens_reserved).outerjoin(MonthCount, counts)
        async with self._database.read() as session:
            return [_known(limit, used or 0) for limit, used in await session.execute(query)]


def _known(limit: Limit, used: int) -> _Known:
    return _Known(
        limit.scope,
        limit.scope_id,
        limit.requests_per_second,
        limit.tokens_per_minute,
        limit.tokens_per_month,
        limit.spend_per_month,
        None if limit.tokens_per_month is None else max(0, limit.tokens_per_month - used),
    )


def _places(principal: Principal) -> Iterator[tuple[Scope, str]]:
    if principal.key_id is not None:
        yield "key", principal.key_id
    yield "workspace", principal.workspace_id
    yield "organisation", principal.organisation_id


def _check(scopes: Sequence[_Limited], tokens: int, requests: int, at: int) -> None:
    """Raises for the limit that is to be waited for the longest."""
    waits: list[tuple[int, str]] = []
    for scope in scopes:
        owner = OWNERS[scope.known.scope]
        if requests and scope.requests is not None and (wait := scope.requests.wait(requests, at)):
            a_second = f"{scope.requests.limit:,} request{'s' * (scope.requests.limit > 1)} a second"
            waits.append((wait, f"The limit of {owner}, {a_second}, is reached"))
        if scope.tokens is not None and (wait := scope.tokens.wait(tokens, at)):
            if tokens > scope.tokens.limit:
                raise _never_passes(owner, tokens, scope.tokens.limit)
            left = f"leaves {scope.tokens.remaining(at):,} now, and this request may take {tokens:,}"
            waits.append((wait, f"The limit of {owner}, {scope.tokens.limit:,} tokens a minute, {left}"))
    if waits:
        wait, reached = max(waits)
        seconds = wait / _SECOND
        raise RateLimitedError(f"{reached}: try again in {_in_words(seconds)}.", seconds, _headers(scopes, at))


def _never_passes(owner: str, tokens: int, limit: int) -> InvalidRequestError:
    return InvalidRequestError(
        "max_tokens",
        f"This request may take {tokens:,} tokens and {owner} {limit:,} a minute, so it will never pass: "
        "shorten it, or set max_tokens lower.",
    )


def _in_words(seconds: float) -> str:
    whole = max(1, math.ceil(seconds))  # as the header says it
    return "1 second" if whole == 1 else f"{whole} seconds"


def _caps(scopes: Sequence[_Limited]) -> Iterator[Cap]:
    for scope in scopes:
        known = scope.known
        if known.tokens_per_month is not None or known.spend_per_month is not None:
            yield Cap(known.scope, known.scope_id, known.tokens_per_month, known.spend_per_month)


# ── headers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _headers(scopes: Sequence[_Limited], at: int) -> dict[str, str]:
    """As la Plateforme's clients and OpenAI's read them, each of the scope that has the least left."""
    headers: dict[str, str] = {}
    requests = _tightest([scope.requests for scope in scopes], at)
    if requests is not None:
        limit, left = requests.limit, requests.remaining(at)
        headers |= _pair("req-second", limit, left)
        headers |= _pair("req-minute", 60 * limit, 59 * limit + left)
        headers |= _pair("requests", limit, left) | {"x-ratelimit-reset-requests": f"{requests.reset(at):.3f}s"}
    tokens = _tightest([scope.tokens for scope in scopes], at)
    if tokens is not None:
        limit, left = tokens.limit, tokens.remaining(at)
        headers |= _pair("tokens-minute", limit, left)
        headers |= _pair("tokens", limit, left) | {"x-ratelimit-reset-tokens": f"{tokens.reset(at):.3f}s"}
    months = [
        (known.month_remaining, known.tokens_per_month)
        for known in (scope.known for scope in scopes)
        if known.month_remaining is not None and known.tokens_per_month is not None
    ]
    if months:
        left, limit = min(months)
        headers |= _pair("tokens-month", limit, left)
    return headers


def _tightest(buckets: Sequence[_Bucket | None], at: int) -> _Bucket | None:
    limited = [bucket for bucket in buckets if bucket is not None]
    return min(limited, key=lambda bucket: bucket.remaining(at), default=None)


def _pair(of: str, limit: int, remaining: int) -> dict[str, str]:
    return {f"x-ratelimit-limit-{of}": str(limit), f"x-ratelimit-remaining-{of}": str(remaining)}
