"""This machine's engine as a provider among others, with an offering for each model that it serves."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Boolean, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.catalogue.prices import is_priced, make_free_where_unpriced
from tramontane.catalogue.tables import OfferingRow, ProviderRow
from tramontane.storage.base import UtcDateTime, new_id, now

THIS_MACHINE = "This machine"
OPERATOR = "My organisation"
"""Who runs this machine, until somebody says so."""

# Of two processes that start at once on a new database, the second waits here, and finds the first one's row.
_INSERT = text(
    "INSERT INTO providers (id, name, kind, key_header, operator, enabled, created_at) "
    "VALUES (:id, :name, 'local', 'authorization', :operator, :enabled, :created_at) ON CONFLICT DO NOTHING"
).bindparams(bindparam("enabled", type_=Boolean), bindparam("created_at", type_=UtcDateTime))


async def local_provider(session: AsyncSession) -> ProviderRow:
    """The row of this machine; made where it is missing. For a session that writes: the row is locked."""
    query = select(ProviderRow).where(ProviderRow.kind == "local").with_for_update()
    found = await session.scalar(query)
    if found is None:
        values = {"id": new_id(), "name": THIS_MACHINE, "operator": OPERATOR, "enabled": True, "created_at": now()}
        await session.execute(_INSERT, values)
        found = (await session.scalars(query)).one()
    return found


async def local_offering(session: AsyncSession, name: str) -> OfferingRow:
    """The offering of a model of this machine; made where it is missing."""
    provider = await local_provider(session)
    query = select(OfferingRow).where(OfferingRow.provider_id == provider.id, OfferingRow.model == name)
    found = await session.scalar(query)
    if found is None:
        found = OfferingRow(model=name, provider_id=provider.id, upstream_model=name)
        session.add(found)
        await session.flush()
    return found


async def ensure_local_offerings(session: AsyncSession, names: Iterable[str]) -> list[str]:
    """An offering of this machine, with a price, for each served name; returns what the user should know."""
    said = []
    provider = await local_provider(session)
    for name in names:
        offering = await local_offering(session, name)
        if await make_free_where_unpriced(session, offering.id):
            said.append(f"{name}: no price set, so it is free.")
        elif not await is_priced(session, offering.id):
            said.append(f"{name}: no price is in force, so nobody is served; set one in the console.")
        if not (offering.enabled and provider.enabled):
            said.append(f"{name}: its offering by this machine is switched off, so nobody is served by it.")
    return said
