"""Who belongs to an organisation, and as what. At least one owner always remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.tables import ApiKey, BrowserSession, Invitation, Membership, Role, User, Workspace
from tramontane.errors import ConflictError, MissingError, NotAllowedError
from tramontane.storage.base import now

_NO_MEMBER = "There is no such member."


@dataclass(frozen=True)
class MemberView:
    """A user in an organisation, and when one of the user's credentials was last used there."""

    user_id: str
    name: str
    email: str | None
    role: Role
    joined_at: datetime
    last_seen_at: datetime | None


async def list_members(session: AsyncSession, organisation_id: str, user_id: str | None = None) -> Sequence[MemberView]:
    """All members, or one, by when they joined."""
    query = (
        select(Membership, User)
        .join(User, User.id == Membership.user_id)
        .where(Membership.organisation_id == organisation_id)
        .order_by(Membership.created_at, User.id)
    )
    if user_id is not None:
        query = query.where(User.id == user_id)
    seen = await _last_seen(session, organisation_id)
    return [
        MemberView(user.id, user.name, user.email, membership.role, membership.created_at, seen.get(user.id))
        for membership, user in await session.execute(query)
    ]


async def change_role(
    session: AsyncSession, organisation_id: str, by: Role, user_id: str, role: Role
) -> tuple[Role, MemberView]:
    """Gives a member another role; the one before, and the member. The authenticator has to `forget` the user.

    Whoever loses rights loses the open invitations that they have made. `by` is the role of who does this. Raises
    MissingError, NotAllowedError and ConflictError.
    """
    membership = await _find_for_change(session, organisation_id, by, user_id)
    check_grant(by, role)
    before = membership.role
    if before == "owner" and role != "owner":
        await _check_other_owner(session, membership)
    membership.role = role
    if before != role and role != "owner":
        await _end_invitations(session, membership)
    await session.flush()
    (member,) = await list_members(session, organisation_id, user_id)
    return before, member


async def remove_member(session: AsyncSession, organisation_id: str, by: Role, user_id: str) -> Role:
    """Takes a member out, for good with all keys, sessions and open invitations of theirs there; the role until now.

    The authenticator has to `forget` the user. Raises MissingError, NotAllowedError and ConflictError.
    """
    membership = await _find_for_change(session, organisation_id, by, user_id)
    if membership.role == "owner":
        await _check_other_owner(session, membership)
    here = select(Workspace.id).where(Workspace.organisation_id == organisation_id)
    for table in (ApiKey, BrowserSession):  # so that they stay ended when the member comes back
        theirs = (table.user_id == user_id, table.workspace_id.in_(here), table.revoked_at.is_(None))
        # Locked in the order in which their uses are written, so that the two never wait for each other in a ring.
        ids = (await session.scalars(select(table.id).where(*theirs).order_by(table.id).with_for_update())).all()
        await session.execute(update(table).where(table.id.in_(ids)).values(revoked_at=now()))
    role = membership.role
    await _end_invitations(session, membership)
    await session.delete(membership)
    await session.flush()
    return role


async def add_member(session: AsyncSession, organisation_id: str, user_id: str, role: Role) -> None:
    """Raises ConflictError for who is a member already."""
    await lock_organisation(session, organisation_id)
    if await session.get(Membership, (user_id, organisation_id)) is not None:
        raise ConflictError("You are a member of this organisation already.")
    session.add(Membership(user_id=user_id, organisation_id=organisation_id, role=role))
    await session.flush()


def check_grant(by: Role, role: Role) -> None:
    """Raises NotAllowedError where somebody who is no owner would make one."""
    if role == "owner" and by != "owner":
        raise NotAllowedError("Only an owner makes others owners: ask one.")


async def check_may_invite(session: AsyncSession, organisation_id: str, by: str, role: Role) -> None:
    """Raises NotAllowedError for an inviter whose rights are gone.

    What a request knows of its user may be some seconds old, and a way back in must not outlive the way out.
    """
    await lock_organisation(session, organisation_id)
    query = select(Membership.role).where(Membership.user_id == by, Membership.organisation_id == organisation_id)
    role_now = await session.scalar(query)
    if role_now not in ("owner", "admin"):
        raise NotAllowedError("Your role does not allow this any more: ask an owner or admin.")
    check_grant(role_now, role)


async def _find_for_change(session: AsyncSession, organisation_id: str, by: Role, user_id: str) -> Membership:
    await lock_organisation(session, organisation_id)  # of two last owners only one can go at once
    query = select(Membership).where(Membership.user_id == user_id, Membership.organisation_id == organisation_id)
    membership = await session.scalar(query)
    if membership is None:
        raise MissingError(_NO_MEMBER)
    if membership.role == "owner" and by != "owner":
        raise NotAllowedError("Only an owner changes or removes owners: ask one.")
    return membership


async def _check_other_owner(session: AsyncSession, membership: Membership) -> None:
    query = select(Membership.user_id).where(
        Membership.organisation_id == membership.organisation_id,
        Membership.role == "owner",
        Membership.user_id != membership.user_id,
    )
    if await session.scalar(query.limit(1)) is None:
        raise ConflictError("This is the organisation's only owner: make another member an owner first.")


async def _end_invitations(session: AsyncSession, membership: Membership) -> None:
    """Who may invite no more, or not as before, has no link left by which to come back as what one was."""
    await session.execute(
        update(Invitation)
        .where(
            Invitation.organisation_id == membership.organisation_id,
            Invitation.invited_by == membership.user_id,
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
        )
        .values(revoked_at=now())
    )


async def _last_seen(session: AsyncSession, organisation_id: str) -> dict[str, datetime]:
    seen: dict[str, datetime] = {}
    for table in (ApiKey, BrowserSession):
        query = (
            select(table.user_id, func.max(table.last_used_at))
            .join(Workspace, Workspace.id == table.workspace_id)
            .where(Workspace.organisation_id == organisation_id)
            .group_by(table.user_id)
        )
        for user_id, moment in await session.execute(query):
            if moment is not None and (user_id not in seen or seen[user_id] < moment):
                seen[user_id] = moment
    return seen
