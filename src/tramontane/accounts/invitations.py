"""Links by which somebody becomes a member, once. Of the link only a digest is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.installation import installation_salt
from tramontane.accounts.members import add_member
from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.secrets import Secret, digest, new_token
from tramontane.accounts.tables import Invitation, Organisation, Role, User
from tramontane.accounts.users import normal_email
from tramontane.errors import ConflictError, MissingError, NotAllowedError
from tramontane.storage.base import now

_OPEN_FOR = timedelta(days=7)

State = Literal["open", "accepted", "revoked", "expired"]

SPENT = "This invitation is not open any more: ask for a new one."


@dataclass(frozen=True)
class InvitationView:
    """An invitation with the names of who asks whom in."""

    invitation: Invitation
    organisation: str
    invited_by: str

    @property
    def state(self) -> State:
        """What became of it."""
        if self.invitation.accepted_at is not None:
            return "accepted"
        if self.invitation.revoked_at is not None:
            return "revoked"
        return "open" if self.invitation.expires_at > now() else "expired"


async def invite(
    session: AsyncSession, organisation_id: str, invited_by: str, role: Role, email: str | None
) -> tuple[Invitation, Secret]:
    """A new invitation, and the token of its link."""
    token = new_token()
    invitation = Invitation(
        organisation_id=organisation_id,
        digest=digest(await installation_salt(session), token.reveal()),
        email=None if email is None else normal_email(email),
        role=role,
        invited_by=invited_by,
        expires_at=now() + _OPEN_FOR,
    )
    session.add(invitation)
    await session.flush()
    return invitation, token


async def list_invitations(session: AsyncSession, organisation_id: str) -> Sequence[InvitationView]:
    """The organisation's, the newest first."""
    query = _views().where(Invitation.organisation_id == organisation_id).order_by(Invitation.id.desc())
    return [InvitationView(*row) for row in await session.execute(query)]


async def view_of(session: AsyncSession, invitation: Invitation) -> InvitationView:
    """With the names that belong to it."""
    return InvitationView(*(await session.execute(_views().where(Invitation.id == invitation.id))).one())


async def revoke_invitation(session: AsyncSession, organisation_id: str, invitation_id: str) -> Invitation:
    """Ends an invitation. Raises MissingError, and ConflictError where it was accepted."""
    await lock_organisation(session, organisation_id)
    end = (
        update(Invitation)
        .where(
            Invitation.id == invitation_id,
            Invitation.organisation_id == organisation_id,
            Invitation.accepted_at.is_(None),
        )
        .values(revoked_at=now())
        .returning(Invitation)
    )
    invitation = await session.scalar(end)
    if invitation is not None:
        return invitation
    known = select(Invitation.id).where(Invitation.id == invitation_id, Invitation.organisation_id == organisation_id)
    if await session.scalar(known) is None:
        raise MissingError("There is no such invitation.")
    raise ConflictError("This invitation was accepted: remove the member instead.")


async def find_open(session: AsyncSession, token: str) -> InvitationView:
    """The open invitation of a link. Raises MissingError for all others alike."""
    hashed = digest(await installation_salt(session), token)
    row = (await session.execute(_views().where(Invitation.digest == hashed))).first()
    if row is None or (view := InvitationView(*row)).state != "open":
        raise MissingError(SPENT)
    return view


async def find_open_for(session: AsyncSession, email: str) -> InvitationView | None:
    """The newest open invitation of who has this address; None where several organisations invite it.

    Anybody may invite an address: which of them its owner wants to join only the link can tell then.
    """
    query = _views().where(Invitation.email == normal_email(email)).order_by(Invitation.id.desc())
    views = [view for row in await session.execute(query) if (view := InvitationView(*row)).state == "open"]
    return views[0] if len({view.invitation.organisation_id for view in views}) == 1 else None


def check_address(view: InvitationView, email: str | None) -> None:
    """Raises NotAllowedError where the invitation is for another address."""
    bound_to = view.invitation.email
    if bound_to is not None and (email is None or normal_email(email) != bound_to):
        raise NotAllowedError("This invitation is for another address: ask for one of your own.", "other_address")


async def accept(session: AsyncSession, view: InvitationView, user_id: str) -> None:
    """Makes the user a member. Of two who accept one invitation at once, the UPDATE lets one through.

    Raises MissingError, and ConflictError for who is a member already.
    """
    invitation, moment = view.invitation, now()
    await add_member(session, invitation.organisation_id, user_id, invitation.role)
    use = (
        update(Invitation)
        .where(
            Invitation.id == invitation.id,
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > moment,
        )
        .values(accepted_at=moment, accepted_by=user_id)
        .returning(Invitation.id)
    )
    if await session.scalar(use) is None:
        raise MissingError(SPENT)


def _views() -> Select[Invitation, str, str]:
    return (
        select(Invitation, Organisation.name, User.name)
        .join(Organisation, Organisation.id == Invitation.organisation_id)
        .join(User, User.id == Invitation.invited_by)
    )
