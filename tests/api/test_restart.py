"""`kill -9` under load, and a restart: nothing that was told to anybody is forgotten, and nothing is told twice."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.api.live import LiveServer, serve, write_tekken_model
from tests.api.talking import CHAT, ask, chat, session
from tests.storage.places import Place, place
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.secrets import Secret
from tramontane.accounts.tables import ApiKey
from tramontane.storage.database import Database

__all__ = ["place"]  # each test here runs on SQLite and on PostgreSQL

CHOSEN = "a-key-that-the-administrator-chose"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tekken_model(tmp_path_factory.mktemp("model"), 13)


def test_a_server_that_was_killed_under_load_starts_again(place: Place, model: Path) -> None:
    arguments = (f"--model=small={model}", "--kv-memory=8MiB")
    env = {"TRAMONTANE_API_KEY": "", **({"TRAMONTANE_DATABASE_URL": place.url} if place.url else {})}

    with serve(*arguments, home=place.home, env=env, exit_status=-signal.SIGKILL) as live:
        first_key = printed_key(live)
        assert first_key is not None
        assert ask(live, "/v1/models", key=first_key).status == 200
        asyncio.run(kill_under_load(live, first_key))

    with serve(*arguments, home=place.home, env={**env, "TRAMONTANE_API_KEY": CHOSEN}) as live:
        assert printed_key(live) is None
        assert first_key not in live.stdout.read_text()
        assert ask(live, CHAT, chat(), key=first_key).status == 200
        assert ask(live, CHAT, chat(), key=CHOSEN).status == 200
    place.run(one_more_start, upgrade=False)
    assert place.run(number_of_keys, upgrade=False) == 2


async def one_more_start(db: Database) -> None:
    """A chosen key is registered at each start, and is one key all the same."""
    assert (await prepare_accounts(db, Secret(CHOSEN))).new_key is None


async def kill_under_load(live: LiveServer, key: str) -> None:
    """Kills the server while 20 streams are being read."""
    async with session(live) as client:
        headers = {"authorization": f"Bearer {key}"}
        replies = [await client.post(CHAT, json=chat(tokens=1500, stream=True), headers=headers) for _ in range(20)]
        for reply in replies:
            assert reply.status == 200
            await reply.content.readline()
        live.process.send_signal(signal.SIGKILL)
        live.process.wait()
        for reply in replies:
            reply.close()


def printed_key(live: LiveServer) -> str | None:
    found = re.search(r"API key, shown only now: +(\S+)", live.stdout.read_text())
    return found[1] if found else None


async def number_of_keys(db: Database) -> int:
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(ApiKey)) or 0
