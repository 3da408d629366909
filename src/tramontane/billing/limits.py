"""What keys, workspaces and organisations may take, as their administrators see and set it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.tables import ApiKey, Organisation, Workspace
from tramontane.billing.months import month_of
from tramontane.billing.tables import Limit, MonthCount, Scope
from tramontane.errors import MissingError
from tramontane.storage.base import now

_FIELDS = ("requests_per_second", "tokens_per_minute", "tokens_per_month", "spend_per_month")
_TABLES: Mapping[Scope, Any] = {"organisation": Organisation, "workspace": Workspace, "key": ApiKey}
"""Any: their common columns are what SQLAlchemy's types know no word for."""


@dataclass(frozen=True)
class Limited:
    """A scope by its name, its limits where it has some, and what it took this month."""

    scope: Scope
    scope_id: str
    name: str
    limits: Limit | None
    month_tokens: int
    month_spend: int


async def list_limits(session: AsyncSession, organisation_id: str) -> list[Limited]:
    """Of the organisation, of its workspaces, and of its keys that still work, each by name."""
    found: list[Limited] = []
    for scope in _TABLES:
        found += [Limited(*row) for row in await session.execute(_limited(scope, organisation_id))]
    return found


async def set_limit(
    session: AsyncSession, organisation_id: str, scope: Scope, scope_id: str, limits: Mapping[str, int | None]
) -> Limited:
    """Sets all four; raises MissingError for what is not the organisation's, or works no more."""
    await lock_organisation(session, organisation_id)  # of two changes at once, each finds what the other left
    this_one = _limited(scope, organisation_id).where(_TABLES[scope].id == scope_id)
    if (await session.execute(this_one)).first() is None:
        raise MissingError(f"There is no such {scope}.")
    await session.execute(delete(Limit).where(Limit.scope == scope, Limit.scope_id == scope_id))
    if any(value is not None for value in limits.values()):
        session.add(Limit(scope=scope, scope_id=scope_id, organisation_id=organisation_id, **limits))
        await session.flush()
    return Limited(*(await session.execute(this_one)).one())


async def copy_limit(session: AsyncSession, key_id: str, new_key_id: str) -> None:
    """A key that takes another's place has its limits; what it takes of a month is counted anew."""
    found = await session.get(Limit, ("key", key_id))
    if found is not None:
        values = {name: getattr(found, name) for name in _FIELDS}
        session.add(Limit(scope="key", scope_id=new_key_id, organisation_id=found.organisation_id, **values))
        await session.flush()


def _limited(scope: Scope, organisation_id: str) -> Select[Any]:
    table = _TABLES[scope]
    limits = and_(Limit.scope == scope, Limit.scope_id == table.id)
    this_month = and_(MonthCount.scope == scope, MonthCount.scope_id == table.id, MonthCount.month == month_of(now()))
    tokens, spend = func.coalesce(MonthCount.tokens, 0), func.coalesce(MonthCount.spend, 0)
    return (
        select(literal(scope), table.id, table.name, Limit, tokens, spend)
        .outerjoin(Limit, limits)
        .outerjoin(MonthCount, this_month)
        .where(_owned(scope, organisation_id))
        .order_by(table.name, table.id)
    )


def _owned(scope: Scope, organisation_id: str) -> ColumnElement[bool]:
    workspace = and_(Workspace.organisation_id == organisation_id, Workspace.archived_at.is_(None))
    if scope == "organisation":
        return Organisation.id == organisation_id
    if scope == "workspace":
        return workspace
    works = and_(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now()))
    return and_(ApiKey.workspace_id.in_(select(Workspace.id).where(workspace)), works)
