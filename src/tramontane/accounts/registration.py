"""Somebody new: in an organisation of one's own, or by an invitation in another's."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.audit import Actor, append
from tramontane.accounts.invitations import InvitationView, accept
from tramontane.accounts.members import add_member
from tramontane.accounts.organisations import create_organisation
from tramontane.accounts.sessions import Opened, open_session
from tramontane.accounts.users import create_user


async def register(
    session: AsyncSession, name: str, email: str | None, *, by: str, address: str, **identity: Any
) -> Opened:
    """Makes a user with an organisation of the same name, and signs the user in.

    `identity` is a password's digest, or who one is at an identity provider. Raises ConflictError where the address is
    another's.
    """
    user = await create_user(session, name, email, **identity)
    organisation = await create_organisation(session, name)
    await add_member(session, organisation.id, user.id, "owner")
    actor = Actor(organisation.id, user.id)
    await append(session, actor, address, "organisation.register", "organisation", organisation.id, {"name": name})
    opened = await open_session(session, user.id, by=by, address=address, organisation_id=organisation.id)
    assert opened is not None
    return opened


async def join(session: AsyncSession, view: InvitationView, user_id: str, address: str) -> None:
    """Accepts an invitation for a user, and notes it. Raises MissingError and ConflictError."""
    await accept(session, view, user_id)
    invitation = view.invitation
    detail = {"role": invitation.role, "invitation": invitation.id, "invited_by": invitation.invited_by}
    actor = Actor(invitation.organisation_id, user_id)
    await append(session, actor, address, "member.join", "user", user_id, detail)
