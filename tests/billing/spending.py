"""Money that is spent by the real ledger, at whatever moment a test says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection

from tests.billing.tenants import Tenant
from tramontane.billing.ledger import Work, carry_out
from tramontane.billing.lots import create_lot, end_lots
from tramontane.billing.requests import Ask, Counts, Ending, Granted
from tramontane.billing.tables import Lot
from tramontane.catalogue.prices import Price
from tramontane.storage.base import new_id
from tramontane.storage.database import Database

T = TypeVar("T")

EURO = 10**9
PRICE = Price("price", input=400_000_000, cached_input=100_000_000, output=2_000_000_003)
FREE = Price("free", 0, 0, 0)


def moment(month: int, day: int = 1, hour: int = 0, year: int = 2025) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


async def in_ledger(db: Database, work: Callable[[Connection], T]) -> T:
    async with db.write() as session:
        return await session.run_sync(lambda plain: work(plain.connection()))


async def hold(
    db: Database,
    tenant: Tenant,
    at: datetime,
    *,
    workspace: int = 0,
    browser: bool = False,
    model: str = "small",
    prompt: int = 100,
    most: int = 100,
    price: Price = PRICE,
) -> str | None:
    """The hold's id; None where it was refused."""
    principal = tenant.principal(workspace, browser=browser)
    ask = Ask(new_id(), principal, "/v1/chat/completions", model, "offering", price, prompt, most)
    done = await in_ledger(db, lambda connection: carry_out(connection, Work(last_tries=[ask]), "test", at))
    return ask.request_id if isinstance(done.last_verdicts[0], Granted) else None


async def settle(db: Database, hold_id: str, at: datetime, prompt: int = 100, cached: int = 0, output: int = 50) -> int:
    """What was charged."""
    ending = Ending(hold_id, Counts(prompt, cached, output), "done")
    done = await in_ledger(db, lambda connection: carry_out(connection, Work(endings=[ending]), "test", at))
    return done.charged[hold_id] or 0


async def spend(
    db: Database,
    tenant: Tenant,
    at: datetime,
    *,
    workspace: int = 0,
    browser: bool = False,
    model: str = "small",
    prompt: int = 100,
    cached: int = 0,
    output: int = 50,
    price: Price = PRICE,
) -> int:
    """A request that is served at this moment; what it cost."""
    held = await hold(
        db, tenant, at, workspace=workspace, browser=browser, model=model, prompt=prompt, most=output, price=price
    )
    assert held is not None
    return await settle(db, held, at, prompt, cached, output)


async def buy(
    db: Database,
    tenant: Tenant,
    at: datetime,
    amount: int = 100 * EURO,
    ends_at: datetime | None = None,
    models: list[str] | None = None,
) -> Lot:
    """Credit, or with an end a commitment."""
    kind = "credit" if ends_at is None else "commitment"
    async with db.write() as session:
        return await create_lot(
            session,
            organisation_id=tenant.organisation_id,
            kind=kind,
            name=f"{kind} of {at:%d %B}",
            amount=amount,
            ends_at=ends_at,
            models=models,
            at=at,
        )


async def upkeep(db: Database, at: datetime) -> None:
    """Ends the lots whose time is over."""
    await in_ledger(db, lambda connection: end_lots(connection, at))
