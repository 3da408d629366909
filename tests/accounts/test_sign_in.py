"""Links that work once, and the sessions that they open."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from tests.storage.places import Place
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.owners import first_owner
from tramontane.accounts.sessions import end_session
from tramontane.accounts.sign_in import create_link, redeem_link
from tramontane.accounts.tables import BrowserSession, Membership, SignInLink
from tramontane.errors import MissingError
from tramontane.storage.base import now
from tramontane.storage.database import Database


def test_of_many_who_redeem_one_link_at_once_one_gets_a_session(place: Place) -> None:
    async def scenario(db: Database) -> None:
        link = (await prepare_accounts(db, None)).link.reveal()
        others = [place.open() for _ in range(2)]  # as other processes would: with connections of their own
        opened = await asyncio.gather(*(redeem_link(each, link) for each in (db, *others) for _ in range(8)))
        await asyncio.gather(*(other.close() for other in others))
        (session_token,) = [each.token for each in opened if each]
        async with db.read() as session:
            assert await session.scalar(select(func.count()).select_from(BrowserSession)) == 1
        principal = await Authenticator(db).by_session(session_token.reveal())
        assert principal is not None
        assert (principal.role, principal.credential) == ("owner", "session")
        assert await redeem_link(db, link) is None

    place.run(scenario)


def test_a_new_link_ends_the_earlier_ones(place: Place) -> None:
    async def make(db: Database, user_id: str) -> str:
        async with db.write() as session:
            return (await create_link(session, user_id)).reveal()

    async def scenario(db: Database) -> None:
        old = (await prepare_accounts(db, None)).link.reveal()
        async with db.read() as session:
            owner = await first_owner(session)
        links = [old, *await asyncio.gather(*(make(db, owner.user_id) for _ in range(6)))]
        opened = [await redeem_link(db, link) for link in links]
        assert opened[0] is None
        assert len([each for each in opened if each]) == 1

    place.run(scenario)


def test_an_expired_link_opens_nothing(place: Place) -> None:
    async def scenario(db: Database) -> None:
        link = (await prepare_accounts(db, None)).link.reveal()
        async with db.write() as session:
            left = (await session.scalars(select(SignInLink.expires_at))).one() - now()
            assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
            await session.execute(update(SignInLink).values(expires_at=now()))
        assert await redeem_link(db, link) is None
        assert await redeem_link(db, "no-such-link") is None

    place.run(scenario)


def test_a_link_of_someone_who_left_opens_nothing(place: Place) -> None:
    async def scenario(db: Database) -> None:
        link = (await prepare_accounts(db, None)).link.reveal()
        async with db.write() as session:
            membership = (await session.scalars(select(Membership))).one()
            await session.delete(membership)
        assert await redeem_link(db, link) is None

    place.run(scenario)


def test_signing_out_ends_the_session(place: Place) -> None:
    async def scenario(db: Database) -> None:
        opened = await redeem_link(db, (await prepare_accounts(db, None)).link.reveal())
        assert opened is not None
        authenticator, token = Authenticator(db), opened.token.reveal()
        assert await authenticator.by_session(token) is not None
        async with db.write() as session:
            await end_session(session, opened.user_id, opened.session_id)
        assert await authenticator.by_session(token) is not None  # remembered, until it is told
        authenticator.forget(opened.session_id)
        assert await authenticator.by_session(token) is None
        with pytest.raises(MissingError):
            async with db.write() as session:
                await end_session(session, opened.user_id, opened.session_id)

    place.run(scenario)
