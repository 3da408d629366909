"""Browsers that are signed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.audit import Actor, append
from tramontane.accounts.installation import installation_salt
from tramontane.accounts.secrets import Secret, digest, new_token
from tramontane.accounts.tables import BrowserSession, Membership, Workspace
from tramontane.errors import MissingError
from tramontane.storage.base import now

SESSION_LASTS = timedelta(days=30)

NO_SESSION = "There is no such session."
NO_WORKSPACE = "There is no such workspace."


@dataclass(frozen=True)
class Opened:
    """A new session: its token for the cookie, and where it is at work."""

    token: Secret
    session_id: str
    user_id: str
    workspace_id: str
    organisation_id: str


async def open_session(
    session: AsyncSession, user_id: str, *, by: str, address: str, organisation_id: str | None = None
) -> Opened | None:
    """Signs a user in, to the oldest workspace of an organisation, or of all of the user's; notes `by` what.

    None where the user belongs to none any more.
    """
    found = await first_workspace(session, user_id, organisation_id)
    if found is None:
        return None
    token = new_token()
    opened = BrowserSession(
        digest=digest(await installation_salt(session), token.reveal()),
        user_id=user_id,
        workspace_id=found.id,
        expires_at=now() + SESSION_LASTS,
    )
    session.add(opened)
    await session.flush()
    actor = Actor(found.organisation_id, user_id)
    await append(session, actor, address, "session.open", "session", opened.id, {"by": by, "workspace": found.name})
    return Opened(token, opened.id, user_id, found.id, found.organisation_id)


async def first_workspace(session: AsyncSession, user_id: str, organisation_id: str | None = None) -> Workspace | None:
    """The oldest workspace among those of a user's organisations, or of one of them."""
    query = (
        select(Workspace)
        .join(Membership, Membership.organisation_id == Workspace.organisation_id)
        .where(Membership.user_id == user_id, Workspace.archived_at.is_(None))
        .order_by(Workspace.id)  # ids sort by age
        .limit(1)
    )
    if organisation_id is not None:
        query = query.where(Workspace.organisation_id == organisation_id)
    return await session.scalar(query)


async def switch_workspace(session: AsyncSession, session_id: str, user_id: str, workspace_id: str) -> Workspace:
    """Goes on in another workspace of any of the user's organisations. Raises MissingError."""
    query = (
        select(Workspace)
        .join(Membership, Membership.organisation_id == Workspace.organisation_id)
        .where(Membership.user_id == user_id, Workspace.id == workspace_id, Workspace.archived_at.is_(None))
    )
    workspace = await session.scalar(query)
    if workspace is None:
        raise MissingError(NO_WORKSPACE)
    await session.execute(
        update(BrowserSession)
        .where(BrowserSession.id == session_id, BrowserSession.user_id == user_id)
        .values(workspace_id=workspace.id)
    )
    return workspace


async def list_sessions(session: AsyncSession, user_id: str) -> Sequence[tuple[BrowserSession, str]]:
    """Where a user is signed in, the newest first, with the workspaces' names."""
    query = (
        select(BrowserSession, Workspace.name)
        .join(Workspace, Workspace.id == BrowserSession.workspace_id)
        .where(
            BrowserSession.user_id == user_id,
            BrowserSession.revoked_at.is_(None),
            BrowserSession.expires_at > now(),
            Workspace.archived_at.is_(None),
        )
        .order_by(BrowserSession.id.desc())
    )
    return [(found, name) for found, name in await session.execute(query)]


async def end_session(session: AsyncSession, user_id: str, session_id: str) -> None:
    """Signs one of the user's browsers out. Raises MissingError."""
    end = (
        update(BrowserSession)
        .where(BrowserSession.id == session_id, BrowserSession.user_id == user_id, BrowserSession.revoked_at.is_(None))
        .values(revoked_at=now())
        .returning(BrowserSession.id)
    )
    if await session.scalar(end) is None:
        raise MissingError(NO_SESSION)


async def end_other_sessions(session: AsyncSession, user_id: str, but: str) -> None:
    """Signs all of the user's browsers out but one."""
    others = (BrowserSession.user_id == user_id, BrowserSession.id != but, BrowserSession.revoked_at.is_(None))
    # Locked in the order in which their uses are written, so that the two never wait for each other in a ring.
    query = select(BrowserSession.id).where(*others).order_by(BrowserSession.id).with_for_update()
    ids = (await session.scalars(query)).all()
    await session.execute(update(BrowserSession).where(BrowserSession.id.in_(ids)).values(revoked_at=now()))
