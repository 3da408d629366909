"""Workspaces of an organisation: made, changed, archived and restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.sessions import NO_WORKSPACE
from tramontane.accounts.tables import ApiKey, Membership, Organisation, Workspace
from tramontane.errors import ConflictError, MissingError
from tramontane.storage.base import now


async def list_workspaces(session: AsyncSession, organisation_id: str) -> Sequence[tuple[Workspace, int]]:
    """The organisation's, the oldest first, each with how many of its keys work."""
    query = (
        select(Workspace, func.count(ApiKey.id))
        .outerjoin(ApiKey, and_(ApiKey.workspace_id == Workspace.id, _works()))
        .where(Workspace.organisation_id == organisation_id)
        .group_by(Workspace.id)
        .order_by(Workspace.id)
    )
    return [(workspace, num_keys) for workspace, num_keys in await session.execute(query)]


async def workspaces_of(session: AsyncSession, user_id: str) -> Sequence[tuple[Workspace, str]]:
    """Where a user may work, in all organisations, with these organisations' names."""
    query = (
        select(Workspace, Organisation.name)
        .join(Organisation, Organisation.id == Workspace.organisation_id)
        .join(Membership, Membership.organisation_id == Workspace.organisation_id)
        .where(Membership.user_id == user_id, Workspace.archived_at.is_(None))
        .order_by(Organisation.id, Workspace.id)
    )
    return [(workspace, name) for workspace, name in await session.execute(query)]


async def count_keys(session: AsyncSession, workspace_id: str) -> int:
    """How many of a workspace's keys work."""
    return await session.scalar(select(func.count()).where(ApiKey.workspace_id == workspace_id, _works())) or 0


async def find_workspace(session: AsyncSession, organisation_id: str, workspace_id: str) -> Workspace:
    """One of the organisation's, archived or not. Raises MissingError."""
    query = select(Workspace).where(Workspace.id == workspace_id, Workspace.organisation_id == organisation_id)
    workspace = await session.scalar(query)
    if workspace is None:
        raise MissingError(NO_WORKSPACE)
    return workspace


async def create_workspace(session: AsyncSession, organisation_id: str, name: str) -> Workspace:
    """A new one, where requests may go anywhere."""
    workspace = Workspace(name=name, organisation_id=organisation_id)
    session.add(workspace)
    await session.flush()
    return workspace


async def change_workspace(
    session: AsyncSession, organisation_id: str, workspace_id: str, changes: Mapping[str, Any]
) -> Workspace:
    """Sets `name`, `policy` or `archived`; the authenticator has to `forget` the workspace afterwards.

    Raises MissingError, and ConflictError where the organisation would have no workspace left.
    """
    await lock_organisation(session, organisation_id)  # of two last ones only one can be archived at once
    workspace = await find_workspace(session, organisation_id, workspace_id)
    if "name" in changes:
        workspace.name = changes["name"]
    if "policy" in changes:
        workspace.policy = changes["policy"]
    if "archived" in changes:
        await _archive(session, workspace, changes["archived"])
    await session.flush()
    return workspace


def _works() -> ColumnElement[bool]:
    return and_(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now()))


async def _archive(session: AsyncSession, workspace: Workspace, archived: bool) -> None:
    if not archived:
        workspace.archived_at = None
    elif workspace.archived_at is None:
        query = select(Workspace.id).where(
            Workspace.organisation_id == workspace.organisation_id,
            Workspace.archived_at.is_(None),
            Workspace.id != workspace.id,
        )
        if await session.scalar(query.limit(1)) is None:
            raise ConflictError("This is the organisation's only workspace: make another one before it is archived.")
        workspace.archived_at = now()
