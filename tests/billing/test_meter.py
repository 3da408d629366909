"""The life of a request in the ledger: held, counted, charged or released."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from tests.billing.meters import EURO, Time, ask_of, kill, metering, tenant_with
from tests.billing.ready import postgresql_place
from tests.billing.soundness import assert_sound
from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.billing.lots import create_lot, set_pay_as_you_go
from tramontane.billing.meter import Meter
from tramontane.billing.rates import Cap
from tramontane.billing.tables import Hold, Lot, MonthCount, UsageRow
from tramontane.catalogue.prices import Price
from tramontane.errors import PaymentRequiredError, RateLimitedError, UnavailableError
from tramontane.storage.database import Database


async def _lots(db: Database) -> list[Lot]:
    async with db.read() as session:
        return list((await session.scalars(select(Lot).order_by(Lot.created_at, Lot.id))).all())


async def _usage(db: Database) -> list[UsageRow]:
    async with db.read() as session:
        return list((await session.scalars(select(UsageRow).order_by(UsageRow.id))).all())


async def _holds(db: Database) -> list[Hold]:
    async with db.read() as session:
        return list((await session.scalars(select(Hold))).all())


async def _waiting(meter: Meter, how_many: int) -> None:
    """Until so many wait for others' holds."""
    async with asyncio.timeout(10):
        while len(meter._waiting) != how_many:
            await asyncio.sleep(0.001)


def test_a_request_is_held_counted_and_charged(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as meter:
            ask = ask_of(tenant, prompt=100, most=50)
            metered = await meter.hold(ask)
            assert (metered.max_output, metered.amount) == (50, 200)
            (held,) = await _holds(db)  # before anything is delivered
            assert (held.id, held.amount, held.tokens, held.prompt_tokens) == (ask.request_id, 200, 150, 100)
            metered.count(100, 40, 20)
            assert await metered.settle("done") == 60 + 4 + 40
            (usage,) = await _usage(db)
            assert (usage.id, usage.amount, usage.outcome) == (ask.request_id, 104, "done")
            assert (usage.prompt_tokens, usage.cached_tokens, usage.output_tokens) == (100, 40, 20)
            (lot,) = await _lots(db)
            assert (lot.balance, lot.held) == (EURO - 104, 0)
            await assert_sound(db)
        assert not await _holds(db)

    place.run(scenario)


def test_a_released_hold_leaves_nothing(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as meter:
            metered = await meter.hold(ask_of(tenant))
            assert await metered.release() == 0
            assert await metered.settle("done") == 0  # too late
        (lot,) = await _lots(db)
        assert (lot.balance, lot.held) == (EURO, 0)
        assert not await _usage(db)
        await assert_sound(db)

    place.run(scenario)


def test_what_costs_nothing_needs_no_money_and_is_metered(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db)
        async with metering(db) as meter:
            metered = await meter.hold(ask_of(tenant, price=Price("free", 0, 0, 0)))
            assert len(await _holds(db)) == 1
            metered.count(7, 0, 9)
            await metered.settle("hung_up", is_estimate=True)
        (usage,) = await _usage(db)
        assert (usage.amount, usage.output_tokens, usage.outcome, usage.is_estimate) == (0, 9, "hung_up", True)
        await assert_sound(db)

    place.run(scenario)


def test_the_money_decides_how_long_an_answer_may_be(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, 131, 30)
        async with metering(db) as meter:
            with pytest.raises(
                PaymentRequiredError, match=r"costs 0\.000000162 € at least and 0\.000000161 €"
            ) as refusal:
                await meter.hold(ask_of(tenant, prompt=160))
            assert refusal.value.kind == "no_money"
            metered = await meter.hold(ask_of(tenant, prompt=100, most=100))
            assert (metered.max_output, metered.amount) == (30, 160)
            metered.count(100, 0, 30)
            await metered.settle("done")
            embedding = await meter.hold(ask_of(tenant, prompt=1, most=0))
            assert (embedding.max_output, embedding.amount) == (0, 1)
            await embedding.settle("done")
        assert [lot.balance for lot in await _lots(db)] == [0, 0]
        await assert_sound(db)

    place.run(scenario)


def test_never_more_than_was_held(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as meter:
            metered = await meter.hold(ask_of(tenant, prompt=100, most=50))
            metered.count(10**15, 0, 51)
            with caplog.at_level(logging.WARNING):
                assert await metered.settle("done") == 200
        assert "charged are the 200 that were held" in caplog.text
        await assert_sound(db)

    place.run(scenario)


def test_lots_are_drawn_on_in_their_order(place: Place) -> None:
    async def scenario(db: Database) -> None:
        time = Time()
        soon, late, over = (time.now + timedelta(days=days) for days in (10, 20, 1))
        async with db.write() as session:
            tenant = await add_tenant(session)

            async def buy(kind: str, name: str, **more: object) -> None:
                await create_lot(
                    session,
                    organisation_id=tenant.organisation_id,
                    kind=kind,
                    name=name,
                    amount=10,
                    at=time.now,
                    **more,
                )

            await buy("credit", "4 credit")
            await buy("credit", "3 credit that ends", ends_at=late)
            await buy("commitment", "2 commitment", ends_at=late)
            await buy("commitment", "1 commitment that ends soon", ends_at=soon)
            await buy("commitment", "for another model", ends_at=soon, models=["large"])
            await buy("commitment", "over by then", ends_at=over)
            await buy("commitment", "of next month", starts_at=soon, ends_at=late)
            await set_pay_as_you_go(session, tenant.organisation_id, 10, at=time.now)
        time.advance(timedelta(days=1))
        async with metering(db, time) as meter:
            metered = await meter.hold(ask_of(tenant, prompt=45, most=0))
            assert metered.amount == 45
            held = {lot.name: lot.held for lot in await _lots(db) if lot.held}
            assert held == {
                "1 commitment that ends soon": 10, "2 commitment": 10, "3 credit that ends": 10, "4 credit": 10,
                "Pay as you go 2026-11": 5,
            }  # fmt: skip
            metered.count(25, 0, 0)
            assert await metered.settle("done") == 25
            assert sorted((lot.name, lot.balance) for lot in await _lots(db) if lot.name[0].isdigit()) == [
                ("1 commitment that ends soon", 0), ("2 commitment", 0), ("3 credit that ends", 5), ("4 credit", 10),
            ]  # fmt: skip
        await assert_sound(db)

    place.run(scenario)


def test_nobody_is_refused_while_others_only_hold_the_money(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, 300)
        async with metering(db) as meter:
            first = await meter.hold(ask_of(tenant, prompt=100, most=1000))
            assert first.amount == 300
            one = asyncio.create_task(meter.hold(ask_of(tenant, prompt=150, most=10)))
            other = asyncio.create_task(meter.hold(ask_of(tenant, prompt=10, most=10)))
            await _waiting(meter, 2)
            free = await meter.hold(ask_of(tenant, price=Price("free", 0, 0, 0)))  # needs nothing, waits for nobody
            first.count(100, 0, 5)
            await first.settle("done")
            assert (await one).amount == 170  # who came first is served first
            assert (await other).amount == 20
            assert not one.cancel()
            for metered in (free, one.result(), other.result()):
                await metered.release()
        await assert_sound(db)

    place.run(scenario)


def test_who_waits_takes_what_others_do_not_need(place: Place) -> None:
    """Whoever is behind somebody that waits for one lot may draw on another."""

    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db)
        async with db.write() as session:
            for model in ("small", "large"):
                await create_lot(
                    session,
                    organisation_id=tenant.organisation_id,
                    kind="credit",
                    name=model,
                    amount=100,
                    models=[model],
                )
        async with metering(db) as meter:
            first = await meter.hold(ask_of(tenant, prompt=100, most=0))
            waiting = asyncio.create_task(meter.hold(ask_of(tenant, prompt=50, most=0)))
            await _waiting(meter, 1)
            await (await meter.hold(ask_of(tenant, prompt=100, most=0, model="large"))).release()
            first.release()
            await (await waiting).release()

    place.run(scenario)


def test_waiting_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tramontane.billing.meter._PATIENCE", 0.3)

    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, 100)
        async with metering(db) as meter:
            first = await meter.hold(ask_of(tenant, prompt=60, most=0))
            dear = asyncio.create_task(meter.hold(ask_of(tenant, prompt=80, most=0)))
            await _waiting(meter, 1)
            cheap = asyncio.create_task(
                meter.hold(ask_of(tenant, prompt=30, most=0))
            )  # there is money, but not its turn
            await _waiting(meter, 2)
            with pytest.raises(PaymentRequiredError, match="held for requests that run"):
                await dear
            assert (await cheap).amount == 30
            await first.release()

    place.run(scenario)


def test_who_leaves_while_waiting_holds_nothing(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, 100)
        async with metering(db) as meter:
            for _ in range(20):
                task = asyncio.create_task(meter.hold(ask_of(tenant, prompt=60, most=0)))
                for _turn in range(3):
                    await asyncio.sleep(0)
                task.cancel()
            await (await meter.hold(ask_of(tenant, prompt=100, most=0))).release()
            first = await meter.hold(ask_of(tenant, prompt=60, most=0))
            task = asyncio.create_task(meter.hold(ask_of(tenant, prompt=60, most=0)))
            await _waiting(meter, 1)
            task.cancel()
            await first.release()
            await (await meter.hold(ask_of(tenant, prompt=100, most=0))).release()
        assert not await _holds(db)
        await assert_sound(db)

    place.run(scenario)


def test_who_leaves_in_the_moment_in_which_a_hold_comes_holds_nothing(place: Place) -> None:
    """The hold is granted, and whoever asked for it is cancelled before the event loop has told them."""

    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, 100)
        loop = asyncio.get_running_loop()
        async with metering(db) as meter, asyncio.timeout(10):
            asking = asyncio.create_task(meter.hold(ask_of(tenant, prompt=100, most=0)))

            def leave_once_granted() -> None:
                if meter._open:
                    asking.cancel()
                else:
                    loop.call_soon(leave_once_granted)

            leave_once_granted()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await (await meter.hold(ask_of(tenant, prompt=100, most=0))).release()  # who comes next has all of it
        assert not await _holds(db)
        await assert_sound(db)

    place.run(scenario)


def test_settling_outlives_its_caller(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as meter:
            metered = await meter.hold(ask_of(tenant))

            async def serve() -> None:
                try:
                    await asyncio.sleep(60)
                finally:
                    metered.count(100, 0, 3)
                    metered.settle("hung_up")

            serving = asyncio.create_task(serve())
            await asyncio.sleep(0)
            serving.cancel()
            await asyncio.wait([serving])
            assert await metered.settle("done") == 106  # only the first word counts
        assert [row.outcome for row in await _usage(db)] == ["hung_up"]

    place.run(scenario)


def test_the_end_of_a_server_interrupts_what_runs(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, 300)
        async with metering(db) as meter:
            metered = await meter.hold(ask_of(tenant, prompt=100, most=1000))
            metered.count(100, 0, 3)
            waiting = asyncio.create_task(meter.hold(ask_of(tenant)))
            await _waiting(meter, 1)
        with pytest.raises(UnavailableError):
            await waiting
        with pytest.raises(UnavailableError):
            await meter.hold(ask_of(tenant))
        assert [(row.outcome, row.amount) for row in await _usage(db)] == [("interrupted", 106)]
        assert not await _holds(db)
        await assert_sound(db)

    place.run(scenario)


def test_nobody_is_forgotten_at_the_end(place: Place) -> None:
    """Even one whose transaction is under way then, and finds all money held by another server."""

    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, 102)
        async with metering(db) as other, asyncio.timeout(20):
            metered = await other.hold(ask_of(tenant))
            async with metering(db) as meter:
                asking = asyncio.create_task(meter.hold(ask_of(tenant)))
                await asyncio.sleep(0)
                while meter._asks:
                    await asyncio.sleep(0)
            with pytest.raises(UnavailableError):
                await asking
            await metered.release()

    place.run(scenario)


# ── monthly caps ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_spend_cap_holds(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        cap = Cap("workspace", tenant.workspace_ids[0], None, 150)
        async with metering(db) as meter:
            first = await meter.hold(ask_of(tenant, prompt=100, most=100, caps=[cap]))
            assert first.max_output == 25
            waiting = asyncio.create_task(meter.hold(ask_of(tenant, prompt=10, most=0, caps=[cap])))
            await _waiting(meter, 1)
            await (await meter.hold(ask_of(tenant, prompt=10, most=0))).release()  # of another workspace, as it were
            first.count(100, 0, 10)
            await first.settle("done")
            await (await waiting).settle("done")
            with pytest.raises(PaymentRequiredError, match=r"this workspace, 0\.00000015 € at most") as refusal:
                await meter.hold(ask_of(tenant, prompt=100, caps=[cap]))
            assert refusal.value.kind == "cap_reached"
            await (await meter.hold(ask_of(tenant, prompt=100, price=Price("free", 0, 0, 0), caps=[cap]))).release()
        await assert_sound(db)

    place.run(scenario)


def test_a_token_cap_holds(place: Place) -> None:
    async def scenario(db: Database) -> None:
        time = Time()
        tenant = await tenant_with(db)
        free = Price("free", 0, 0, 0)
        cap = Cap("key", tenant.key_ids[0], 150, None)
        async with metering(db, time) as meter:
            first = await meter.hold(ask_of(tenant, prompt=100, most=100, price=free, caps=[cap]))
            assert first.max_output == 50
            waiting = asyncio.create_task(meter.hold(ask_of(tenant, prompt=10, most=5, price=free, caps=[cap])))
            await _waiting(meter, 1)
            first.count(100, 0, 30)
            await first.settle("done")
            await (await waiting).settle("done")
            with pytest.raises(RateLimitedError, match="this key, 150 tokens a month") as refusal:
                await meter.hold(ask_of(tenant, prompt=10, most=5, price=free, caps=[cap]))
            assert refusal.value.retry_after >= 1
            time.advance(timedelta(days=15))
            next_month = await meter.hold(ask_of(tenant, prompt=100, most=50, price=free, caps=[cap]))
            await next_month.settle("done")
        await assert_sound(db)

    place.run(scenario)


def test_a_request_over_the_turn_of_a_month_counts_where_it_was_reserved(place: Place) -> None:
    async def scenario(db: Database) -> None:
        time = Time(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))
        tenant = await tenant_with(db)
        async with db.write() as session:
            await set_pay_as_you_go(session, tenant.organisation_id, 1000, at=time.now)
        async with metering(db, time) as meter:
            metered = await meter.hold(ask_of(tenant, prompt=100, most=10))
            time.advance(timedelta(seconds=2))
            metered.count(100, 0, 10)
            other = await meter.hold(ask_of(tenant, prompt=1000, most=0))  # from the new month's lot, made for it
            await metered.settle("done")
            await other.settle("done")
        async with db.read() as session:
            counts = await session.execute(
                select(MonthCount.month, MonthCount.spend, MonthCount.tokens)
                .where(MonthCount.scope == "organisation")
                .order_by(MonthCount.month)
            )
            assert [tuple(count) for count in counts] == [("2026-11", 120, 110), ("2026-12", 1000, 1000)]
        assert [(lot.name[-7:], lot.balance) for lot in await _lots(db)] == [("2026-11", 880), ("2026-12", 0)]
        await assert_sound(db)

    place.run(scenario)


# ── counts, and deaths ──────────────────────────────────────────────────────────────────────────────────────────────


def test_counts_are_kept_within_a_second(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as meter:
            metered = [await meter.hold(ask_of(tenant)) for _ in range(3)]
            for round_ in (1, 2):
                for number, one in enumerate(metered):
                    one.count(90, 10, 10 * round_ + number)
                expected = {one.id: (90, 10, 10 * round_ + number) for number, one in enumerate(metered)}
                async with asyncio.timeout(1):
                    while {
                        h.id: (h.prompt_tokens, h.cached_tokens, h.output_tokens) for h in await _holds(db)
                    } != expected:
                        await asyncio.sleep(0.01)

    place.run(scenario)


def test_what_a_dead_process_held_is_settled_at_what_it_kept(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        dying, living = Meter(db), Meter(db)
        await dying.open()
        await living.open()
        counted, uncounted, alive = [await meter.hold(ask_of(tenant)) for meter in (dying, dying, living)]
        counted.count(90, 0, 7)
        async with asyncio.timeout(5):
            while sum(hold.output_tokens for hold in await _holds(db)) != 7:
                await asyncio.sleep(0.01)
        counted.count(90, 0, 8)
        await kill(dying)
        heirs = [Meter(db), Meter(db)]
        await asyncio.gather(*(heir.open() for heir in heirs))
        usage = {row.id: row for row in await _usage(db)}
        assert usage.keys() == {counted.id, uncounted.id}
        assert {row.outcome for row in usage.values()} == {"interrupted"}
        row = usage[counted.id]
        assert (row.prompt_tokens, row.output_tokens, row.amount, row.is_estimate) == (90, 7, 104, False)
        row = usage[uncounted.id]  # what was accepted is owed: its first byte may have gone out
        assert (row.prompt_tokens, row.output_tokens, row.amount, row.is_estimate) == (100, 0, 100, True)
        assert [hold.id for hold in await _holds(db)] == [alive.id]
        await alive.settle("done")
        for meter in (*heirs, living):
            await meter.close()
        await assert_sound(db)

    place.run(scenario)
    assert "what a server that was killed left, at what it had kept last: 2 requests, 204 nano-euros" in caplog.text


def test_a_running_process_finds_the_dead(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tramontane.billing.meter._UPKEEP", 0.05)

    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as living:
            dying = Meter(db)
            await dying.open()
            await dying.hold(ask_of(tenant))
            kept = await living.hold(ask_of(tenant))
            await kill(dying)
            async with asyncio.timeout(10):
                while len(await _holds(db)) != 1:
                    await asyncio.sleep(0.01)
            await kept.settle("done")
        assert sorted(row.outcome for row in await _usage(db)) == ["done", "interrupted"]

    place.run(scenario)


def test_one_that_was_taken_for_dead_charges_nothing_twice(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as meter:
            metered = await meter.hold(ask_of(tenant))
            await meter._instance.close()  # as when a server that is restarted loses it
            async with metering(db):
                metered.count(100, 0, 50)
                assert await metered.settle("done") == 100
        assert [row.amount for row in await _usage(db)] == [100]
        await assert_sound(db)

    place.run(scenario)
    assert "was charged before, at 100 nano-euros" in caplog.text


def test_one_bad_request_spoils_no_other(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        nobody = Tenant("0" * 32, "0" * 32, ("0" * 32,), ("0" * 32,))
        free = Price("free", 0, 0, 0)
        async with metering(db) as meter:
            before = await meter.hold(ask_of(tenant))
            twice = ask_of(tenant)
            first = await meter.hold(twice)
            before.settle("done")
            asks = [*(ask_of(tenant) for _ in range(5)), ask_of(nobody, price=free), twice]
            found = await asyncio.gather(*(meter.hold(ask) for ask in asks), return_exceptions=True)
            assert [isinstance(one, Exception) for one in found] == [False] * 5 + [True] * 2
            await first.settle("done")
        assert len(await _usage(db)) == 7
        assert not await _holds(db)
        await assert_sound(db)

    place.run(scenario)


def test_many_requests_share_a_transaction(place: Place) -> None:
    async def scenario(db: Database) -> int:
        tenant = await tenant_with(db, EURO)
        transactions = 0
        transact = db.transact

        async def counting(function):  # type: ignore[no-untyped-def]
            nonlocal transactions
            transactions += 1
            return await transact(function)

        async with metering(db) as meter:
            db.transact = counting  # type: ignore[method-assign]
            held = await asyncio.gather(*(meter.hold(ask_of(tenant)) for _ in range(200)))
            await asyncio.gather(*(metered.settle("done") for metered in held))
        await assert_sound(db)
        async with db.read() as session:
            assert await session.scalar(select(func.count()).select_from(UsageRow)) == 200
        return transactions

    assert place.run(scenario) <= 8


def test_a_server_that_was_restarted_costs_nobody_a_request(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_with(db, EURO)
        async with metering(db) as meter:
            metered = await meter.hold(ask_of(tenant))
            async with db.write() as session:
                await session.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            other = await meter.hold(ask_of(tenant))
            await metered.settle("done")
            await meter._instance.check()
            async with metering(db):  # does not take it for dead
                await other.settle("done")
        assert [row.outcome for row in await _usage(db)] == ["done", "done"]

    postgresql_place(tmp_path).run(scenario)
