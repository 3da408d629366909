"""Signing in: by a link that works once, as Jupyter does, and by password."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.audit import Actor, append
from tramontane.accounts.installation import installation_salt
from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.passwords import Passwords
from tramontane.accounts.secrets import Secret, digest, new_token
from tramontane.accounts.sessions import Opened, end_other_sessions, open_session
from tramontane.accounts.tables import SignInLink, User
from tramontane.accounts.throttle import Throttle, network_of
from tramontane.accounts.users import normal_email, user_by_email
from tramontane.errors import NotAllowedError
from tramontane.storage.base import now
from tramontane.storage.database import Database

_LINK_LASTS = timedelta(hours=24)


class WrongCredentialsError(NotAllowedError):
    """The address or the password is wrong; which of them is told to nobody."""

    def __init__(self, message: str = "The address or the password is wrong.") -> None:
        super().__init__(message, "wrong_credentials")


class SignIns:
    """Who may try to sign in how often, and what becomes of it."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.passwords = Passwords()
        self._by_address = Throttle(20, 10.0, clock)
        self._by_account = Throttle(10, 30.0, clock)
        self._strangers = Throttle(10, 300.0, clock)

    def admit_stranger(self, address: str) -> None:
        """Called before somebody whom nobody invited gets an account. Raises RateLimitedError."""
        self._strangers.take(network_of(address))

    @contextmanager
    def trying(self, address: str) -> Iterator[None]:
        """Around what a guesser might try: it counts where it fails. Raises RateLimitedError."""
        network = network_of(address)
        self._by_address.take(network)
        yield
        self._by_address.give_back(network)

    async def by_password(self, db: Database, email: str, password: Secret, address: str) -> Opened:
        """A new browser session. Raises WrongCredentialsError and RateLimitedError.

        An account that does not exist, or has no password, is refused like a wrong password and as slowly.
        """
        account = normal_email(email)
        with self.trying(address):
            self._by_account.take(account)
            async with db.read() as session:
                user = await user_by_email(session, account)
            stored = user.password_hash if user else None
            if not await self.passwords.matches(password, stored) or user is None:
                raise WrongCredentialsError
            async with db.write() as session:
                unchanged = select(User.id).where(User.id == user.id, User.password_hash == stored)
                if await session.scalar(unchanged) is None:
                    raise WrongCredentialsError
                opened = await open_session(session, user.id, by="password", address=address)
            if opened is None:  # a member of nothing any more
                raise WrongCredentialsError
        self._by_account.give_back(account)
        return opened

    async def change_password(
        self, db: Database, actor: Actor, session_id: str, current: Secret | None, new: Secret, address: str
    ) -> None:
        """Sets the password of who is signed in, and ends the user's other sessions.

        The authenticator has to `forget` the user. Raises WrongCredentialsError, InvalidRequestError, RateLimitedError.
        """
        async with db.read() as session:
            stored = await session.scalar(select(User.password_hash).where(User.id == actor.user_id))
        if stored is not None:
            self._by_account.take(actor.user_id)
            if current is None or not await self.passwords.matches(current, stored):
                raise WrongCredentialsError("The present password is wrong.")
            self._by_account.give_back(actor.user_id)
        made = await self.passwords.digest(new)
        async with db.write() as session:
            await lock_organisation(session, actor.organisation_id)
            await session.execute(update(User).where(User.id == actor.user_id).values(password_hash=made))
            await end_other_sessions(session, actor.user_id, but=session_id)
            await append(session, actor, address, "user.password", "user", actor.user_id, {})


async def create_link(session: AsyncSession, user_id: str) -> Secret:
    """The token of a new link for a user; it expires after a day, and earlier links end now."""
    await session.execute(select(User.id).where(User.id == user_id).with_for_update())  # one link at a time
    await session.execute(delete(SignInLink).where(SignInLink.user_id == user_id))
    token, salt = new_token(), await installation_salt(session)
    session.add(SignInLink(digest=digest(salt, token.reveal()), user_id=user_id, expires_at=now() + _LINK_LASTS))
    await session.flush()
    return token


async def redeem_link(db: Database, token: str, address: str = "") -> Opened | None:
    """A new browser session; None where the link is unknown, expired or was used before."""
    async with db.read() as session:  # a guess must not take the one place where writers queue
        known = SignInLink.digest == digest(await installation_salt(session), token)
        if await session.scalar(select(SignInLink.id).where(known, SignInLink.used_at.is_(None))) is None:
            return None
    async with db.write() as session:
        user_id = await _use(session, digest(await installation_salt(session), token))
        if user_id is None:
            return None
        return await open_session(session, user_id, by="link", address=address)


async def _use(session: AsyncSession, link: str) -> str | None:
    """The user of a link that was good until now. The UPDATE itself decides, so of two that try only one is told."""
    moment = now()
    use = (
        update(SignInLink)
        .where(SignInLink.digest == link, SignInLink.used_at.is_(None), SignInLink.expires_at > moment)
        .values(used_at=moment)
        .returning(SignInLink.user_id)
    )
    return await session.scalar(use)
