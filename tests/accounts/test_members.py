"""Members and invitations: roles are given by who may, links work once, and an owner always remains."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.accounts.making import Made, key_of, organisation_of
from tests.storage.places import Place
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.invitations import accept, check_address, find_open, find_open_for, invite, revoke_invitation
from tramontane.accounts.members import change_role, check_may_invite, list_members, remove_member
from tramontane.accounts.sessions import open_session
from tramontane.accounts.tables import Invitation, Membership, Role
from tramontane.accounts.users import change_user, create_user, user_by_email
from tramontane.errors import ConflictError, MissingError, NotAllowedError, TramontaneError
from tramontane.storage.base import new_id, now
from tramontane.storage.database import Database

NAME = "wind.example"


async def set_role(db: Database, made: Made, by: Role, user: str, role: Role) -> None:
    async with db.write() as session:
        await change_role(session, made.id, by, user, role)


async def remove(db: Database, made: Made, by: Role, user: str) -> None:
    async with db.write() as session:
        await remove_member(session, made.id, by, user)


async def owners(db: Database, made: Made) -> int:
    query = select(func.count()).where(Membership.organisation_id == made.id, Membership.role == "owner")
    async with db.read() as session:
        return await session.scalar(query) or 0


async def at_once(*tasks: Awaitable[Any]) -> list[BaseException]:
    """The refusals among what was tried at once."""
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [each for each in ended if isinstance(each, BaseException)]
    assert all(isinstance(each, TramontaneError) for each in refused), refused
    return refused


def test_only_owners_make_and_unmake_owners(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, NAME, "owner", "admin", "member")
        for attempt in (
            set_role(db, made, "admin", made.users["member"], "owner"),
            set_role(db, made, "admin", made.users["admin"], "owner"),
            set_role(db, made, "admin", made.users["owner"], "member"),
            remove(db, made, "admin", made.users["owner"]),
        ):
            with pytest.raises(NotAllowedError, match="Only an owner"):
                await attempt
        await set_role(db, made, "admin", made.users["member"], "billing")
        await set_role(db, made, "owner", made.users["member"], "owner")
        await set_role(db, made, "owner", made.users["owner"], "member")
        assert await owners(db, made) == 1

    place.run(scenario)


def test_an_owner_always_remains(place: Place) -> None:
    """Also where the last two leave at once, by either way."""

    async def scenario(db: Database) -> None:
        made, other = await organisation_of(db, NAME, "owner", "admin"), place.open()
        first, second = made.users["owner"], made.users["admin"]
        for attempt in (remove(db, made, "owner", first), set_role(db, made, "owner", first, "member")):
            with pytest.raises(ConflictError, match="only owner"):
                await attempt
        await set_role(db, made, "owner", second, "owner")
        for _ in range(4):
            leave = [
                set_role(db, made, "owner", first, "developer"),
                set_role(other, made, "owner", second, "developer"),
            ]
            assert len(await at_once(*leave)) == 1
            assert await owners(db, made) == 1
            for user in (first, second):
                await set_role(db, made, "owner", user, "owner")
        assert len(await at_once(remove(db, made, "owner", first), remove(other, made, "owner", second))) == 1
        assert await owners(db, made) == 1
        await other.close()

    place.run(scenario)


def test_whoever_was_removed_is_out_at_once_and_for_good(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, NAME, "owner", "developer")
        authenticator, user = Authenticator(db), made.users["developer"]
        key, others = await key_of(db, made, "developer"), await key_of(db, made, "owner")
        async with db.write() as session:
            opened = await open_session(session, user, by="link", address="")
        assert opened is not None
        assert await authenticator.by_key(key) is not None
        await remove(db, made, "owner", user)
        authenticator.forget(user)
        assert await authenticator.by_key(key) is None
        assert await authenticator.by_session(opened.token.reveal()) is None
        async with db.write() as session:
            session.add(Membership(user_id=user, organisation_id=made.id, role="owner"))
        assert await authenticator.by_key(key) is None  # who comes back makes new keys
        assert await authenticator.by_session(opened.token.reveal()) is None
        assert await authenticator.by_key(others) is not None
        with pytest.raises(MissingError):
            await remove(db, made, "owner", new_id())

    place.run(scenario)


def test_a_member_is_shown_with_the_last_use_of_what_is_the_members(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made, authenticator = await organisation_of(db, NAME, "owner", "developer"), Authenticator(db)
        assert await authenticator.by_key(await key_of(db, made, "developer")) is not None
        await authenticator.flush()
        async with db.read() as session:
            shown = {member.role: member for member in await list_members(session, made.id)}
        assert set(shown) == {"owner", "developer"}
        assert shown["owner"].last_seen_at is None
        seen = shown["developer"].last_seen_at
        assert seen is not None
        assert now() - seen < timedelta(minutes=1)
        assert shown["developer"].email == "developer@wind.example"

    place.run(scenario)


# ── invitations ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def new_invitation(db: Database, made: Made, email: str | None = None) -> tuple[str, str]:
    async with db.write() as session:
        invitation, token = await invite(session, made.id, made.users["owner"], "developer", email)
    return invitation.id, token.reveal()


async def come_in(db: Database, token: str, name: str) -> None:
    async with db.write() as session:
        view = await find_open(session, token)
        user = await create_user(session, name, None)
        await accept(session, view, user.id)


def test_an_invitation_lets_one_in_once(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made, other = await organisation_of(db, NAME, "owner"), place.open()
        _, token = await new_invitation(db, made)
        refused = await at_once(*(come_in(each, token, "somebody") for each in (db, other) for _ in range(4)))
        await other.close()
        assert len(refused) == 7
        async with db.read() as session:
            roles = sorted(member.role for member in await list_members(session, made.id))
        assert roles == ["developer", "owner"]

    place.run(scenario)


def test_an_invitation_that_is_not_open_is_as_one_that_never_was(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, NAME, "owner")
        other = await organisation_of(db, "other.example", "owner")
        revoked, expired, accepted = [await new_invitation(db, made) for _ in range(3)]
        async with db.write() as session:
            with pytest.raises(MissingError):
                await revoke_invitation(session, other.id, revoked[0])
            await revoke_invitation(session, made.id, revoked[0])
            one = await session.get_one(Invitation, expired[0])
            assert timedelta(days=6, hours=23) < one.expires_at - now() <= timedelta(days=7)
            await session.execute(update(Invitation).where(Invitation.id == expired[0]).values(expires_at=now()))
        await come_in(db, accepted[1], "somebody")
        said = set()
        for token in (revoked[1], expired[1], accepted[1], "never-was", "\x00", "\ud800"):
            with pytest.raises(MissingError) as refusal:
                await come_in(db, token, "somebody else")
            said.add(str(refusal.value))
        assert len(said) == 1
        with pytest.raises(ConflictError, match="accepted"):
            async with db.write() as session:
                await revoke_invitation(session, made.id, accepted[0])

    place.run(scenario)


def test_nobody_comes_back_by_an_invitation_of_ones_own(place: Place) -> None:
    """Who was removed, or is an admin no more, may have kept a link; others' links and other organisations' go on."""

    async def scenario(db: Database) -> None:
        made = await organisation_of(db, NAME, "owner", "admin", "billing")
        other = await organisation_of(db, "other.example", "owner")
        ids = {name: made.users[name] for name in ("owner", "admin", "billing")}
        async with db.write() as session:
            tokens = {
                name: (await invite(session, made.id, user_id, "developer", None))[1].reveal()
                for name, user_id in ids.items()
            }
            elsewhere = (await invite(session, other.id, ids["admin"], "owner", None))[1].reveal()
        await set_role(db, made, "owner", ids["billing"], "member")
        await remove(db, made, "owner", ids["admin"])
        for name in ("admin", "billing"):
            with pytest.raises(MissingError):
                await come_in(db, tokens[name], "back again")
        await come_in(db, tokens["owner"], "somebody")
        await come_in(db, elsewhere, "a customer's owner")
        await set_role(db, made, "owner", ids["owner"], "owner")  # which changes nothing

    place.run(scenario)


def test_an_invitation_may_be_for_one_address(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, NAME, "owner")
        _, token = await new_invitation(db, made, "Ada@Example.org")
        async with db.read() as session:
            view = await find_open(session, token)
            check_address(view, " ada@example.ORG")
            for other in (None, "", "ada@example.com"):
                with pytest.raises(NotAllowedError, match="another address"):
                    check_address(view, other)
            assert await find_open_for(session, "ADA@example.org") == view
            assert await find_open_for(session, "ada@example.com") is None
        await new_invitation(db, await organisation_of(db, "other.example", "owner"), "ada@example.org")
        async with db.read() as session:  # two organisations want her: only a link tells which she joins
            assert await find_open_for(session, "ada@example.org") is None

    place.run(scenario)


def test_who_is_taken_out_leaves_no_way_back(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, NAME, "owner", "admin")
        async with db.write() as session:
            await check_may_invite(session, made.id, made.users["admin"], "developer")
            with pytest.raises(NotAllowedError, match="owner"):
                await check_may_invite(session, made.id, made.users["admin"], "owner")
            await remove_member(session, made.id, "owner", made.users["admin"])
        async with db.write() as session:
            with pytest.raises(NotAllowedError, match="any more"):
                await check_may_invite(session, made.id, made.users["admin"], "developer")

    place.run(scenario)


def test_an_address_is_of_one_user_however_it_is_written(place: Place) -> None:
    async def scenario(db: Database) -> None:
        await organisation_of(db, NAME, "owner", "admin")
        for attempt in ("owner@wind.example", "Owner@Wind.Example "):
            with pytest.raises(ConflictError, match="already"):
                async with db.write() as session:
                    await create_user(session, "thief", attempt)
        async with db.read() as session:
            admin = await user_by_email(session, "ADMIN@wind.example")
        assert admin is not None
        with pytest.raises(ConflictError, match="already"):
            async with db.write() as session:
                await change_user(session, await session.merge(admin), {"email": "OWNER@wind.example"})

    place.run(scenario)
