"""Many clients at once, and databases that fail."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from tests.billing.meters import EURO, ask_of, metering, tenant_with
from tests.billing.ready import postgresql_place, sqlite_place
from tests.billing.soundness import assert_sound
from tests.billing.tenants import Tenant
from tests.storage.places import Place
from tests.storage.postgres import postgres_server
from tramontane.billing.meter import Meter
from tramontane.billing.rates import Cap
from tramontane.billing.tables import Lot, MonthCount, UsageRow
from tramontane.errors import PaymentRequiredError, RateLimitedError, UnavailableError
from tramontane.storage.database import Database
from tramontane.storage.sqlite import CONNECT_ARGS

CLIENTS = 50
_LEAST = 12  # nano-euros that a request of `_spend_all` costs if it is cut after its first token; 11 tokens


async def _spend_all(meter: Meter, tenant: Tenant, *caps: Cap) -> int:
    """One request after the other, until one is refused; what they cost."""
    spent = 0
    while True:
        try:
            metered = await meter.hold(ask_of(tenant, prompt=10, most=40, caps=caps))
        except (PaymentRequiredError, RateLimitedError):
            return spent
        metered.count(10, 0, min(7, metered.max_output))
        await asyncio.sleep(0)
        spent += await metered.settle("done")


@asynccontextmanager
async def _servers(place: Place, db: Database) -> AsyncIterator[list[Meter]]:
    """Two, each with connections of its own."""
    other = place.open()
    async with metering(db) as one, metering(other) as two:
        yield [one, two]
    await other.close()


def test_credit_is_spent_to_the_last_and_never_overrun(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, 2000, 411)
        async with _servers(place, db) as meters:
            spent = await asyncio.gather(*(_spend_all(meters[number % 2], tenant) for number in range(CLIENTS)))
        async with db.read() as session:
            left = sum((await session.scalars(select(Lot.balance))).all())
        assert left < _LEAST
        assert sum(spent) == 2411 - left
        await assert_sound(db)

    place.run(scenario)


def test_a_spend_cap_is_not_overrun(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        cap = Cap("organisation", tenant.organisation_id, None, 2411)
        async with _servers(place, db) as meters:
            spent = await asyncio.gather(*(_spend_all(meters[number % 2], tenant, cap) for number in range(CLIENTS)))
        assert 2411 - _LEAST < sum(spent) <= 2411
        await assert_sound(db)

    place.run(scenario)


def test_a_token_cap_is_not_overrun(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        cap = Cap("workspace", tenant.workspace_ids[0], 1711, None)
        async with _servers(place, db) as meters:
            await asyncio.gather(*(_spend_all(meters[number % 2], tenant, cap) for number in range(CLIENTS)))
        async with db.read() as session:
            (count,) = (await session.scalars(select(MonthCount).where(MonthCount.scope == "workspace"))).all()
        assert 1711 - 11 < count.tokens <= 1711
        await assert_sound(db)

    place.run(scenario)


# ── databases that fail ─────────────────────────────────────────────────────────────────────────────────────────────


async def _assert_nothing_is_lost(meter: Meter, tenant: Tenant, fail: object, mend: object) -> None:
    held = [await meter.hold(ask_of(tenant)) for _ in range(5)]
    fail()  # type: ignore[operator]
    settled = [metered.settle("done") for metered in held]
    for _ in range(2):
        with pytest.raises(UnavailableError) as refusal:
            await meter.hold(ask_of(tenant))
        assert refusal.value.kind == "ledger_unavailable"
    assert not any(future.done() for future in settled)
    assert not meter.is_ready
    mend()  # type: ignore[operator]
    assert await asyncio.gather(*settled) == [100] * 5
    assert meter.is_ready
    await (await meter.hold(ask_of(tenant))).release()


def test_a_locked_database_loses_nothing_and_serves_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONNECT_ARGS, "timeout", 0.1)

    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        other = sqlite3.connect(tmp_path / "tramontane.db", isolation_level=None)
        async with metering(db) as meter:
            await _assert_nothing_is_lost(
                meter, tenant, lambda: other.execute("BEGIN IMMEDIATE"), lambda: other.execute("ROLLBACK")
            )
        other.close()
        await assert_sound(db)

    sqlite_place(tmp_path).run(scenario)


def test_a_database_that_is_gone_loses_nothing_and_serves_nobody(tmp_path: Path) -> None:
    place = postgresql_place(tmp_path)
    assert place.url is not None
    name = place.url.partition("@/")[2].partition("?")[0]
    server = psycopg.connect(postgres_server().url("postgres"), autocommit=True)

    def allow(connections: bool) -> None:
        server.execute(f"UPDATE pg_database SET datallowconn = {connections} WHERE datname = '{name}'")  # type: ignore[call-overload]
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as meter:
            await _assert_nothing_is_lost(meter, tenant, lambda: allow(False), lambda: allow(True))
        await assert_sound(db)

    place.run(scenario)
    server.close()


def test_a_server_notices_by_itself_that_its_ledger_is_locked_and_that_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONNECT_ARGS, "timeout", 0.05)
    monkeypatch.setattr("tramontane.billing.meter._UPKEEP", 0.05)

    async def scenario(db: Database) -> None:
        other = sqlite3.connect(tmp_path / "tramontane.db", isolation_level=None)
        async with metering(db) as meter, asyncio.timeout(20):
            for statement, expected in (("BEGIN IMMEDIATE", False), ("ROLLBACK", True)):
                other.execute(statement)
                while meter.is_ready is not expected:
                    await asyncio.sleep(0.01)
        other.close()

    sqlite_place(tmp_path).run(scenario)


def test_what_a_server_could_not_settle_at_its_end_the_next_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONNECT_ARGS, "timeout", 0.05)
    monkeypatch.setattr("tramontane.billing.meter._PAUSES", (0.01,))

    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        other = sqlite3.connect(tmp_path / "tramontane.db", isolation_level=None)
        async with metering(db) as meter:
            metered = await meter.hold(ask_of(tenant))
            other.execute("BEGIN IMMEDIATE")
        assert metered.settle("done").cancelled()
        other.close()
        async with metering(db):
            pass
        async with db.read() as session:
            (usage,) = (await session.scalars(select(UsageRow))).all()
        assert (usage.id, usage.outcome, usage.amount) == (metered.id, "interrupted", 100)
        await assert_sound(db)

    sqlite_place(tmp_path).run(scenario)
