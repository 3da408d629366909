"""The first start, the later ones, and two at once."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from tests.storage.places import Place
from tests.storage.processes import answers, go, start
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.errors import AccountError
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.secrets import Secret
from tramontane.accounts.sign_in import redeem_link
from tramontane.accounts.tables import ApiKey, Installation, Membership, Organisation, User, Workspace
from tramontane.storage.base import Base
from tramontane.storage.database import Database

CHOSEN = Secret("a-key-that-I-chose")


async def count(db: Database, table: type[Base]) -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


def test_accounts_are_made_once_and_a_link_each_time(place: Place) -> None:
    async def scenario(db: Database) -> None:
        first = await prepare_accounts(db, None)
        second = await prepare_accounts(db, None)
        assert first.new_key is not None
        assert second.new_key is None
        for table in (Installation, Organisation, Workspace, User, Membership, ApiKey):
            assert await count(db, table) == 1
        principal = await Authenticator(db).by_key(first.new_key.reveal())
        assert principal is not None
        assert (principal.role, principal.credential, principal.credential_name) == ("owner", "key", "First key")
        assert await redeem_link(db, second.link.reveal()) is not None

    place.run(scenario)


def test_a_chosen_key_is_registered_at_each_start(place: Place) -> None:
    async def scenario(db: Database) -> None:
        for _ in range(3):
            assert (await prepare_accounts(db, CHOSEN)).new_key is None
        assert await count(db, ApiKey) == 1
        assert (await prepare_accounts(db, Secret("another-key-of-mine"))).new_key is None
        assert await count(db, ApiKey) == 2
        for key in (CHOSEN.reveal(), "another-key-of-mine"):
            assert await Authenticator(db).by_key(key) is not None

    place.run(scenario)


def test_a_refused_key_leaves_nothing_behind(place: Place) -> None:
    async def scenario(db: Database) -> None:
        with pytest.raises(AccountError, match="at least 16"):
            await prepare_accounts(db, Secret("too-short"))
        assert await count(db, Installation) == await count(db, Organisation) == 0
        assert (await prepare_accounts(db, None)).new_key is not None

    place.run(scenario)


@pytest.mark.parametrize("chosen", ["", CHOSEN.reveal()])
def test_processes_that_start_at_once_make_one_of_each(place: Place, chosen: str) -> None:
    processes = [start("tests.accounts.program_first_start", *place.arguments(), chosen) for _ in range(2)]
    go(*processes)
    printed = [answer.split() for answer in answers(*processes)]
    keys = [key for key, _ in printed if key != "-"]
    assert len(keys) == (0 if chosen else 1)

    async def scenario(db: Database) -> None:
        for table in (Installation, Organisation, Workspace, User, Membership, ApiKey):
            assert await count(db, table) == 1
        assert await Authenticator(db).by_key(chosen or keys[0]) is not None
        redeemed = [await redeem_link(db, link) for _, link in printed]
        assert len([session for session in redeemed if session]) == 1  # the later start's link voids the earlier's

    place.run(scenario)
