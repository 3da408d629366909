"""The first start makes the accounts; every start makes a link by which their owner signs in."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.installation import begin_installation
from tramontane.accounts.keys import create_key, register_key
from tramontane.accounts.members import add_member
from tramontane.accounts.organisations import create_organisation
from tramontane.accounts.owners import first_owner
from tramontane.accounts.secrets import Secret
from tramontane.accounts.sign_in import create_link
from tramontane.accounts.users import create_user
from tramontane.storage.database import Database


@dataclass(frozen=True)
class FirstStart:
    """What a start has to show: a sign-in link's token, and the new key where this start made one."""

    link: Secret
    new_key: Secret | None


async def prepare_accounts(db: Database, chosen_key: Secret | None) -> FirstStart:
    """Makes an organisation, a workspace, their owner and an API key where there are none, and a link in any case.

    `chosen_key` (TRAMONTANE_API_KEY) is registered at each start, and then no key is made. All in one transaction: of
    two processes that start at once, the second finds what the first has made. Raises AccountError.
    """
    async with db.write() as session:
        first = await begin_installation(session)
        if first:
            await _make_accounts(session)
        owner, new_key = await first_owner(session), None
        if chosen_key is not None:
            await register_key(session, chosen_key)
        elif first:
            new_key = await create_key(session, owner.workspace_id, owner.user_id, "First key")
        link = await create_link(session, owner.user_id)
    return FirstStart(link=link, new_key=new_key)


async def _make_accounts(session: AsyncSession) -> None:
    organisation = await create_organisation(session, "My organisation", is_operator=True)
    user = await create_user(session, "Owner", None)
    await add_member(session, organisation.id, user.id, "owner")
