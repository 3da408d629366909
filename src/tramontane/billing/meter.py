"""The ledger for a server: many requests, one transaction.

Whatever comes while one transaction is under way waits, and is done together by the next. So an answer costs two
commits at most, and under load a part of two.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from tramontane.billing.batches import Asking, Batch, PendingEnding
from tramontane.billing.clock import Clock
from tramontane.billing.foresight import Foresight
from tramontane.billing.instances import Instance
from tramontane.billing.ledger import Done, carry_out
from tramontane.billing.requests import Ask, Counts, Ending, Granted, Kept
from tramontane.billing.tables import Outcome
from tramontane.billing.upkeep import Upkeep
from tramontane.errors import UnavailableError
from tramontane.storage.database import Database
from tramontane.storage.errors import StorageError

logger = logging.getLogger(__name__)

_AT_ONCE = 500  # asks, and endings, that one transaction takes
_COMPANY = 0.025  # seconds that a settlement waits for others, or for a hold, so that they share a transaction
_KEPT_WITHIN = 0.5  # seconds; counts are kept each second at least, and a commit takes its time
_POLL = 0.25  # seconds; other processes do not tell when they release what somebody waits for here
_PATIENCE = 30.0  # seconds that a request waits for others' holds
_PROMPT = 0.1  # seconds that a hold takes at most where the next one may be counted on
_UPKEEP = 5.0  # seconds
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between tries of a database that fails; then the last one again
_TRIES_AT_ONCE = 2  # of a transaction that a lost connection or a deadlock undid
_TRIES_AT_CLOSE = 8
_MOST_TOKENS = 2**31 - 1  # that a column holds, whatever an upstream says


class Metered:
    """A request that money is held for."""

    def __init__(self, meter: Meter, ask: Ask, granted: Granted) -> None:
        self.id = ask.request_id
        self.max_output = granted.max_output
        """The tokens of output that are paid for: the request has to end there."""
        self.amount = granted.amount
        """What it costs at most, in nano-euros."""
        self._meter = meter
        self._counts = Counts(ask.prompt_tokens, 0, 0)
        self._ended: asyncio.Future[int] | None = None

    @property
    def counts(self) -> Counts:
        """As they were told last; at first, the prompt that was asked for."""
        return self._counts

    def count(self, prompt: int, cached: int, output: int) -> None:
        """What has been delivered so far, in all. It is in the database within a second."""
        prompt = min(max(prompt, 0), _MOST_TOKENS)
        self._counts = Counts(prompt, min(max(cached, 0), prompt), min(max(output, 0), _MOST_TOKENS))
        if self._ended is None:
            self._meter._note_change(self)

    def settle(self, outcome: Outcome, is_estimate: bool = False) -> asyncio.Future[int]:
        """Charges what was counted; the future has the amount once it is committed. Only the first call does anything.

        It needs nobody who waits, and goes on when its caller is cancelled.
        """
        return self._end(Ending(self.id, self._counts, outcome, is_estimate))

    def release(self) -> asyncio.Future[int]:
        """Ends the hold of a request of which nothing was delivered and nothing is owed: as if it had never been."""
        return self._end(Ending(self.id, None, None))

    def _end(self, ending: Ending) -> asyncio.Future[int]:
        if self._ended is None:
            self._ended = self._meter._end(self, ending)
        return self._ended


_Chore = Literal["end", "keep", "poll"]


class Meter:
    """Holds money for requests, and charges what they were given. To be opened after the database's upgrade.

    Requests that find all money held by others wait for it in the order in which they came, and for 30 s at most.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or Clock()
        self._instance = Instance(database)
        self._upkeep = Upkeep(database, self._instance, self._clock)
        self._asks: deque[Asking[Metered]] = deque()
        self._waiting: list[Asking[Metered]] = []
        self._endings: deque[PendingEnding] = deque()
        self._open: dict[str, Metered] = {}
        self._changed: dict[str, Metered] = {}  # whose counts are not in the database yet
        self._foresight = Foresight()
        self._wake = asyncio.Event()
        self._due: set[_Chore] = set()
        self._timers: dict[_Chore, asyncio.TimerHandle] = {}
        self._alone = 0  # operations that are done one by one, because one of them spoilt a transaction
        self._failures = 0  # of the database, in a row
        self._is_out = False  # whether it did not answer when it was asked last
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = True

    async def open(self) -> None:
        """Settles what killed processes have left, and begins."""
        await self._instance.open()
        await self._upkeep.begin()
        self._is_closing = False
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._look_after_now_and_then())]

    async def close(self) -> None:
        """Interrupts what still runs, settles it, and stops."""
        if self._is_closing:
            return
        self._is_closing = True
        for asking in (*self._waiting, *self._asks):
            asking.refuse(_unavailable())
        self._waiting.clear()
        self._asks.clear()
        for metered in list(self._open.values()):
            metered.settle("interrupted")
        self._do("end")
        committing, upkeep = self._tasks
        upkeep.cancel()
        await asyncio.wait([committing, upkeep])
        await self._instance.close()

    @property
    def is_ready(self) -> bool:
        """Whether the ledger could be written when that was last tried, at most some seconds ago."""
        return not (self._is_closing or self._is_out)

    def counts_on(self, ask: Ask) -> bool:
        """Whether `hold` will grant it whole, and soon, in all likelihood; to be asked once, by who then holds."""
        return self.is_ready and not self._waiting and self._foresight.counts_on(ask)

    async def hold(self, ask: Ask) -> Metered:
        """Holds what the request may cost at most, or as much of it as there is; committed when it returns.

        Raises PaymentRequiredError, RateLimitedError for a month's tokens, or UnavailableError.
        """
        if self._is_closing:
            raise _unavailable()
        loop = asyncio.get_running_loop()
        asking = Asking[Metered](ask, loop.create_future(), loop.time())
        self._asks.append(asking)
        self._wake.set()
        try:
            return await asking.answer  # who is cancelled here cancels it; a hold that comes too late is released
        except asyncio.CancelledError:
            answer = asking.answer
            if answer.done() and not answer.cancelled() and answer.exception() is None:  # it came just before
                answer.result().release()
            raise

    # ── called by Metered ───────────────────────────────────────────────────────────────────────────────────────────

    def _note_change(self, metered: Metered) -> None:
        self._changed[metered.id] = metered
        self._do_within("keep", _KEPT_WITHIN)

    def _end(self, metered: Metered, ending: Ending) -> asyncio.Future[int]:
        self._open.pop(metered.id, None)
        self._changed.pop(metered.id, None)
        return self._add_ending(ending)

    def _add_ending(self, ending: Ending) -> asyncio.Future[int]:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._endings.append(PendingEnding(ending, answer))
        if ending.outcome is None or self._waiting or self._is_closing:  # somebody waits for it
            self._do("end")
        else:
            self._do_within("end", _COMPANY)
        return answer

    # ── one transaction after the other ─────────────────────────────────────────────────────────────────────────────

    def _do_within(self, chore: _Chore, seconds: float) -> None:
        if chore not in self._timers and chore not in self._due:
            self._timers[chore] = asyncio.get_running_loop().call_later(seconds, self._do, chore)

    def _do(self, chore: _Chore) -> None:
        timer = self._timers.pop(chore, None)
        if timer is not None:
            timer.cancel()
        self._due.add(chore)
        self._wake.set()

    async def _run(self) -> None:
        while not (self._is_closing and not self._has_work()):
            if not self._has_work():
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._next_batch()
            try:
                await self._database.transact(partial(self._carry_out, batch))
            except Exception as error:
                if not await self._go_on_after(batch, error):
                    return
            else:
                self._failures = 0
                self._note_answer()
                self._deliver(batch)

    def _has_work(self) -> bool:
        return bool(self._asks or self._due)

    def _carry_out(self, batch: Batch[Metered], connection: Connection) -> None:
        batch.done = carry_out(connection, batch.work(), self._instance.id, self._clock.moment())

    def _next_batch(self) -> Batch[Metered]:
        if self._alone > 0:
            return self._next_alone()
        # All that has ended comes along, due or not: its money is there for those who ask.
        endings = [self._endings.popleft() for _ in range(min(_AT_ONCE, len(self._endings)))]
        if not self._endings:
            self._due.discard("end")
        # Those who wait come before those who are new, so that these take nothing from under their noses.
        self._due.discard("poll")
        present = asyncio.get_running_loop().time()
        waiting, self._waiting = [asking for asking in self._waiting if not asking.answer.done()], []
        last_tries = [asking for asking in waiting if present - asking.asked_at >= _PATIENCE]
        patient = [asking for asking in waiting if present - asking.asked_at < _PATIENCE]
        new = [self._asks.popleft() for _ in range(min(_AT_ONCE, len(self._asks)))]
        asks = [*patient, *(asking for asking in new if not asking.answer.done())]
        return Batch(endings, last_tries, asks, self._take_changed())

    def _take_changed(self) -> list[Kept]:
        if "keep" not in self._due:
            return []
        self._due.discard("keep")
        changed, self._changed = self._changed, {}
        return [Kept(metered.id, metered.counts) for metered in changed.values()]

    def _next_alone(self) -> Batch[Metered]:
        self._alone -= 1
        if self._endings:
            return Batch([self._endings.popleft()])
        return Batch(asks=[self._asks.popleft()] if self._asks else [])

    # ── afterwards ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _deliver(self, batch: Batch[Metered]) -> None:
        assert batch.done is not None
        for item in batch.endings:
            self._tell_end(item, batch.done)
        present = asyncio.get_running_loop().time()
        for asking, verdict in batch.verdicts():
            is_prompt = present - asking.asked_at < _PROMPT
            self._foresight.note(asking.ask, verdict if isinstance(verdict, Granted) and is_prompt else None)
            if isinstance(verdict, Granted):
                self._grant(asking, verdict)
            elif verdict is not None:
                asking.refuse(verdict)
            elif self._is_closing:
                asking.refuse(_unavailable())
            else:
                self._waiting.append(asking)
        if self._waiting:
            self._do_within("poll", _POLL)
        if self._waiting and self._endings:
            self._do("end")

    def _grant(self, asking: Asking[Metered], granted: Granted) -> None:
        if asking.answer.done() or self._is_closing:
            self._add_ending(Ending(asking.ask.request_id, None, None))
            asking.refuse(_unavailable())
            return
        metered = self._open[asking.ask.request_id] = Metered(self, asking.ask, granted)
        asking.answer.set_result(metered)

    def _tell_end(self, item: PendingEnding, done: Done) -> None:
        ending = item.ending
        amount = done.charged[ending.hold_id]
        if amount is None and ending.outcome is not None:
            logger.error("request %s had no hold any more, so it is not charged: %s", ending.hold_id, ending.counts)
        elif ending.hold_id in done.found and not item.is_retry:
            logger.warning("request %s was charged before, at %d nano-euros", ending.hold_id, amount)
        if not item.answer.done():
            item.answer.set_result(amount or 0)

    # ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _go_on_after(self, batch: Batch[Metered], error: Exception) -> bool:
        """Whether to go on: false at the end of a server whose database does not come back."""
        for kept in batch.kept:
            if kept.hold_id in self._open:
                self._note_change(self._open[kept.hold_id])
        if not _is_outage(error):
            self._separate(batch, error)
            return True
        for item in batch.endings:
            item.is_retry = True
        self._put_back(batch.endings)
        self._failures += 1
        if batch.done is None and self._failures <= _TRIES_AT_ONCE and _may_pass(error):
            self._asks.extendleft(reversed(batch.asking))
            return True
        for asking, verdict in batch.verdicts():
            if isinstance(verdict, Granted):  # the commit may have been carried out, and only its answer been lost
                self._add_ending(Ending(asking.ask.request_id, None, None))
        for asking in batch.asking:
            asking.refuse(_unavailable())
        return await self._wait_for_database(error)

    def _put_back(self, endings: Sequence[PendingEnding]) -> None:
        self._endings.extendleft(reversed(endings))
        if self._endings:
            self._do("end")

    async def _wait_for_database(self, error: Exception) -> bool:
        self._note_outage(error)
        if self._is_closing and self._failures > _TRIES_AT_CLOSE:
            logger.error("%d requests are not charged yet: the next start does it", len(self._endings))
            for item in self._endings:
                item.answer.cancel()
            return False
        await asyncio.sleep(_PAUSES[min(self._failures, len(_PAUSES)) - 1])
        return True

    def _note_outage(self, error: Exception) -> None:
        if not self._is_out:
            logger.error("the ledger's database does not answer, so nobody is served: %s", error)
        self._is_out = True

    def _note_answer(self) -> None:
        if self._is_out:
            logger.warning("the ledger's database answers again")
        self._is_out = False

    def _separate(self, batch: Batch[Metered], error: Exception) -> None:
        """One operation cannot be done: it is found by doing each alone, so that its neighbours do not suffer."""
        if batch.size > 1:
            self._put_back(batch.endings)
            self._asks.extendleft(reversed(batch.asking))
            self._alone += batch.size
            return
        if batch.size == 0:
            logger.error("what has been delivered could not be kept", exc_info=error)
        for asking in batch.asking:
            asking.refuse(error)
        for item in batch.endings:
            logger.error("request %s cannot be charged", item.ending.hold_id, exc_info=error)
            if item.ending.outcome is None:
                item.answer.cancel()
            else:  # at least its hold keeps nobody's money
                self._put_back([PendingEnding(Ending(item.ending.hold_id, None, None), item.answer)])

    async def _look_after_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP)
            try:
                await self._upkeep.go_on()
                self._note_answer()
            except Exception as error:
                if _is_outage(error):
                    self._note_outage(error)
                else:
                    logger.exception("the ledger could not be looked after; it is tried again")


def _unavailable() -> UnavailableError:
    return UnavailableError(
        "The ledger cannot be written now, and nothing is served that it does not know of: try again soon.",
        "ledger_unavailable",
    )


def _is_outage(error: Exception) -> bool:
    """Whether it is the database that fails, rather than what was asked of it."""
    return isinstance(error, SQLAlchemyError | StorageError | OSError) and not isinstance(
        error, IntegrityError | DataError
    )


def _may_pass(error: Exception) -> bool:
    """Whether the same may succeed at once: the connection was lost, or a deadlock was resolved."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in ("40001", "40P01")
