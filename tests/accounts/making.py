"""Organisations with people in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.keys import make_key
from tramontane.accounts.members import add_member
from tramontane.accounts.organisations import create_organisation
from tramontane.accounts.sessions import first_workspace
from tramontane.accounts.tables import Role
from tramontane.accounts.users import create_user
from tramontane.storage.database import Database


@dataclass(frozen=True)
class Made:
    """An organisation, its first workspace, and a user of each role by the role's name."""

    id: str
    workspace_id: str
    users: dict[str, str] = field(default_factory=dict)


async def organisation_of(db: Database, name: str, *roles: Role) -> Made:
    """A customer's organisation with one user of each role, whose address is role@name."""
    await prepare_accounts(db, None)
    users: dict[str, str] = {}
    async with db.write() as session:
        organisation = await create_organisation(session, name)
        for role in roles:
            user = await create_user(session, f"{role} of {name}", f"{role}@{name}")
            await add_member(session, organisation.id, user.id, role)
            users[role] = user.id
        workspace = await first_workspace(session, next(iter(users.values())))
        assert workspace is not None
    return Made(organisation.id, workspace.id, users)


async def key_of(db: Database, made: Made, role: Role, **fields: object) -> str:
    """A new key of the user with this role."""
    async with db.write() as session:
        _, secret = await make_key(session, made.workspace_id, made.users[role], role, **fields)
        return secret.reveal()
