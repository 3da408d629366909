"""From a request to an entry of the audit log."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from tramontane.accounts import audit
from tramontane.api.platform import principal_of


async def note(
    request: Request, session: AsyncSession, action: str, target_kind: str, target_id: str, **detail: Any
) -> None:
    """Notes what the transaction of `session` changes: `note(request, session, "key.create", "key", key.id, name=…)`.

    `detail` holds no secrets: what is in it can be read by all who may see the log, for ever.
    """
    await audit.record(session, principal_of(request), address_of(request), action, target_kind, target_id, detail)


def address_of(request: Request) -> str:
    """From where a request comes."""
    return request.client.host if request.client else ""
