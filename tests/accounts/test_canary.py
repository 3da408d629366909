"""No secret is ever seen where it was not asked for: in logs, texts, or the files of the database."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from tests.storage.places import Place
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.errors import AccountError
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.keys import register_key, revoke_key
from tramontane.accounts.secrets import Secret
from tramontane.accounts.sign_in import create_link, redeem_link, sign_out
from tramontane.accounts.tables import ApiKey
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
        token = await redeem_link(db, second.link.reveal())
        assert principal is not None
        assert token is not None
        secrets = [CANARY, *(secret.reveal() for secret in (first.new_key, first.link, second.link, token))]
        said.extend([repr(first), repr(principal), repr(await authenticator.by_session(token.reveal()))])
        said.append(await _refusals(db))
        said.append(_files(place.home))  # with the log of what is not yet in the file
        await sign_out(db, token.reveal())
        await authenticator.close()
        return secrets

    secrets = place.run(scenario)
    said.extend([caplog.text, _files(place.home)])
    for secret in secrets:
        assert not any(secret in text for text in said)
    assert "api_keys" in "".join(said)  # there was something to see


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
