"""A lot's curve goes through its true balances, however many charges it had, and the forecast follows the last days."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.billing.million import bought_at, fill
from tests.billing.spending import EURO, buy, hold, spend
from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.billing.lot_views import Detail, list_lots, lot_detail, overview
from tramontane.billing.lots import cancel_lot, set_pay_as_you_go
from tramontane.billing.tables import Lot, UsageRow
from tramontane.storage.base import now
from tramontane.storage.database import Database

REQUESTS = 3_000


async def detail(db: Database, lot: Lot) -> Detail:
    async with db.read() as session:
        return await lot_detail(session, lot.organisation_id, lot.id)


async def tenant_of(db: Database) -> Tenant:
    async with db.write() as session:
        return await add_tenant(session)


def test_few_movements_are_all_shown(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, start = await tenant_of(db), now() - timedelta(hours=5)
        lot = await buy(db, tenant, start, EURO)
        costs = [await spend(db, tenant, start + timedelta(hours=hour)) for hour in (1, 2, 3)]
        shown = await detail(db, lot)
        balances = [EURO, EURO - costs[0], EURO - sum(costs[:2]), EURO - sum(costs), EURO - sum(costs)]
        assert [point.balance for point in shown.curve] == balances
        assert [point.at for point in shown.curve[:2]] == [start, start + timedelta(hours=1)]
        assert shown.pace == sum(costs)  # a lot of five hours has no slower pace than that of a day
        assert shown.runs_out_at is not None
        expected = now() + timedelta(days=(EURO - sum(costs)) / sum(costs))
        assert abs(shown.runs_out_at - expected) < timedelta(minutes=1)
        async with db.write() as session:
            await cancel_lot(session, lot.id)
        assert ((await detail(db, lot)).curve[-1].balance, (await detail(db, lot)).runs_out_at) == (0, None)

    place.run(scenario)


def test_many_movements_are_thinned_to_true_balances(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_of(db)
        lot = await buy(db, tenant, bought_at(), EURO, now() + timedelta(days=3_000))
        await fill(db, tenant, lot.id, REQUESTS)
        shown = await detail(db, lot)
        async with db.read() as session:
            charges = (await session.execute(select(UsageRow.settled_at, UsageRow.amount))).all()
        assert 100 < len(shown.curve) <= 200
        for point in shown.curve:
            assert point.balance == EURO - sum(amount for at, amount in charges if at < point.at)
        assert [point.at for point in shown.curve] == sorted({point.at for point in shown.curve})
        assert shown.curve[-1].balance == shown.lot.balance == EURO - sum(amount for _, amount in charges)
        lately = sum(amount for at, amount in charges if at >= now() - timedelta(days=7))
        assert shown.pace == pytest.approx(lately / 7, rel=0.02)  # whole hours
        assert shown.runs_out_at is None  # not before its end

    place.run(scenario)


def test_what_there_is_to_spend(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant = await tenant_of(db)
        start = now() - timedelta(hours=1)
        credit = await buy(db, tenant, start, 10_000_000)
        late = await buy(db, tenant, start, 20_000_000, now() + timedelta(days=60))
        soon = await buy(db, tenant, start, 30_000_000, now() + timedelta(days=30))
        gone = await buy(db, tenant, start, 40_000_000, now() + timedelta(days=1))
        async with db.write() as session:
            await cancel_lot(session, gone.id)
            await set_pay_as_you_go(session, tenant.organisation_id, 50_000_000)
        cost = await spend(db, tenant, now())
        assert await hold(db, tenant, now()) is not None
        async with db.read() as session:
            found = await overview(session, tenant.organisation_id)
            listed = await list_lots(session, tenant.organisation_id)
        assert [lot.id for lot in listed[:3]] == [soon.id, late.id, credit.id]
        assert (listed[3].kind, listed[4].id) == ("pay_as_you_go", gone.id)
        assert [lot.id for lot in found.lots] == [lot.id for lot in listed[:4]]
        assert found.held > 0
        assert found.available == 110_000_000 - cost - found.held
        assert found.month_spend == cost
        assert (found.pay_as_you_go_cap, found.pay_as_you_go_spend) == (50_000_000, 0)

    place.run(scenario)
