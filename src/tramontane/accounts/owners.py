"""Who owns the installation."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.errors import AccountError
from tramontane.accounts.tables import Membership, Workspace


@dataclass(frozen=True)
class Owner:
    """An owner of an organisation, and its first workspace."""

    user_id: str
    workspace_id: str


async def first_owner(session: AsyncSession) -> Owner:
    """The first owner of the first organisation. Raises AccountError where no organisation has an owner."""
    owners = (
        select(Membership.user_id, Workspace.id)
        .join(Workspace, Workspace.organisation_id == Membership.organisation_id)
        .where(Membership.role == "owner", Workspace.archived_at.is_(None))
        .order_by(Membership.organisation_id, Membership.user_id, Workspace.id)  # ids sort by age
        .limit(1)
    )
    if (found := (await session.execute(owners)).first()) is None:
        raise AccountError("No organisation has an owner with a workspace: make a member of one its owner.")
    return Owner(*found)
