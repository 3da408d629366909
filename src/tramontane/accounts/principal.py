"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.tables import Role, User, Workspace


@dataclass(frozen=True)
class Principal:
    """A user at work in a workspace, and the credential that proved it."""

    organisation_id: str
    workspace_id: str
    user_id: str
    role: Role
    cache_salt: str = field(repr=False)  # the workspace's; who knows it could probe the workspace's prompts
    credential: Literal["key", "session"]
    credential_id: str
    credential_name: str


async def names_of(session: AsyncSession, principal: Principal) -> tuple[str, str]:
    """What the user and the workspace are called."""
    query = select(User.name, Workspace.name).where(
        User.id == principal.user_id, Workspace.id == principal.workspace_id
    )
    user, workspace = (await session.execute(query)).one()
    return user, workspace
