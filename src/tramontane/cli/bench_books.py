"""What the measured server is paid by, and the proof that its ledger was right.

Nothing is free in a measurement: the models have prices, the organisation has prepaid credit, and it, its workspace and
its key have limits of every kind, which are never reached.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.tables import ApiKey, Workspace
from tramontane.billing.limits import set_limit
from tramontane.billing.lots import MOST, create_lot
from tramontane.billing.pricing import in_euros
from tramontane.billing.tables import (
    REVENUE,
    Hold,
    Lot,
    MonthCount,
    Posting,
    Scope,
    Transfer,
    UsageDay,
    UsageRow,
)
from tramontane.catalogue.local import local_offering
from tramontane.catalogue.prices import PriceDraft, set_price
from tramontane.errors import TramontaneError
from tramontane.storage.database import Database

_PRICE = PriceDraft(input=200_000_000, cached_input=50_000_000, output=600_000_000)
_LIMITS = {
    "requests_per_second": 10**6,
    "tokens_per_minute": 10**12,
    "tokens_per_month": 10**15,
    "spend_per_month": MOST,
}
_QUIET_WITHIN = 15.0  # seconds after the last answer

Kind = tuple[str, str]
"""Of usage rows: the model, and how the request ended."""


async def furnish(session: AsyncSession, models: Iterable[str]) -> None:
    """Prices, credit and limits, on a database on which only the first start has worked."""
    key, organisation_id = (
        await session.execute(
            select(ApiKey, Workspace.organisation_id).join(Workspace, Workspace.id == ApiKey.workspace_id)
        )
    ).one()
    for model in models:
        await set_price(session, (await local_offering(session, model)).id, _PRICE)
    await create_lot(session, organisation_id=organisation_id, kind="credit", name="To be measured", amount=MOST)
    scopes: Mapping[Scope, str] = {
        "key": key.id,
        "workspace": key.workspace_id,
        "organisation": organisation_id,
    }
    for scope, scope_id in scopes.items():
        await set_limit(session, organisation_id, scope, scope_id, _LIMITS)


@dataclass(frozen=True, slots=True)
class Books:
    """What a ledger says. Money in nano-euros."""

    rows: list[tuple[str, str, int]]  # usage rows: model, how the request ended, how many
    unpaid: int  # usage rows with output that cost nothing
    holds: int
    reserved: int  # by monthly counts: tokens and money together
    used: int  # by the usage rows
    used_by_days: int
    spent_by_months: int  # of the organisation
    charged: int  # by the postings: what went into revenue
    drawn: int  # what lots have lost
    imbalance: int  # the sum of all postings

    @property
    def num_rows(self) -> int:
        """All usage rows."""
        return sum(number for _, _, number in self.rows)

    def sentence(self) -> str:
        """For whoever reads the table."""
        return (
            f"The ledger: {self.num_rows:,} usage rows for as many requests, no hold left over, "
            f"{in_euros(self.charged)} charged, which is what the rows say and what the credit lost."
        )


async def read_books(database: Database) -> dict[str, Any]:
    """The books, once no request is held for any more; or as they are, where that does not come."""
    deadline = time.monotonic() + _QUIET_WITHIN
    while True:
        async with database.read() as session:
            holds = await session.scalar(select(func.count()).select_from(Hold)) or 0
            if not holds or time.monotonic() > deadline:
                return asdict(await _books(session, holds))
        await asyncio.sleep(0.05)


async def _books(session: AsyncSession, holds: int) -> Books:
    async def total(column: Any, *where: Any) -> int:
        return int(await session.scalar(select(func.coalesce(func.sum(column), 0)).where(*where)) or 0)

    rows = await session.execute(
        select(UsageRow.model, UsageRow.outcome, func.count()).group_by(UsageRow.model, UsageRow.outcome)
    )
    unpaid = select(func.count()).where(UsageRow.output_tokens > 0, UsageRow.amount == 0)
    is_charge = Posting.transfer_id.in_(select(Transfer.id).where(Transfer.kind == "charge"))
    return Books(
        rows=[(model, outcome, number) for model, outcome, number in rows],
        unpaid=await session.scalar(unpaid) or 0,
        holds=holds,
        reserved=await total(MonthCount.tokens_reserved + MonthCount.spend_held),
        used=await total(UsageRow.amount),
        used_by_days=await total(UsageDay.amount),
        spent_by_months=await total(MonthCount.spend, MonthCount.scope == "organisation"),
        charged=await total(Posting.amount, Posting.account == REVENUE, is_charge),
        drawn=await total(Lot.amount - Lot.balance),
        imbalance=await total(Posting.amount),
    )


def check(found: Mapping[str, Any], expected: Mapping[Kind, tuple[int, int]]) -> Books:
    """The books that a server told, if they are right; raises TramontaneError where they are not.

    `expected`: how many usage rows of each kind there are at least and at most; of other kinds there is none.
    """
    books = Books(**{**found, "rows": [tuple(row) for row in found["rows"]]})
    numbers = {(model, outcome): number for model, outcome, number in books.rows}
    wrong = []
    for kind in sorted(numbers.keys() | expected.keys()):
        least, most = expected.get(kind, (0, 0))
        if not least <= numbers.get(kind, 0) <= most:
            model, outcome = kind
            wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
            wrong.append(f"{numbers.get(kind, 0):,} usage rows of {model} with the outcome {outcome}, not {wanted}")
    nothing = {
        "holds left over": books.holds,
        "still reserved by monthly counts": books.reserved,
        "answers that cost nothing": books.unpaid,
        "nano-euros by which the postings miss zero": books.imbalance,
    }
    wrong += [f"{value:,} {what}" for what, value in nothing.items() if value]
    amounts = {
        "the days": books.used_by_days,
        "the months": books.spent_by_months,
        "the postings": books.charged,
        "the lots": books.drawn,
    }
    wrong += [
        f"{amount:,} nano-euros by {whom}, and {books.used:,} by the usage rows"
        for whom, amount in amounts.items()
        if amount != books.used
    ]
    if wrong:
        raise TramontaneError(f"The measured server's ledger is wrong: {'; '.join(wrong)}.")
    return books
