"""Meters at work, and what happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from tests.billing.tenants import Tenant, add_tenant
from tramontane.billing.clock import Clock
from tramontane.billing.instances import is_dead
from tramontane.billing.lots import create_lot
from tramontane.billing.meter import Meter
from tramontane.billing.rates import Cap
from tramontane.billing.requests import Ask
from tramontane.catalogue.prices import Price
from tramontane.storage.base import new_id
from tramontane.storage.database import Database

EURO = 10**9
PRICE = Price("price", input=1_000_000, cached_input=100_000, output=2_000_000)
"""A token of the prompt costs 1 nano-euro, a token of output 2; ten cached ones 1."""


class Time:
    """A clock that goes only as it is told, and never jumps."""

    def __init__(self, at: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)) -> None:
        self._start = self.now = at

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: (self.now - self._start).total_seconds())

    def advance(self, by: timedelta) -> None:
        self.now += by


def ask_of(
    tenant: Tenant,
    *,
    prompt: int = 100,
    most: int = 100,
    price: Price = PRICE,
    model: str = "small",
    caps: Sequence[Cap] = (),
    workspace: int = 0,
    request_id: str | None = None,
) -> Ask:
    return Ask(
        request_id or new_id(), tenant.principal(workspace), "/v1/chat/completions", model, "offering", price, prompt,
        most, caps,
    )  # fmt: skip


@asynccontextmanager
async def metering(db: Database, time: Time | None = None) -> AsyncIterator[Meter]:
    """An open meter; closed in the end."""
    meter = Meter(db, time.clock() if time else None)
    await meter.open()
    try:
        yield meter
    finally:
        await meter.close()


async def kill(meter: Meter) -> None:
    """As `kill -9` does, but between two transactions: nothing is settled, and its lock is gone."""
    meter._is_closing = True
    for task in meter._tasks:
        task.cancel()
    await asyncio.wait(meter._tasks)
    await meter._instance.close()
    database, dead = meter._database, meter._instance.id
    while not await database.transact(lambda connection: is_dead(connection, database.file, dead)):
        await asyncio.sleep(0.01)  # PostgreSQL hears of it a moment later


async def tenant_with(db: Database, *credits: int, workspaces: int = 1) -> Tenant:
    """A new organisation, with credit of these amounts."""
    async with db.write() as session:
        tenant = await add_tenant(session, workspaces=workspaces)
        for amount in credits:
            await create_lot(
                session, organisation_id=tenant.organisation_id, kind="credit", name="Credit", amount=amount
            )
    return tenant
