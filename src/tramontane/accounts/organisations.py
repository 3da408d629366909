"""Organisations: made with what they need, renamed, and locked while what belongs to them is decided."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.tables import Organisation, Workspace


async def create_organisation(session: AsyncSession, name: str, *, is_operator: bool = False) -> Organisation:
    """An organisation with a first workspace, and nobody in it."""
    organisation = Organisation(name=name, is_operator=is_operator)
    session.add(organisation)
    await session.flush()  # its id is made here
    session.add(Workspace(name="Default", organisation_id=organisation.id))
    await session.flush()
    return organisation


async def lock_organisation(session: AsyncSession, organisation_id: str) -> Organisation:
    """The organisation, as it is now; whoever else locks it waits until this transaction ends.

    Taken first by what also writes the audit log, so that two never wait for each other in a ring.
    """
    # FOR NO KEY UPDATE: rows that refer to the organisation, as each request's do, can be added meanwhile.
    query = select(Organisation).where(Organisation.id == organisation_id).with_for_update(key_share=True)
    return (await session.scalars(query, execution_options={"populate_existing": True})).one()


async def list_organisations(session: AsyncSession) -> Sequence[Organisation]:
    """All of them, the oldest first."""
    return (await session.scalars(select(Organisation).order_by(Organisation.id))).all()
