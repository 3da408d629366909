"""Whatever happens in whatever order, the ledger is sound; and it is as a few lines of Python say that it should be."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, text

from tests.billing.meters import Time, ask_of, kill
from tests.billing.ready import postgresql_place, sqlite_place
from tests.billing.soundness import assert_books_are_sound, assert_sound
from tests.billing.tenants import add_tenant
from tests.storage.places import Place
from tramontane.billing.lots import cancel_lot, create_lot, end_lots, grant_free, set_pay_as_you_go
from tramontane.billing.meter import Meter, Metered
from tramontane.billing.pricing import cost, worst_case
from tramontane.billing.rates import Cap
from tramontane.billing.requests import Ask, Counts
from tramontane.billing.tables import Hold, Lot, MonthCount, Outcome, UsageRow
from tramontane.catalogue.prices import Price
from tramontane.errors import ConflictError, InvalidRequestError, PaymentRequiredError, RateLimitedError
from tramontane.storage.database import Database
from tramontane.storage.statements import table_of

T = TypeVar("T")

MODELS = ("small", "large")
PRICES = (
    Price("free", 0, 0, 0),
    Price("usual", 1_000_000, 100_000, 2_000_000),
    Price("odd", 1_333_333, 333_333, 7),
    Price("dear", 10**9, 10**8, 10**9),
)
_amounts = st.one_of(st.integers(1, 300), st.integers(1, 10**6))


@dataclass
class Running:
    """A request that was asked for, and all that was ever counted of it."""

    ask: Ask
    meter: int
    task: asyncio.Task[Metered]
    told: set[Counts] = field(default_factory=set)

    @property
    def metered(self) -> Metered:
        return self.task.result()


class Ledger(RuleBasedStateMachine):
    """Two servers on one database, two organisations, and somebody who pulls plugs."""

    make_place: ClassVar[Callable[[], Place]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.place = type(self).make_place()
        self.time = Time()
        self.requests: list[Running] = []  # that wait or run
        self.charged: dict[str, int] = {}  # what must be on the bill
        self.interrupted: dict[str, set[int]] = {}  # what may be, of those that a dead server left

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        async def begin() -> None:
            self.db = self.place.open()
            async with self.db.write() as session:
                self.tenants = [await add_tenant(session, name, workspaces=2) for name in ("Meltemi", "Bise")]
            self.meters = [await self._new_meter() for _ in range(2)]

        self.run(begin())

    async def _new_meter(self) -> Meter:
        meter = Meter(self.db, self.time.clock())
        await meter.open()
        return meter

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(
        tenant=st.integers(0, 1), workspace=st.integers(0, 1), meter=st.integers(0, 1), model=st.sampled_from(MODELS),
        price=st.sampled_from(PRICES), prompt=st.integers(0, 200), most=st.integers(0, 200),
        caps=st.lists(st.tuples(st.sampled_from(["organisation", "workspace", "key"]),
                                st.none() | st.integers(0, 500), st.none() | st.integers(0, 500)), max_size=2),
    )  # fmt: skip
    def ask(
        self, tenant: int, workspace: int, meter: int, model: str, price: Price, prompt: int, most: int, caps: list[Any]
    ) -> None:
        owner = self.tenants[tenant]
        ids = {
            "organisation": owner.organisation_id, "workspace": owner.workspace_ids[workspace],
            "key": owner.key_ids[workspace],
        }  # fmt: skip
        ask = ask_of(
            owner, workspace=workspace, model=model, price=price, prompt=prompt, most=most,
            caps=[Cap(scope, ids[scope], tokens, spend) for scope, tokens, spend in caps],
        )  # fmt: skip
        self.run(self._ask(ask, meter))

    async def _ask(self, ask: Ask, meter: int) -> None:
        task = asyncio.create_task(self.meters[meter].hold(ask))
        request = Running(ask, meter, task)
        waiting = self.meters[meter]._waiting
        while not task.done() and not any(item.ask is ask for item in self.meters[meter]._waiting):
            await asyncio.sleep(0)
        if task.done() and task.exception() is not None:
            await self._assert_rightly_refused(ask, task.exception())
            return
        self.requests.append(request)
        if task.done():
            metered = task.result()
            assert min(1, ask.max_output) <= metered.max_output <= ask.max_output
            assert metered.amount == worst_case(ask.price, ask.prompt_tokens, metered.max_output)
            if metered.max_output < ask.max_output and not ask.caps and not waiting:
                await self._assert_spent(ask)  # it got all that there is

    async def _payers(self, ask: Ask) -> list[Any]:
        lots = await self.db.transact(lambda connection: connection.execute(select(table_of(Lot))).all())
        return [
            lot for lot in lots
            if lot.organisation_id == ask.principal.organisation_id and lot.state == "active"
            and lot.starts_at <= self.time.now and (lot.ends_at is None or self.time.now < lot.ends_at)
            and (lot.models is None or ask.model in lot.models)
        ]  # fmt: skip

    async def _assert_spent(self, ask: Ask) -> None:
        left = sum(lot.balance - lot.held for lot in await self._payers(ask))
        assert left <= ask.price.output // 10**6 + 1

    async def _assert_rightly_refused(self, ask: Ask, refusal: BaseException | None) -> None:
        """Nobody is refused while there is money, held or not, and room under the caps."""
        assert isinstance(refusal, PaymentRequiredError | RateLimitedError)
        least = worst_case(ask.price, ask.prompt_tokens, min(1, ask.max_output))
        if isinstance(refusal, PaymentRequiredError) and refusal.kind == "no_money":
            assert sum(lot.balance for lot in await self._payers(ask)) < least
            return
        counts = await self.db.transact(lambda connection: connection.execute(select(table_of(MonthCount))).all())
        used = {(row.scope, row.scope_id): row for row in counts if row.month == f"{self.time.now:%Y-%m}"}
        tokens = ask.prompt_tokens + min(1, ask.max_output)
        if isinstance(refusal, RateLimitedError):
            found = [(cap.tokens_per_month, used[cap.scope, cap.scope_id].tokens, tokens) for cap in ask.caps]
        else:
            found = [(cap.spend_per_month, used[cap.scope, cap.scope_id].spend, least) for cap in ask.caps]
        assert any(most is not None and most - taken < needed for most, taken, needed in found)

    def _forget_refused(self) -> None:
        """Who has waited may be refused in the end, when what was held by others has been spent."""
        for request in [one for one in self.requests if one.task.done() and one.task.exception() is not None]:
            assert isinstance(request.task.exception(), PaymentRequiredError | RateLimitedError)
            self.requests.remove(request)

    def _pick(self, number: int) -> Running | None:
        running = [one for one in self.requests if one.task.done()]
        return running[number % len(running)] if running else None

    @rule(number=st.integers(0, 50), prompt=st.integers(0, 250), cached=st.integers(0, 250), output=st.integers(0, 250))
    def count(self, number: int, prompt: int, cached: int, output: int) -> None:
        async def count(request: Running) -> None:
            request.metered.count(prompt, cached, output)
            request.told.add(request.metered.counts)

        request = self._pick(number)
        if request is not None:
            self.run(count(request))

    @rule()
    def keep(self) -> None:
        async def keep() -> None:
            for meter in self.meters:
                meter._do("keep")
                while "keep" in meter._due:
                    await asyncio.sleep(0)
            await self.db.transact(lambda connection: None)  # what was begun has ended

        self.run(keep())

    @rule(number=st.integers(0, 50), outcome=st.sampled_from(["done", "hung_up", "failed"]), twice=st.booleans())
    def settle(self, number: int, outcome: Outcome, twice: bool) -> None:
        request = self._pick(number)
        if request is None:
            return
        self.requests.remove(request)
        metered = request.metered
        expected = min(cost(request.ask.price, *metered.counts), metered.amount)

        async def settle() -> int:
            return (await asyncio.gather(*(metered.settle(outcome) for _ in range(1 + twice))))[0]

        assert self.run(settle()) == expected
        self.charged[metered.id] = expected

    @rule(number=st.integers(0, 50))
    def release(self, number: int) -> None:
        request = self._pick(number)
        if request is not None:
            self.requests.remove(request)

            async def release() -> int:
                return await request.metered.release()

            assert self.run(release()) == 0

    @rule(number=st.integers(0, 50))
    def leave_while_waiting(self, number: int) -> None:
        waiting = [one for one in self.requests if not one.task.done()]
        if waiting:
            request = waiting[number % len(waiting)]
            self.requests.remove(request)
            self.run(_cancelled(request.task))

    # ── lots ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(tenant=st.integers(0, 1), commitment=st.booleans(), amount=_amounts, days=st.none() | st.integers(1, 40),
          later=st.integers(0, 5), models=st.none() | st.sampled_from(MODELS).map(lambda model: [model]))  # fmt: skip
    def top_up(self, tenant: int, commitment: bool, amount: int, days: int | None, later: int, models: Any) -> None:
        async def top_up() -> None:
            starts_at = self.time.now + timedelta(days=later) if later > 3 else None
            ends_at = None if days is None else (starts_at or self.time.now) + timedelta(days=days)
            async with self.db.write() as session:
                await create_lot(
                    session, organisation_id=self.tenants[tenant].organisation_id, name="a lot", amount=amount,
                    kind="commitment" if commitment and ends_at else "credit", starts_at=starts_at, ends_at=ends_at,
                    models=models, at=self.time.now,
                )  # fmt: skip

        self.run(top_up())

    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        async def cancel() -> None:
            async with self.db.write() as session:
                ids = (await session.scalars(select(Lot.id).order_by(Lot.id))).all()
                if ids:
                    with suppress(ConflictError):
                        await cancel_lot(session, ids[number % len(ids)], at=self.time.now)

        self.run(cancel())

    @rule(tenant=st.integers(0, 1), cap=st.none() | _amounts)
    def pay_as_you_go(self, tenant: int, cap: int | None) -> None:
        async def change() -> None:
            async with self.db.write() as session:
                await set_pay_as_you_go(session, self.tenants[tenant].organisation_id, cap, at=self.time.now)

        with suppress(InvalidRequestError):
            self.run(change())

    @rule(tenant=st.integers(0, 1), amount=_amounts)
    def free_quota(self, tenant: int, amount: int) -> None:
        async def grant() -> None:
            async with self.db.write() as session:
                await grant_free(session, self.tenants[tenant].organisation_id, amount, at=self.time.now)

        self.run(grant())

    @rule(hours=st.sampled_from([0, 1, 30, 24 * 12]))
    def time_passes(self, hours: int) -> None:
        self.time.advance(timedelta(hours=hours))
        self.run(self.db.transact(lambda connection: end_lots(connection, self.time.now)))

    # ── deaths ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(number=st.integers(0, 1))
    def kill_and_restart(self, number: int) -> None:
        async def restart() -> None:
            await kill(self.meters[number])
            lost = [one for one in self.requests if one.meter == number]
            self.requests = [one for one in self.requests if one.meter != number]
            for request in lost:
                if not request.task.done():
                    await _cancelled(request.task)
                    continue
                metered, price = request.metered, request.ask.price
                kept = {Counts(request.ask.prompt_tokens, 0, 0), *request.told}
                self.interrupted[metered.id] = {min(cost(price, *counts), metered.amount) for counts in kept}
            self.meters[number] = await self._new_meter()
            usage = await self._usage()
            self.charged |= {id_: usage[id_] for id_ in self.interrupted}

        self.run(restart())

    async def _usage(self) -> dict[str, int]:
        query = select(table_of(UsageRow).c.id, table_of(UsageRow).c.amount)
        return {
            row.id: row.amount for row in await self.db.transact(lambda connection: connection.execute(query).all())
        }

    # ── always ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_books_are_sound(self) -> None:
        async def check() -> None:
            await asyncio.sleep(0)
            await self.db.transact(assert_books_are_sound)
            assert await self._usage() == self.charged
            self._forget_refused()
            assert all(self.charged[id_] in amounts for id_, amounts in self.interrupted.items())

        if hasattr(self, "meters"):
            self.run(check())

    def teardown(self) -> None:
        async def end() -> None:
            for meter in self.meters:
                await meter.close()
            await asyncio.gather(*(one.task for one in self.requests), return_exceptions=True)
            await assert_sound(self.db)
            assert not await self.db.transact(lambda connection: connection.execute(select(table_of(Hold))).all())
            await self.db.close()

        if hasattr(self, "meters"):
            self.run(end())
        self.loop.close()


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here nobody has company."""
    monkeypatch.setattr("tramontane.billing.meter._COMPANY", 0)


def _check(make_place: Callable[[], Place], examples: int, steps: int = 30) -> None:
    class Machine(Ledger):
        pass

    Machine.make_place = staticmethod(make_place)  # type: ignore[assignment]
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def _sqlite(home: Path) -> Callable[[], Place]:
    """A new file for each example."""
    numbers = itertools.count()

    def make() -> Place:
        folder = home / str(next(numbers))
        folder.mkdir()
        return sqlite_place(folder)

    return make


def _postgresql(home: Path) -> Callable[[], Place]:
    """One database, emptied for each example."""
    place = postgresql_place(home)

    async def empty(db: Database) -> None:
        async with db.write() as session:
            await session.execute(text("TRUNCATE organisations, users, settings, month_counts CASCADE"))

    def make() -> Place:
        place.run(empty)
        return place

    return make


def test_on_sqlite(tmp_path: Path) -> None:
    _check(_sqlite(tmp_path), examples=20)


def test_on_postgresql(tmp_path: Path) -> None:
    _check(_postgresql(tmp_path), examples=6)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_on_sqlite_for_long(tmp_path: Path) -> None:
    _check(_sqlite(tmp_path), examples=1000, steps=60)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_on_postgresql_for_long(tmp_path: Path) -> None:
    _check(_postgresql(tmp_path), examples=300, steps=60)
