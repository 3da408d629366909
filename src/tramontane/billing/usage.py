"""What was used: sums from `usage_days`, which stay quick however many requests there were, and the requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, Subquery, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.tables import ApiKey, Workspace
from tramontane.billing.comma_separated import euros, to_csv
from tramontane.billing.tables import UsageDay, UsageRow
from tramontane.errors import InvalidRequestError
from tramontane.storage.base import now
from tramontane.storage.cursors import comes_after, cursor_of
from tramontane.storage.database import Database

By = Literal["model", "key", "workspace", "day"]

BROWSER = "browser"
"""What stands for a key's name where there was none; its id is empty."""
THE_REST = "*"
"""The group of all that have no line of their own in a chart."""

_USUAL_DAYS, _MOST_DAYS = 30, 400
_YEARS = range(2000, 3000)  # that a report may be of
_IN_A_CHART = 10  # groups
_AT_ONCE = 1_000  # rows of an export in memory
_COUNTS = ("requests", "prompt_tokens", "cached_tokens", "output_tokens", "amount")


@dataclass(frozen=True)
class Filters:
    """None: all. A `key_id` that is empty: what was asked in a browser."""

    model: str | None = None
    key_id: str | None = None
    workspace_id: str | None = None

    def on(self, table: type[UsageDay] | type[UsageRow], organisation_id: str) -> list[ColumnElement[bool]]:
        """The organisation's rows that pass."""
        found = [table.organisation_id == organisation_id]
        if self.model is not None:
            found.append(table.model == self.model)
        if self.workspace_id is not None:
            found.append(table.workspace_id == self.workspace_id)
        if self.key_id is not None:
            no_key = UsageDay.key_id == "" if table is UsageDay else UsageRow.key_id.is_(None)
            found.append(table.key_id == self.key_id if self.key_id else no_key)
        return found


@dataclass(frozen=True)
class Sums:
    """Of a group, or of a day of one."""

    day: date | None
    group: str
    name: str
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    amount: int = 0


@dataclass(frozen=True)
class Report:
    """`groups` with the dearest first; `days` are of the first groups, and of the rest together."""

    total: Sums
    groups: list[Sums]
    days: list[Sums]


# ── reports ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def period(start: date | None, end: date | None) -> tuple[date, date]:
    """The days from the first to the last, by default the last thirty; raises InvalidRequestError."""
    end = now().date() if end is None else end
    if end.year not in _YEARS:
        raise InvalidRequestError("end", f"end lies outside the years {_YEARS.start} to {_YEARS.stop - 1}.")
    start = end - timedelta(days=_USUAL_DAYS - 1) if start is None else start
    if start > end:
        raise InvalidRequestError("start", "start lies after end: exchange the two.")
    if (end - start).days >= _MOST_DAYS:
        raise InvalidRequestError("start", f"start and end are more than {_MOST_DAYS} days apart: ask in pieces.")
    return start, end


async def report(
    session: AsyncSession, organisation_id: str, start: date, end: date, by: By, filters: Filters
) -> Report:
    """Sums over the days, both included."""
    where = [*filters.on(UsageDay, organisation_id), UsageDay.day >= start, UsageDay.day <= end]
    if by == "day":
        days = [
            Sums(day, day.isoformat(), day.isoformat(), *map(int, counts))
            for day, *counts in await session.execute(_summed(where, UsageDay.day).order_by(UsageDay.day))
        ]
        return Report(_total(days), days, days)
    groups = await _groups(session, where, by)
    names = {sums.group: sums.name for sums in groups[:_IN_A_CHART]}
    days = await _days(session, where, by, names) if names else []
    return Report(_total(groups), groups, days)


async def _groups(session: AsyncSession, where: Sequence[ColumnElement[bool]], by: By) -> list[Sums]:
    sums = _summed(where, _column(by)).subquery()
    group = sums.c[0]
    found = await session.execute(_named(sums, by).order_by(sums.c.amount.desc(), sums.c.requests.desc(), group))
    return [Sums(None, group, BROWSER if name is None else name, *map(int, counts)) for name, group, *counts in found]


async def _days(
    session: AsyncSession, where: Sequence[ColumnElement[bool]], by: By, names: dict[str, str]
) -> list[Sums]:
    column = _column(by)
    group = case((column.in_(list(names)), column), else_=literal(THE_REST)).label("group")
    counted = select(UsageDay.day, group, *(getattr(UsageDay, name) for name in _COUNTS)).where(*where).subquery()
    by_day = (
        select(counted.c.day, counted.c.group, *(func.sum(counted.c[name]) for name in _COUNTS))
        .group_by(counted.c.day, counted.c.group)
        .order_by(counted.c.day, counted.c.group)
    )
    return [
        Sums(day, group, names.get(group, ""), *map(int, counts))  # PostgreSQL's sums are no integers
        for day, group, *counts in await session.execute(by_day)
    ]


def _summed(where: Sequence[ColumnElement[bool]], group: Any) -> Select[Any]:
    sums = (func.sum(getattr(UsageDay, name)).label(name) for name in _COUNTS)
    return select(group, *sums).where(*where).group_by(group)


def _column(by: By) -> Any:
    return {"model": UsageDay.model, "key": UsageDay.key_id, "workspace": UsageDay.workspace_id}[by]


def _named(sums: Subquery, by: By) -> Select[Any]:
    if by == "model":
        return select(sums.c.model, sums)
    table: Any = ApiKey if by == "key" else Workspace
    return select(table.name, sums).outerjoin(table, table.id == sums.c[0])


def _total(groups: Sequence[Sums]) -> Sums:
    return Sums(None, "", "", *(sum(getattr(group, name) for group in groups) for name in _COUNTS))


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def list_requests(
    session: AsyncSession, organisation_id: str, filters: Filters, before: str | None, limit: int
) -> tuple[list[tuple[UsageRow, str]], str | None]:
    """A page with the names of the keys, the newest first, and the cursor of the next; raises InvalidRequestError."""
    listed = (
        select(UsageRow, func.coalesce(ApiKey.name, BROWSER))
        .outerjoin(ApiKey, ApiKey.id == UsageRow.key_id)
        .where(*filters.on(UsageRow, organisation_id))
        .order_by(UsageRow.settled_at.desc(), UsageRow.id.desc())
        .limit(limit + 1)
    )
    if before is not None:
        listed = listed.where(comes_after(before, UsageRow.settled_at, UsageRow.id))
    rows = [(row, name) for row, name in await session.execute(listed)]
    last = rows[limit - 1][0] if len(rows) > limit else None
    return rows[:limit], None if last is None else cursor_of(last.settled_at, last.id)


_HEADINGS = (
    "settled_at", "started_at", "id", "workspace_id", "workspace", "key_id", "key", "user_id", "route", "model",
    "offering_id", "prompt_tokens", "cached_tokens", "output_tokens", "amount_eur", "outcome", "is_estimate",
)  # fmt: skip


async def export(database: Database, organisation_id: str, start: date, end: date) -> AsyncIterator[str]:
    """The requests of these days as CSV, the oldest first, piece by piece.

    Each piece is a transaction of its own: a slow reader keeps nothing open.
    """
    yield to_csv([_HEADINGS])
    after, last_id = datetime.combine(start, time(), UTC), ""
    until = datetime.combine(end, time(), UTC) + timedelta(days=1)
    while True:
        piece = (
            select(UsageRow, Workspace.name, func.coalesce(ApiKey.name, BROWSER))
            .join(Workspace, Workspace.id == UsageRow.workspace_id)
            .outerjoin(ApiKey, ApiKey.id == UsageRow.key_id)
            .where(UsageRow.organisation_id == organisation_id)
            .where(UsageRow.settled_at >= after, UsageRow.settled_at < until)
            .where((UsageRow.settled_at > after) | (UsageRow.id > last_id))
            .order_by(UsageRow.settled_at, UsageRow.id)
            .limit(_AT_ONCE)
        )
        async with database.read() as session:
            rows = (await session.execute(piece)).all()
        if not rows:
            return
        yield to_csv([_cells(*row) for row in rows])
        after, last_id = rows[-1][0].settled_at, rows[-1][0].id


def _cells(row: UsageRow, workspace: str, key: str) -> tuple[str | int, ...]:
    return (
        row.settled_at.isoformat(), row.started_at.isoformat(), row.id, row.workspace_id, workspace, row.key_id or "",
        key, row.user_id, row.route, row.model, row.offering_id, row.prompt_tokens, row.cached_tokens,
        row.output_tokens, euros(row.amount), row.outcome, "true" if row.is_estimate else "false",
    )  # fmt: skip
