"""Signing in by a link that works once, as Jupyter does."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.installation import installation_salt
from tramontane.accounts.owners import first_workspace
from tramontane.accounts.secrets import Secret, digest, new_token
from tramontane.accounts.tables import BrowserSession, SignInLink, User
from tramontane.storage.base import now
from tramontane.storage.database import Database

_LINK_LASTS = timedelta(hours=24)
_SESSION_LASTS = timedelta(days=30)


async def create_link(session: AsyncSession, user_id: str) -> Secret:
    """The token of a new link for a user; it expires after a day, and earlier links end now."""
    await session.execute(select(User.id).where(User.id == user_id).with_for_update())  # one link at a time
    await session.execute(delete(SignInLink).where(SignInLink.user_id == user_id))
    token, salt = new_token(), await installation_salt(session)
    session.add(SignInLink(digest=digest(salt, token.reveal()), user_id=user_id, expires_at=now() + _LINK_LASTS))
    await session.flush()
    return token


async def redeem_link(db: Database, token: str) -> Secret | None:
    """The token of a new browser session, for 30 days; None where the link is unknown, expired or was used before."""
    async with db.read() as session:  # a guess must not take the one place where writers queue
        known = SignInLink.digest == digest(await installation_salt(session), token)
        if await session.scalar(select(SignInLink.id).where(known, SignInLink.used_at.is_(None))) is None:
            return None
    async with db.write() as session:
        salt = await installation_salt(session)
        user_id = await _use(session, digest(salt, token))
        workspace_id = user_id and await first_workspace(session, user_id)
        if not user_id or not workspace_id:
            return None
        opened = new_token()
        session.add(
            BrowserSession(
                digest=digest(salt, opened.reveal()),
                user_id=user_id,
                workspace_id=workspace_id,
                expires_at=now() + _SESSION_LASTS,
            )
        )
    return opened


async def sign_out(db: Database, token: str) -> str | None:
    """Ends a browser session; its id, for the authenticator to `forget`, or None where there is no such session."""
    async with db.write() as session:
        end = (
            update(BrowserSession)
            .where(
                BrowserSession.digest == digest(await installation_salt(session), token),
                BrowserSession.revoked_at.is_(None),
            )
            .values(revoked_at=now())
            .returning(BrowserSession.id)
        )
        return await session.scalar(end)


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
