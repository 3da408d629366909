"""Who is asking: remembered for a while, forgotten at once, and never confused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.accounts.counting import Reads
from tests.accounts.making import key_of, organisation_of
from tests.storage.places import Place
from tramontane.accounts import authenticator as module
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.keys import create_key, revoke_key
from tramontane.accounts.owners import first_owner
from tramontane.accounts.principal import Principal
from tramontane.accounts.sessions import open_session
from tramontane.accounts.sign_in import redeem_link
from tramontane.accounts.tables import ApiKey, BrowserSession, Membership, Workspace
from tramontane.storage.base import new_id, now
from tramontane.storage.database import Database


class Clock:
    """The authenticator's clocks, which move when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        start = now()
        monkeypatch.setattr(module, "monotonic", lambda: self.passed)
        monkeypatch.setattr(module, "now", lambda: start + timedelta(seconds=self.passed))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def new_key(db: Database) -> str:
    await prepare_accounts(db, None)
    async with db.write() as session:
        owner = await first_owner(session)
        return (await create_key(session, owner.workspace_id, owner.user_id, "test")).reveal()


async def known(authenticator: Authenticator, key: str) -> Principal:
    principal = await authenticator.by_key(key)
    assert principal is not None
    return principal


async def revoke(db: Database, principal: Principal) -> None:
    async with db.write() as session:
        assert await revoke_key(session, principal.workspace_id, principal.credential_id)


async def last_use(db: Database, principal: Principal) -> datetime | None:
    async with db.read() as session:
        return await session.scalar(select(ApiKey.last_used_at).where(ApiKey.id == principal.credential_id))


def test_an_answer_is_remembered_for_ten_seconds(place: Place, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        authenticator, key, reads = Authenticator(db), await new_key(db), Reads(db)
        principal = await known(authenticator, key)
        looked = reads.count
        for _ in range(100):
            assert await authenticator.by_key(key) == principal
        assert reads.count == looked
        await revoke(db, principal)  # by another process: this one is not told
        clock.passed = 9.9
        assert await authenticator.by_key(key) == principal
        clock.passed = 10.0
        assert await authenticator.by_key(key) is None

    place.run(scenario)


def test_a_principal_is_what_the_database_says(place: Place) -> None:
    async def scenario(db: Database) -> None:
        principal = await known(Authenticator(db), await new_key(db))
        async with db.read() as session:
            workspace = (await session.scalars(select(Workspace))).one()
        assert (principal.organisation_id, principal.workspace_id) == (workspace.organisation_id, workspace.id)
        assert principal.cache_salt == workspace.cache_salt
        assert len(workspace.cache_salt) == 32
        assert workspace.cache_salt not in repr(principal)

    place.run(scenario)


def test_what_is_forgotten_is_refused_at_once(place: Place, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        authenticator, key, other = Authenticator(db), await new_key(db), await new_key(db)
        principal = await known(authenticator, key)
        await known(authenticator, other)
        await revoke(db, principal)
        authenticator.forget(principal.credential_id)
        reads = Reads(db)
        assert await authenticator.by_key(other) is not None  # nobody else is forgotten
        assert reads.count == 0
        assert await authenticator.by_key(key) is None

    place.run(scenario)


def test_a_whole_user_workspace_or_organisation_is_forgotten(place: Place, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, "wind.example", "owner", "developer")
        other = await organisation_of(db, "other.example", "owner")
        key, colleagues = await key_of(db, made, "owner"), await key_of(db, made, "developer")
        neighbours, authenticator = await key_of(db, other, "owner"), Authenticator(db)
        for changed, forgotten in (
            (made.users["owner"], {key}),
            (made.workspace_id, {key, colleagues}),
            (made.id, {key, colleagues}),
            (new_id(), set()),
        ):
            for each in (key, colleagues, neighbours):
                await known(authenticator, each)
            authenticator.forget(changed)
            reads = Reads(db)
            for each in (key, colleagues, neighbours):
                before = reads.count
                await known(authenticator, each)
                assert (reads.count > before) is (each in forgotten)

    place.run(scenario)


def test_a_credential_rests_while_its_workspace_is_archived(place: Place, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        made, authenticator = await organisation_of(db, "wind.example", "owner"), Authenticator(db)
        key, archived = await key_of(db, made, "owner"), update(Workspace).where(Workspace.id == made.workspace_id)
        async with db.write() as session:
            opened = await open_session(session, made.users["owner"], by="test", address="")
        assert opened is not None
        for moment, alive in ((now(), False), (None, True)):
            async with db.write() as session:
                await session.execute(archived.values(archived_at=moment))
            authenticator.forget(made.workspace_id)
            assert (await authenticator.by_key(key) is not None) is alive
            assert (await authenticator.by_session(opened.token.reveal()) is not None) is alive

    place.run(scenario)


def test_a_principal_knows_what_its_key_and_its_workspace_allow(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, "wind.example", "owner")
        policy = {"regions": ["EU"]}
        async with db.write() as session:
            await session.execute(update(Workspace).where(Workspace.id == made.workspace_id).values(policy=policy))
        plain = await known(Authenticator(db), await key_of(db, made, "owner"))
        assert (plain.scopes, plain.models, plain.policy, plain.is_operator) == (None, None, policy, False)
        scopes, models = ["inference", "read"], ["small"]
        narrow = await known(Authenticator(db), await key_of(db, made, "owner", scopes=scopes, models=models))
        assert (narrow.scopes, narrow.models) == ({"inference", "read"}, {"small"})
        assert (await known(Authenticator(db), await new_key(db))).is_operator

    place.run(scenario)


def test_an_answer_under_way_does_not_outlive_forget(place: Place, clock: Clock) -> None:
    """Looked up before the revocation, answered after `forget`: it must not be remembered."""

    async def scenario(db: Database) -> None:
        authenticator, key = Authenticator(db), await new_key(db)
        principal = await known(authenticator, key)
        clock.passed = 10.0
        reads = Reads(db)

        async def meanwhile() -> None:
            await revoke(db, principal)
            authenticator.forget(principal.credential_id)

        reads.after = meanwhile
        await authenticator.by_key(key)
        assert await authenticator.by_key(key) is None

    place.run(scenario)


@pytest.mark.parametrize("remembered", [True, False])
def test_what_has_expired_is_refused_even_where_it_is_remembered(place: Place, clock: Clock, remembered: bool) -> None:
    async def scenario(db: Database) -> None:
        authenticator, key = Authenticator(db), await new_key(db)
        async with db.write() as session:
            await session.execute(update(ApiKey).values(expires_at=module.now() + timedelta(seconds=5)))
        if remembered:
            await known(authenticator, key)
        clock.passed = 4.9
        if remembered:
            await known(authenticator, key)
        clock.passed = 5.0
        assert await authenticator.by_key(key) is None

    place.run(scenario)


def test_bad_keys_fill_no_memory_and_drive_nobody_out(
    place: Place, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 3)

    async def scenario(db: Database) -> None:
        authenticator = Authenticator(db)
        keys = [await new_key(db) for _ in range(3)]
        for key in keys:
            await known(authenticator, key)
        guesses = [f"tram_guess{number}" for number in range(50)] + ["", "\x00", "\ud800", "é" * 1000]
        for guess in guesses:
            assert await authenticator.by_key(guess) is None
            assert await authenticator.by_session(guess) is None
        reads = Reads(db)
        for key in keys:
            await known(authenticator, key)
        assert reads.count == 0
        assert len(authenticator._known) == 3
        for _ in range(5):
            await known(authenticator, await new_key(db))
        assert len(authenticator._known) == 3

    place.run(scenario)


def test_a_session_is_no_key_and_a_key_no_session(place: Place) -> None:
    async def scenario(db: Database) -> None:
        authenticator, key = Authenticator(db), await new_key(db)
        opened = await redeem_link(db, (await prepare_accounts(db, None)).link.reveal())
        assert opened is not None
        token = opened.token
        for _ in range(2):  # also where the right answer is remembered
            assert await authenticator.by_key(token.reveal()) is None
            assert await authenticator.by_session(key) is None
            assert await authenticator.by_session(token.reveal()) is not None
            assert await authenticator.by_key(key) is not None

    place.run(scenario)


def test_a_credential_ends_with_the_membership(place: Place) -> None:
    async def scenario(db: Database) -> None:
        key = await new_key(db)
        async with db.write() as session:
            await session.execute(update(Membership).values(role="billing"))
        assert (await known(Authenticator(db), key)).role == "billing"
        async with db.write() as session:
            await session.execute(delete(Membership))
        assert await Authenticator(db).by_key(key) is None

    place.run(scenario)


def test_the_last_use_is_written_once_a_minute_and_not_by_the_request(place: Place, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        authenticator, other, key = Authenticator(db), Authenticator(db), await new_key(db)
        first = module.now()
        principal = await known(authenticator, key)
        clock.passed = 1.0
        await known(other, key)  # another process, which finds no use noted yet
        assert await last_use(db, principal) is None
        await authenticator.flush()
        assert await last_use(db, principal) == first
        for clock.passed in (5.0, 20.0, 59.0):
            for each in (authenticator, other):
                await known(each, key)
                await each.flush()
            assert await last_use(db, principal) == first
        clock.passed = 61.0
        await known(authenticator, key)
        await authenticator.close()
        assert await last_use(db, principal) == module.now()

    place.run(scenario)


def test_a_sessions_use_is_written_too(place: Place) -> None:
    async def scenario(db: Database) -> None:
        opened = await redeem_link(db, (await prepare_accounts(db, None)).link.reveal())
        assert opened is not None
        token = opened.token
        authenticator = Authenticator(db)
        await authenticator.by_session(token.reveal())
        await authenticator.close()
        async with db.read() as session:
            assert (await session.scalars(select(BrowserSession.last_used_at))).one() is not None

    place.run(scenario)


def test_a_use_that_could_not_be_written_is_written_later(place: Place) -> None:
    async def scenario(db: Database) -> None:
        authenticator = Authenticator(db)
        principal = await known(authenticator, await new_key(db))
        write = db.write

        @asynccontextmanager
        async def broken() -> AsyncIterator[AsyncSession]:
            raise OSError("the disk is full")
            yield  # makes this a generator

        db.write = broken  # type: ignore[method-assign]
        with pytest.raises(OSError, match="full"):
            await authenticator.flush()
        db.write = write  # type: ignore[method-assign]
        await authenticator.flush()
        assert await last_use(db, principal) is not None

    place.run(scenario)


def test_processes_that_note_the_same_uses_do_not_wait_for_each_other_in_a_ring(place: Place, clock: Clock) -> None:
    async def scenario(db: Database) -> None:
        keys = [await new_key(db) for _ in range(6)]
        others = [place.open() for _ in range(4)]
        authenticators = [Authenticator(other) for other in others]
        for turn, authenticator in enumerate(authenticators):
            for key in keys if turn % 2 else reversed(keys):
                await known(authenticator, key)
        await asyncio.gather(*(authenticator.flush() for authenticator in authenticators))
        await asyncio.gather(*(other.close() for other in others))

    place.run(scenario)
