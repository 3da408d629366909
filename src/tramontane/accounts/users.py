"""People: how they are found and made, and what they may change of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.tables import User
from tramontane.errors import ConflictError, InvalidRequestError

TAKEN = "There is an account with this address already: sign in with it first."


def normal_email(text: str) -> str:
    """Addresses are compared in lower case, as all mail servers in use do."""
    return text.strip().lower()


async def user_by_email(session: AsyncSession, email: str) -> User | None:
    """Whose address this is."""
    return await session.scalar(select(User).where(User.email == normal_email(email)))


async def create_user(session: AsyncSession, name: str, email: str | None, **fields: Any) -> User:
    """Somebody new. Raises ConflictError where the address is another's."""
    user = User(name=name, email=None if email is None else _checked(email), **fields)
    session.add(user)
    await _flush(session)
    return user


async def change_user(session: AsyncSession, user: User, changes: Mapping[str, Any]) -> None:
    """Sets `name` or `email`. Raises ConflictError where the address is another's."""
    if "name" in changes:
        user.name = changes["name"]
    if "email" in changes:
        user.email = _checked(changes["email"])
    await _flush(session)


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError:
        raise ConflictError(TAKEN) from None


def _checked(email: str) -> str:
    """Raises InvalidRequestError for what has grown too long in lower case."""
    normal = normal_email(email)
    if not 3 <= len(normal) <= 320:
        raise InvalidRequestError("email", "This is no address of a mailbox: write it as name@example.org.")
    return normal
