"""No secret is ever seen where it was not asked for: in logs, texts, or the files of the database."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

import tramontane.billing.tables
import tramontane.conversations.tables  # noqa: F401 (these belong to what is looked through)
from tests.accounts.making import organisation_of
from tests.storage.places import Place
from tramontane.accounts.audit import Actor
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.errors import AccountError
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.invitations import invite
from tramontane.accounts.keys import make_key, register_key, revoke_key
from tramontane.accounts.secrets import Secret
from tramontane.accounts.sessions import end_session
from tramontane.accounts.sign_in import SignIns, WrongCredentialsError, create_link, redeem_link
from tramontane.accounts.tables import ApiKey, User
from tramontane.accounts.vault import Vault
from tramontane.catalogue.tables import ProviderRow
from tramontane.storage.base import Base
from tramontane.storage.database import Database

CANARY = "canary-key-of-a-person"


def test_secrets_are_seen_nowhere(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "aiosqlite", "psycopg", "alembic"):
        caplog.set_level(logging.DEBUG, name)
    said: list[str] = []

    async def scenario(db: Database) -> list[str]:
        first = await prepare_accounts(db, None)
        second = await prepare_accounts(db, Secret(CANARY))
        assert first.new_key is not None
        authenticator = Authenticator(db)
        principal = await authenticator.by_key(CANARY)
        opened = await redeem_link(db, second.link.reveal())
        assert principal is not None
        assert opened is not None
        token = opened.token
        secrets = [CANARY, *(secret.reveal() for secret in (first.new_key, first.link, second.link, token))]
        said.extend([repr(first), repr(principal), repr(await authenticator.by_session(token.reveal()))])
        said.append(await _refusals(db))
        said.append(_files(place.home))  # with the log of what is not yet in the file
        async with db.write() as session:
            await end_session(session, opened.user_id, opened.session_id)
        await authenticator.close()
        return secrets

    secrets = place.run(scenario)
    said.extend([caplog.text, _files(place.home)])
    for secret in secrets:
        assert not any(secret in text for text in said)
    assert "api_keys" in "".join(said)  # there was something to see


def test_secrets_of_people_are_not_in_the_database(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Nor in the audit log, the refusals, or anything that is shown of what holds them."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def scenario(db: Database) -> list[str]:
        sign_ins, vault = SignIns(), Vault.open(place.home)
        sign_ins.passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        made = await organisation_of(db, "wind.example", "owner")
        password = await sign_ins.passwords.digest(Secret(CANARY))
        async with db.write() as session:
            await session.execute(update(User).values(password_hash=password))
            invitation, token = await invite(session, made.id, made.users["owner"], "member", None)
            key, secret = await make_key(session, made.workspace_id, made.users["owner"], "a key")
            provider = ProviderRow(
                name="p", kind="openai_compatible", operator="x", encrypted_key=vault.encrypt(Secret(CANARY), "p")
            )
            session.add(provider)
        opened = await sign_ins.by_password(db, "owner@wind.example", Secret(CANARY), "192.0.2.1")
        actor = Actor(made.id, made.users["owner"])
        changed = Secret(CANARY + " changed")
        await sign_ins.change_password(db, actor, opened.session_id, Secret(CANARY), changed, "192.0.2.1")
        with pytest.raises(WrongCredentialsError) as refusal:
            await sign_ins.by_password(db, "owner@wind.example", Secret(CANARY), "192.0.2.1")
        said.append("".join(traceback.format_exception(refusal.value)))
        said.extend([repr(opened), repr(invitation), repr(key), repr(vault), repr(sign_ins), repr(provider)])
        said.append(await _dump(db))
        return [CANARY, token.reveal(), secret.reveal(), opened.token.reveal()]

    secrets = place.run(scenario)
    said.extend([caplog.text, _files(place.home)])
    for canary in secrets:
        assert not any(canary in text for text in said)
    assert "session.open" in "".join(said)  # there was something to see
    assert "192.0.2.1" in "".join(said)


async def _dump(db: Database) -> str:
    """All rows of all tables."""
    async with db.read() as session:
        rows = [repr((await session.execute(table.select())).all()) for table in Base.metadata.tables.values()]
    return "".join(rows)


async def _refusals(db: Database) -> str:
    """What is said of errors on the way of a key and of a link."""
    texts = []
    async with db.read() as session:
        known = (await session.scalars(select(ApiKey).where(ApiKey.name == "TRAMONTANE_API_KEY"))).one()
    try:
        async with db.write() as session:
            twice = ApiKey(
                workspace_id=known.workspace_id, user_id=known.user_id, name="", prefix="", digest=known.digest
            )
            session.add(twice)
    except SQLAlchemyError as error:
        texts.append("".join(traceback.format_exception(error)))
    try:
        async with db.write() as session:
            await create_link(session, "nobody")
    except SQLAlchemyError as error:
        texts.append("".join(traceback.format_exception(error)))
    try:
        async with db.write() as session:
            await revoke_key(session, known.workspace_id, known.id)
            await register_key(session, Secret(CANARY))
    except AccountError as error:
        texts.append("".join(traceback.format_exception(error)))
    assert len(texts) == 3
    return "".join(texts)


def _files(home: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in home.iterdir())
