"""Lots are bought, cancelled and ended, and every nano-euro of them is somewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.billing.meters import EURO, Time, ask_of, metering
from tests.billing.soundness import assert_sound
from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.accounts.settings import change_settings
from tramontane.billing.instances import Instance
from tramontane.billing.lots import cancel_lot, create_lot, end_lots, grant_free, set_pay_as_you_go
from tramontane.billing.month_lots import open_month_lots
from tramontane.billing.tables import Lot, Posting, Transfer
from tramontane.billing.upkeep import Upkeep
from tramontane.errors import ConflictError, InvalidRequestError, MissingError, PaymentRequiredError
from tramontane.storage.database import Database

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)


async def _buy(db: Database, tenant: Tenant, kind: Any = "credit", amount: int = EURO, **more: Any) -> str:
    async with db.write() as session:
        lot = await create_lot(
            session,
            organisation_id=tenant.organisation_id,
            kind=kind,
            name=kind,
            amount=amount,
            at=more.pop("at", NOW),
            **more,
        )
        return lot.id


async def _cancel(db: Database, lot_id: str, at: datetime = NOW) -> Lot:
    async with db.write() as session:
        return await cancel_lot(session, lot_id, at=at)


async def _pay_later(db: Database, tenant: Tenant, cap: int | None, at: datetime = NOW) -> None:
    async with db.write() as session:
        await set_pay_as_you_go(session, tenant.organisation_id, cap, at=at)


async def _tenant(db: Database) -> Tenant:
    async with db.write() as session:
        return await add_tenant(session)


async def _lot(db: Database, lot_id: str) -> Lot:
    async with db.read() as session:
        return (await session.scalars(select(Lot).where(Lot.id == lot_id))).one()


async def _only_lot(db: Database) -> Lot:
    async with db.read() as session:
        return (await session.scalars(select(Lot))).one()


async def _movements(db: Database) -> list[tuple[str, str, int]]:
    """Of the house's accounts, in the order in which they were written."""
    async with db.read() as session:
        rows = await session.execute(
            select(Transfer.kind, Posting.account, Posting.amount).join(Transfer).order_by(Posting.number)
        )
        return [(kind, account, amount) for kind, account, amount in rows if len(account) < 32]


async def _spend(db: Database, time: Time, tenant: Tenant, tokens: int) -> None:
    async with metering(db, time) as meter:
        metered = await meter.hold(ask_of(tenant, prompt=tokens, most=0))
        assert await metered.settle("done") == tokens


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("kind", {"kind": "free"}),
        ("kind", {"kind": "gift"}),
        ("amount", {"amount": 0}),
        ("amount", {"amount": -5}),
        ("amount", {"amount": 9 * 10**15 + 1}),
        ("ends_at", {"kind": "commitment"}),
        ("ends_at", {"ends_at": NOW}),
        ("ends_at", {"starts_at": LATER, "ends_at": LATER}),
        ("ends_at", {"ends_at": datetime(2027, 1, 1)}),
        ("starts_at", {"starts_at": datetime(2027, 1, 1)}),
        ("models", {"models": []}),
    ],
)
def test_what_is_no_lot_is_refused_by_its_field(place: Place, field: str, wrong: dict[str, Any]) -> None:
    async def scenario(db: Database) -> None:
        tenant = await _tenant(db)
        with pytest.raises(InvalidRequestError) as refusal:
            await _buy(db, tenant, **wrong)
        assert refusal.value.field == field
        async with db.read() as session:
            assert not (await session.scalars(select(Lot))).all()

    place.run(scenario)


def test_only_who_exists_has_lots(place: Place) -> None:
    async def scenario(db: Database) -> None:
        with pytest.raises(MissingError):
            await _buy(db, Tenant("0" * 32, "", (), ()))
        with pytest.raises(MissingError):
            await _cancel(db, "0" * 32)

    place.run(scenario)


def test_the_rest_of_a_lot_goes_where_its_kind_says(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, time = await _tenant(db), Time(NOW)
        await _buy(db, tenant, "commitment", 100, ends_at=LATER)
        await _spend(db, time, tenant, 30)
        await _buy(db, tenant, "credit", 50, ends_at=LATER)
        await db.transact(lambda connection: end_lots(connection, LATER - timedelta(seconds=1)))
        assert await db.transact(lambda connection: end_lots(connection, LATER)) == 2
        assert await db.transact(lambda connection: end_lots(connection, LATER)) == 0
        assert await _movements(db) == [
            ("top_up", "receivable", -100), ("charge", "revenue", 30), ("top_up", "funding", -50),
            ("shortfall", "shortfall", 70), ("expiry", "breakage", 50),
        ]  # fmt: skip
        await assert_sound(db)

    place.run(scenario)


def test_a_spent_lot_is_completed_and_one_over_is_expired(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, time = await _tenant(db), Time(NOW)
        spent = await _buy(db, tenant, "commitment", 30, ends_at=LATER)
        await _spend(db, time, tenant, 30)
        over = await _buy(db, tenant, "credit", 30, ends_at=LATER)
        await db.transact(lambda connection: end_lots(connection, NOW))
        assert [(await _lot(db, one)).state for one in (spent, over)] == ["completed", "active"]
        await db.transact(lambda connection: end_lots(connection, LATER))
        assert (await _lot(db, over)).state == "expired"

    place.run(scenario)


def test_a_lot_past_its_end_is_drawn_on_by_whom_it_was_promised_alone(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, time = await _tenant(db), Time(NOW)
        lot_id = await _buy(db, tenant, "credit", 100, ends_at=LATER)
        async with metering(db, time) as meter:
            metered = await meter.hold(ask_of(tenant, prompt=60, most=0))
            time.advance(timedelta(days=31))
            with pytest.raises(PaymentRequiredError):
                await meter.hold(ask_of(tenant, prompt=10, most=0))
            assert await db.transact(lambda connection: end_lots(connection, time.now)) == 0
            metered.count(50, 0, 0)
            assert await metered.settle("done") == 50
            assert await db.transact(lambda connection: end_lots(connection, time.now)) == 1
        lot = await _lot(db, lot_id)
        assert (lot.state, lot.balance) == ("expired", 0)
        assert (await _movements(db))[-1] == ("expiry", "breakage", 50)
        await assert_sound(db)

    place.run(scenario)


def test_a_cancelled_lot_gives_back_what_is_free_and_then_what_is_released(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, time = await _tenant(db), Time(NOW)
        lot_id = await _buy(db, tenant, "credit", 100)
        async with metering(db, time) as meter:
            metered = await meter.hold(ask_of(tenant, prompt=60, most=0))
            cancelled = await _cancel(db, lot_id)
            assert (cancelled.state, cancelled.balance, cancelled.held) == ("cancelled", 60, 60)
            with pytest.raises(ConflictError, match="cancelled already"):
                await _cancel(db, lot_id)
            with pytest.raises(PaymentRequiredError):
                await meter.hold(ask_of(tenant, prompt=10, most=0))
            metered.count(20, 0, 0)
            await metered.settle("done")
            await db.transact(lambda connection: end_lots(connection, time.now))
        assert await _movements(db) == [
            ("top_up", "funding", -100), ("cancellation", "funding", 40), ("charge", "revenue", 20),
            ("cancellation", "funding", 40),
        ]  # fmt: skip
        await assert_sound(db)

    place.run(scenario)


# ── pay as you go ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cap_of_this_month_changes_at_once(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, time = await _tenant(db), Time(NOW)
        await _pay_later(db, tenant, 100)
        async with metering(db, time) as meter:
            metered = await meter.hold(ask_of(tenant, prompt=60, most=0))
            await _pay_later(db, tenant, 150)
            await _pay_later(db, tenant, 70)
            with pytest.raises(InvalidRequestError, match=r"0\.00000006 € are spent already or held") as refusal:
                await _pay_later(db, tenant, 59)
            assert refusal.value.field == "monthly_cap"
            await _pay_later(db, tenant, 60)
            await metered.settle("done")
        lot = await _only_lot(db)
        assert (lot.amount, lot.balance, lot.state) == (60, 0, "active")
        assert await _movements(db) == [
            ("top_up", "receivable", -100), ("top_up", "receivable", -50), ("return", "receivable", 80),
            ("return", "receivable", 10), ("charge", "revenue", 60),
        ]  # fmt: skip
        await assert_sound(db)

    place.run(scenario)


def test_pay_as_you_go_ends_and_comes_back_within_a_month(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, time = await _tenant(db), Time(NOW)
        await _pay_later(db, tenant, 100)
        await _spend(db, time, tenant, 30)
        await _pay_later(db, tenant, None)
        await _pay_later(db, tenant, None)
        with pytest.raises(PaymentRequiredError):
            await _spend(db, time, tenant, 1)
        await _pay_later(db, tenant, 50)  # of which 30 are spent
        await _spend(db, time, tenant, 20)
        with pytest.raises(PaymentRequiredError):
            await _spend(db, time, tenant, 1)
        await assert_sound(db)

    place.run(scenario)


def test_each_month_has_its_own(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, time = await _tenant(db), Time(NOW)
        await _pay_later(db, tenant, 100)
        await _spend(db, time, tenant, 30)
        time.advance(timedelta(days=15))
        await _spend(db, time, tenant, 100)
        await db.transact(lambda connection: end_lots(connection, time.now))
        assert await _movements(db) == [
            ("top_up", "receivable", -100), ("charge", "revenue", 30), ("return", "receivable", 70),
            ("top_up", "receivable", -100), ("charge", "revenue", 100),
        ]  # fmt: skip
        async with db.read() as session:
            lot_id = (await session.scalars(select(Lot.id).where(Lot.state == "active"))).one()
        with pytest.raises(ConflictError, match="end pay-as-you-go instead"):
            await _cancel(db, lot_id)
        await assert_sound(db)

    place.run(scenario)


@pytest.mark.parametrize("cap", [0, -1, 9 * 10**15 + 1])
def test_a_cap_has_to_be_an_amount(place: Place, cap: int) -> None:
    async def scenario(db: Database) -> None:
        with pytest.raises(InvalidRequestError) as refusal:
            await _pay_later(db, await _tenant(db), cap)
        assert refusal.value.field == "monthly_cap"

    place.run(scenario)


# ── free quotas ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_free_quota_comes_back_each_month_until_it_is_cancelled(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, time = await _tenant(db), Time(NOW)
        async with db.write() as session:
            await change_settings(session, {"free_monthly_nano_euros": 80})
            await grant_free(session, tenant.organisation_id, 100, at=NOW)
            await grant_free(session, tenant.organisation_id, 100, at=NOW)
        await _spend(db, time, tenant, 90)
        time.advance(timedelta(days=15))
        await _spend(db, time, tenant, 80)
        with pytest.raises(PaymentRequiredError):
            await _spend(db, time, tenant, 1)
        await db.transact(lambda connection: end_lots(connection, time.now))
        time.advance(timedelta(days=31))
        assert len(await db.transact(lambda connection: open_month_lots(connection, time.now))) == 1
        assert await db.transact(lambda connection: open_month_lots(connection, time.now)) == []
        async with db.read() as session:
            newest = (await session.scalars(select(Lot.id).order_by(Lot.id.desc()))).first()
        assert newest is not None
        await _cancel(db, newest, time.now)
        time.advance(timedelta(days=31))
        assert await db.transact(lambda connection: open_month_lots(connection, time.now)) == []
        await assert_sound(db)

    place.run(scenario)


def test_a_months_lots_whose_making_was_undone_are_made_the_next_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(db: Database) -> None:
        tenant = await _tenant(db)
        time = Time(NOW)
        await _pay_later(db, tenant, EURO)
        upkeep = Upkeep(db, Instance(db), time.clock())
        await upkeep.begin()
        time.advance(timedelta(days=30))

        def lost(*_: object) -> None:
            raise OSError("lost")

        with monkeypatch.context() as broken:
            broken.setattr("tramontane.billing.upkeep.find_dead", lost)
            with pytest.raises(OSError, match="lost"):
                await upkeep.go_on()
        await upkeep.go_on()
        async with db.read() as session:
            names = (await session.scalars(select(Lot.name).where(Lot.state == "active"))).all()
        assert names == ["Pay as you go 2026-12"]

    place.run(scenario)
