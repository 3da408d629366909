"""Whose account an identity of the identity provider opens.

Who is known by issuer and subject is that user. An address alone links to no account that has a password: whoever made
that account may never have had the address. So only an account without any other way in is linked, which is the one
that the first start made, once its owner has entered the address. Everybody else needs an open invitation, for the
address that the provider has verified or by its link, or an installation where anybody may register.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.invitations import InvitationView, check_address, find_open, find_open_for
from tramontane.accounts.oidc import Identity, OidcError
from tramontane.accounts.registration import join, register
from tramontane.accounts.sessions import Opened, open_session
from tramontane.accounts.settings import read_settings
from tramontane.accounts.tables import Membership, User
from tramontane.accounts.users import create_user, user_by_email
from tramontane.errors import MissingError, NotAllowedError

_BY = "identity provider"


@dataclass(frozen=True)
class SignedIn:
    """A new session; `registered` where it is of somebody who had no account, nor an invitation."""

    opened: Opened
    registered: bool = False


async def sign_in_by_identity(
    session: AsyncSession, identity: Identity, invitation: str | None, address: str
) -> SignedIn:
    """Signs in whoever the identity is. Raises OidcError."""
    user = await _find_user(session, identity)
    view = await _invitation(session, identity, invitation, is_known=user is not None)
    if user is None and view is None:
        if not (await read_settings(session)).self_registration:
            raise OidcError("Somebody without an account or an invitation signed in.", "unknown")
        opened = await register(session, identity.name, identity.email, by=_BY, address=address, **_fields(identity))
        return SignedIn(opened, registered=True)
    if user is None:
        user = await create_user(session, identity.name, identity.email, **_fields(identity))
    organisation_id = None
    if view is not None:
        organisation_id = view.invitation.organisation_id
        if await session.get(Membership, (user.id, organisation_id)) is None:
            await join(session, view, user.id, address)
    found = await open_session(session, user.id, by=_BY, address=address, organisation_id=organisation_id)
    if found is None:
        raise OidcError("Somebody who is no member of any organisation signed in.", "unknown")
    return SignedIn(found)


async def _find_user(session: AsyncSession, identity: Identity) -> User | None:
    known = select(User).where(User.oidc_issuer == identity.issuer, User.oidc_subject == identity.subject)
    user = await session.scalar(known)
    if user is not None or identity.email is None:
        return user
    user = await user_by_email(session, identity.email)
    if user is None:
        return None
    if user.password_hash is not None or user.oidc_subject is not None:
        raise OidcError("The address belongs to an account that is signed in to in another way.", "address_taken")
    user.oidc_issuer, user.oidc_subject = identity.issuer, identity.subject
    return user


async def _invitation(
    session: AsyncSession, identity: Identity, token: str | None, is_known: bool
) -> InvitationView | None:
    if token is None:  # who has an account is not moved by what somebody else wrote an invitation for
        return None if is_known or identity.email is None else await find_open_for(session, identity.email)
    try:
        view = await find_open(session, token)
        check_address(view, identity.email)
    except (MissingError, NotAllowedError) as error:
        raise OidcError(str(error), "invitation") from None
    return view


def _fields(identity: Identity) -> dict[str, str]:
    return {"oidc_issuer": identity.issuer, "oidc_subject": identity.subject}
