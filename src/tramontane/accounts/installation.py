"""The one row that tells whether there are accounts, and holds their salt."""

from __future__ import annotations

from sqlalchemy import LargeBinary, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.errors import AccountError
from tramontane.accounts.secrets import new_salt
from tramontane.accounts.tables import Installation

_INSERT = text("INSERT INTO installation (id, salt) VALUES (1, :salt) ON CONFLICT DO NOTHING RETURNING id").bindparams(
    bindparam("salt", type_=LargeBinary)
)


async def begin_installation(session: AsyncSession) -> bool:
    """Whether this transaction is the first start. Another process waits here until the first has committed."""
    return (await session.execute(_INSERT, {"salt": new_salt()})).first() is not None


async def installation_salt(session: AsyncSession, *, lock: bool = False) -> bytes:
    """The salt of all secrets; `lock`: nobody else holds this lock until the transaction ends.

    Raises AccountError before the first start.
    """
    # SQLite knows no FOR UPDATE and needs none: there only one transaction writes at a time.
    query = select(Installation.salt)
    salt = await session.scalar(query.with_for_update() if lock else query)
    if salt is None:
        raise AccountError("There are no accounts yet: start the server once, so that it makes them.")
    return salt
