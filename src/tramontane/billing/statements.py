"""Monthly statements: what was used, what became of each lot, and what is to be paid, to the last nano-euro.

They are computed from the ledger whenever they are asked for. Nothing of a month changes once it is over: whatever
comes later is dated later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Select, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.tables import Organisation, Workspace
from tramontane.billing.comma_separated import euros, to_csv
from tramontane.billing.months import beginning, first_day, following, is_month, month_of
from tramontane.billing.tables import Lot, LotHour, LotKind, Transfer, UsageDay
from tramontane.errors import MissingError
from tramontane.storage.base import now

_PAID_LATER: tuple[LotKind, ...] = ("commitment", "pay_as_you_go")


@dataclass(frozen=True)
class Line:
    """What one model cost in one workspace."""

    workspace_id: str
    workspace_name: str
    model: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    amount: int


@dataclass(frozen=True)
class LotLine:
    """What happened to a lot: opening + added - charged - expired = closing. `expired` is also what was given back."""

    lot_id: str
    kind: LotKind
    name: str
    opening: int
    added: int
    charged: int
    expired: int
    shortfall: int  # of `expired`: what is charged because a commitment was not met

    @property
    def closing(self) -> int:
        """At the end of the month, or now."""
        return self.opening + self.added - self.charged - self.expired


@dataclass(frozen=True)
class Statement:
    """A month's bill."""

    organisation_id: str
    organisation: str
    month: str
    is_final: bool
    lines: list[Line]
    lots: list[LotLine]

    @property
    def number(self) -> str:
        """By which it is referred to."""
        return f"{self.month}-{self.organisation_id[-8:]}"

    @property
    def charged(self) -> int:
        """For all that was used, whatever paid for it."""
        return sum(line.amount for line in self.lines)

    @property
    def shortfall(self) -> int:
        """For commitments that were not met."""
        return sum(lot.shortfall for lot in self.lots)

    @property
    def due(self) -> int:
        """To be paid: what was charged and not paid before, and shortfalls."""
        return sum(lot.charged for lot in self.lots if lot.kind in _PAID_LATER) + self.shortfall


async def list_months(session: AsyncSession, organisation_id: str) -> list[str]:
    """From the first in which anything happened to this one, the newest first."""
    transfer = await session.scalar(select(func.min(Transfer.at)).where(Transfer.organisation_id == organisation_id))
    day = await session.scalar(select(func.min(UsageDay.day)).where(UsageDay.organisation_id == organisation_id))
    firsts = [month_of(transfer)] if transfer is not None else []
    firsts += [f"{day:%Y-%m}"] if day is not None else []
    months, this = [], month_of(now())
    month = min(firsts, default=None)
    while month is not None and month <= this:
        months.append(month)
        month = following(month)
    return months[::-1]


async def read_statement(session: AsyncSession, organisation_id: str, month: str) -> Statement:
    """The month's; raises MissingError where it has none. To be read in one transaction, so that it adds up."""
    if not is_month(month) or month not in await list_months(session, organisation_id):
        raise MissingError("There is no statement of this month.")
    organisation = await session.get_one(Organisation, organisation_id)
    statement = Statement(
        organisation_id,
        organisation.name,
        month,
        is_final=month < month_of(now()),
        lines=await _lines(session, organisation_id, month),
        lots=await _lots(session, organisation_id, month),
    )
    if statement.charged != sum(lot.charged for lot in statement.lots):
        raise AssertionError(f"the usage and the ledger of {organisation_id} disagree on {month}")
    return statement


async def _lines(session: AsyncSession, organisation_id: str, month: str) -> list[Line]:
    counts = (
        cast(func.sum(column), BigInteger)
        for column in (
            UsageDay.requests, UsageDay.prompt_tokens, UsageDay.cached_tokens, UsageDay.output_tokens, UsageDay.amount,
        )
    )  # fmt: skip
    query: Select[*tuple[Any, ...]] = (
        select(UsageDay.workspace_id, Workspace.name, UsageDay.model, *counts)
        .join(Workspace, Workspace.id == UsageDay.workspace_id)
        .where(UsageDay.organisation_id == organisation_id)
        .where(UsageDay.day >= first_day(month), UsageDay.day < first_day(following(month)))
        .group_by(UsageDay.workspace_id, Workspace.name, UsageDay.model)
        .order_by(Workspace.name, UsageDay.workspace_id, UsageDay.model)
    )
    return [Line(*row) for row in await session.execute(query)]


async def _lots(session: AsyncSession, organisation_id: str, month: str) -> list[LotLine]:
    """Those that had something in the month, or something happened to."""
    in_month = LotHour.hour >= beginning(month)
    before = func.sum(case((in_month, 0), else_=LotHour.amount))
    within = func.sum(case((in_month, LotHour.amount), else_=0))
    query = (
        select(LotHour.lot_id, LotHour.kind, cast(before, BigInteger), cast(within, BigInteger))
        .join(Lot, Lot.id == LotHour.lot_id)
        .where(Lot.organisation_id == organisation_id, LotHour.hour < beginning(following(month)))
        .group_by(LotHour.lot_id, LotHour.kind)
    )
    sums: dict[str, dict[str, tuple[int, int]]] = {}
    for lot_id, kind, earlier, amount in await session.execute(query):
        sums.setdefault(lot_id, {})[kind] = (earlier, amount)
    lots = await session.scalars(
        select(Lot).where(Lot.organisation_id == organisation_id).order_by(Lot.starts_at, Lot.id)
    )
    lines = [_lot_line(lot, sums[lot.id]) for lot in lots if lot.id in sums]
    return [line for line in lines if line.opening or any(amount for _, amount in sums[line.lot_id].values())]


def _lot_line(lot: Lot, sums: dict[str, tuple[int, int]]) -> LotLine:
    within = {kind: amount for kind, (_, amount) in sums.items()}
    added, charged = within.pop("top_up", 0), -within.pop("charge", 0)
    return LotLine(
        lot.id,
        lot.kind,
        lot.name,
        opening=sum(earlier for earlier, _ in sums.values()),
        added=added,
        charged=charged,
        expired=-sum(within.values()),
        shortfall=-within.get("shortfall", 0),
    )


# ── as CSV ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def statement_csv(statement: Statement) -> str:
    """Three tables, with an empty row between each: what it is of, its lines, and the lots; then the sums."""
    rows: list[tuple[Any, ...]] = [
        ("statement", statement.number),
        ("organisation", statement.organisation),
        ("organisation_id", statement.organisation_id),
        ("month", statement.month),
        ("is_final", "true" if statement.is_final else "false"),
        ("currency", "EUR"),
        (),
        ("workspace_id", "workspace", "model", "requests", "prompt_tokens", "cached_tokens", "output_tokens", "amount"),
        *(
            (
                line.workspace_id, line.workspace_name, line.model, line.requests, line.prompt_tokens,
                line.cached_tokens, line.output_tokens, euros(line.amount),
            )
            for line in statement.lines
        ),
        (),
        ("lot_id", "kind", "name", "opening", "added", "charged", "expired", "closing"),
        *(
            (
                lot.lot_id, lot.kind, lot.name,
                *map(euros, (lot.opening, lot.added, lot.charged, lot.expired, lot.closing)),
            )
            for lot in statement.lots
        ),
        (),
        ("charged", euros(statement.charged)),
        ("shortfall", euros(statement.shortfall)),
        ("due", euros(statement.due)),
    ]  # fmt: skip
    return to_csv(rows)
