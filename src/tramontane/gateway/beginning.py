"""How an answer begins: its money is held, and somebody computes.

One after the other, as a rule. Where the hold is as good as certain the own engine begins beside it, so that nobody
waits for a commit; but no byte is delivered before the hold is in the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tramontane.billing.meter import Meter, Metered
from tramontane.billing.requests import Ask
from tramontane.gateway.answers import EventStream
from tramontane.gateway.providers.base import Prepared

_RELEASE_SECONDS = 5.0
_HOLD_SECONDS = 0.25  # that an engine computes without knowing who pays

PaidTokens = Callable[[Metered], int | None]
"""How long each choice may be, where the hold pays for less than was asked; it may raise."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer that is paid for. `started`: when its provider was asked, by `time.perf_counter`."""

    metered: Metered
    stream: EventStream
    started: float


async def begin(meter: Meter, ask: Ask, prepared: Prepared, paid_tokens: PaidTokens, *, beside: bool) -> Begun:
    """Holds the money, and begins. `beside`: where the hold is as good as certain, both at once.

    Raises as `Meter.hold`, `Prepared.generate` and `paid_tokens` do; then nothing is held, and nobody computes.
    """
    if beside and meter.counts_on(ask):
        metered, begun = await _begin_beside(meter, ask, prepared)
        if begun is not None:
            return begun
    else:
        metered = await meter.hold(ask)
    async with released_on_failure(metered):
        most, started = paid_tokens(metered), time.perf_counter()
        return Begun(metered, await prepared.generate(most), started)


async def _begin_beside(meter: Meter, ask: Ask, prepared: Prepared) -> tuple[Metered, Begun | None]:
    """Nothing has begun where the hold comes late, or pays for less than was expected: then it was given up."""
    started = time.perf_counter()
    holding = asyncio.ensure_future(meter.hold(ask))
    stream: EventStream | None = None
    try:
        stream = await prepared.generate()
        await asyncio.wait([holding], timeout=_HOLD_SECONDS)
        if not holding.done():
            await stream.aclose()
            stream = None
        metered = await holding
        if stream is not None and metered.max_output < ask.max_output:
            await stream.aclose()
            stream = None
        return metered, None if stream is None else Begun(metered, stream, started)
    except BaseException:
        _give_back(holding)
        if stream is not None:
            await stream.aclose()
        raise


def _give_back(holding: asyncio.Future[Metered]) -> None:
    """Whatever has become of a hold. The ledger does it before it is asked for the same money again."""
    if not holding.cancel() and not holding.cancelled() and holding.exception() is None:
        holding.result().release()


@asynccontextmanager
async def released_on_failure(metered: Metered) -> AsyncIterator[None]:
    """Gives the money back where nothing has begun."""
    try:
        yield
    except Exception:
        # The next offering asks for the same money, under the same id. For a database that is gone nobody waits.
        await asyncio.wait([metered.release()], timeout=_RELEASE_SECONDS)
        raise
    except BaseException:
        metered.release()
        raise
