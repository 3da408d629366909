"""Organisations with workspaces and keys, to be limited and billed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.principal import Principal
from tramontane.accounts.tables import ApiKey, Membership, Organisation, User, Workspace
from tramontane.storage.base import new_id


@dataclass(frozen=True)
class Tenant:
    """An organisation with one user, and workspaces of which each has one key."""

    organisation_id: str
    user_id: str
    workspace_ids: tuple[str, ...]
    key_ids: tuple[str, ...]

    def principal(self, workspace: int = 0, *, browser: bool = False) -> Principal:
        """Who asks in this workspace, by its key or in a browser."""
        return Principal(
            organisation_id=self.organisation_id,
            workspace_id=self.workspace_ids[workspace],
            user_id=self.user_id,
            role="owner",
            cache_salt="",
            credential="session" if browser else "key",
            credential_id=new_id() if browser else self.key_ids[workspace],
            credential_name="test",
        )


async def add_tenant(session: AsyncSession, name: str = "Meltemi", *, workspaces: int = 1) -> Tenant:
    """A new organisation."""
    organisation, user = Organisation(name=name), User(name=f"{name}'s owner")
    session.add_all([organisation, user])
    await session.flush()
    session.add(Membership(user_id=user.id, organisation_id=organisation.id, role="owner"))
    places = [Workspace(organisation_id=organisation.id, name=f"{name} {i}") for i in range(workspaces)]
    session.add_all(places)
    await session.flush()
    keys = [
        ApiKey(workspace_id=one.id, user_id=user.id, name=f"key of {one.name}", prefix="tram_test", digest=new_id())
        for one in places
    ]
    session.add_all(keys)
    await session.flush()
    return Tenant(organisation.id, user.id, tuple(one.id for one in places), tuple(key.id for key in keys))
