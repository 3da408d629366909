"""Keys: made, registered, revoked."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.accounts.making import Made, organisation_of
from tests.storage.places import Place
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.errors import AccountError
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.keys import (
    create_key,
    find_key,
    list_keys,
    make_key,
    register_key,
    revoke_key,
    rotate_key,
)
from tramontane.accounts.secrets import Secret
from tramontane.accounts.tables import ApiKey, Organisation, Workspace
from tramontane.errors import ConflictError
from tramontane.storage.base import now
from tramontane.storage.database import Database

CHOSEN = Secret("a-key-that-I-chose")


def test_a_key_works_until_it_is_revoked_by_its_own_workspace(place: Place) -> None:
    async def scenario(db: Database) -> None:
        first = (await prepare_accounts(db, None)).new_key
        assert first is not None
        owner = await Authenticator(db).by_key(first.reveal())
        assert owner is not None
        async with db.write() as session:
            key = await create_key(session, owner.workspace_id, owner.user_id, "laptop")
            organisation = Organisation(name="Neighbour")
            session.add(organisation)
            await session.flush()
            session.add(neighbour := Workspace(name="Theirs", organisation_id=organisation.id))
        made = await Authenticator(db).by_key(key.reveal())
        assert made is not None
        assert (made.workspace_id, made.user_id, made.credential_name) == (owner.workspace_id, owner.user_id, "laptop")
        async with db.write() as session:
            assert not await revoke_key(session, neighbour.id, made.credential_id)
            assert await revoke_key(session, owner.workspace_id, made.credential_id)
            assert not await revoke_key(session, owner.workspace_id, made.credential_id)
        assert await Authenticator(db).by_key(key.reveal()) is None
        assert await Authenticator(db).by_key(first.reveal()) is not None

    place.run(scenario)


def test_a_key_that_cannot_serve_is_refused_unseen(place: Place) -> None:
    texts = ["tiny", "fifteen-letters", "a key with some blanks", "a-key-with-a-newline\n", "clé-très-française"]

    async def scenario(db: Database) -> None:
        await prepare_accounts(db, None)
        for text in texts:
            with pytest.raises(AccountError, match="choose") as refusal:
                async with db.write() as session:
                    await register_key(session, Secret(text))
            assert text not in str(refusal.value)

    place.run(scenario)


def test_a_revoked_key_is_not_registered_again(place: Place) -> None:
    async def scenario(db: Database) -> None:
        await prepare_accounts(db, CHOSEN)
        principal = await Authenticator(db).by_key(CHOSEN.reveal())
        assert principal is not None
        async with db.write() as session:
            await revoke_key(session, principal.workspace_id, principal.credential_id)
        with pytest.raises(AccountError, match="was revoked: choose another"):
            await prepare_accounts(db, CHOSEN)

    place.run(scenario)


def test_a_key_registered_many_times_at_once_is_one_key(place: Place) -> None:
    async def register(db: Database) -> None:
        async with db.write() as session:
            await register_key(session, CHOSEN)

    async def scenario(db: Database) -> None:
        await prepare_accounts(db, None)
        other = place.open()
        await asyncio.gather(*(register(each) for each in (db, other) for _ in range(6)))
        await other.close()
        async with db.read() as session:
            names = (await session.scalars(select(ApiKey.name))).all()
        assert sorted(names) == ["First key", "TRAMONTANE_API_KEY"]

    place.run(scenario)


def test_of_many_who_rotate_a_key_at_once_one_gets_a_successor(place: Place) -> None:
    async def rotate(db: Database, made: Made, key_id: str) -> None:
        async with db.write() as session:
            view = await find_key(session, made.id, None, key_id)
            await rotate_key(session, view, timedelta(hours=1))

    async def scenario(db: Database) -> None:
        made, other = await organisation_of(db, "wind.example", "owner"), place.open()
        async with db.write() as session:
            key, _ = await make_key(session, made.workspace_id, made.users["owner"], "old")
        tries = (rotate(each, made, key.id) for each in (db, other) for _ in range(4))
        ended = await asyncio.gather(*tries, return_exceptions=True)
        await other.close()
        assert len([each for each in ended if each is None]) == 1
        assert len([each for each in ended if isinstance(each, ConflictError)]) == 7
        async with db.read() as session:
            new, old = [view.key for view in await list_keys(session, made.id)]
        assert (new.rotated_from, new.expires_at) == (old.id, None)
        assert old.expires_at is not None
        assert old.expires_at - now() <= timedelta(hours=1)

    place.run(scenario)


def test_there_is_no_key_before_the_first_start(place: Place) -> None:
    async def scenario(db: Database) -> None:
        assert await Authenticator(db).by_key(CHOSEN.reveal()) is None
        with pytest.raises(AccountError, match="start the server once"):
            async with db.write() as session:
                await register_key(session, CHOSEN)

    place.run(scenario)
