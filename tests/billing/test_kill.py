"""`kill -9` of a server under load: what was delivered is on the bill, once, and nothing is held any more."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from tests.api.live import KEY, LiveServer, serve, write_tekken_model
from tests.api.talking import CHAT, chat, session
from tests.billing.meters import metering
from tests.billing.soundness import assert_sound
from tests.storage.places import Place
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.secrets import Secret
from tramontane.accounts.tables import Organisation
from tramontane.billing.lots import create_lot
from tramontane.billing.tables import Hold, Lot, UsageRow
from tramontane.catalogue.local import local_offering
from tramontane.catalogue.prices import PriceDraft, set_price
from tramontane.storage.database import Database

CLIENTS = 12
MOST = 400  # tokens of an answer; a second's worth and more, so that most are killed in mid-stream
CREDIT = 10**15
_KEPT = 1.0  # seconds within which what was delivered is in the database


@dataclass
class Told:
    """What a client knows of its request: when each token came, and what the server said at the end."""

    arrivals: list[float] = field(default_factory=list)
    usage: dict[str, Any] | None = None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tekken_model(tmp_path_factory.mktemp("model"), 13)


def test_killed_twice(place: Place, model: Path) -> None:
    _kill_again_and_again(place, model, kills=2)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_killed_thirty_times(place: Place, model: Path) -> None:
    _kill_again_and_again(place, model, kills=30)


def _kill_again_and_again(place: Place, model: Path, kills: int) -> None:
    place.run(_prepare)
    arguments = (f"--model=small={model}", "--kv-memory=8MiB")
    env = {"TRAMONTANE_DATABASE_URL": place.url} if place.url else {}
    told: dict[str, Told] = {}
    chance = random.Random(kills)
    for _ in range(kills):
        with serve(*arguments, home=place.home, env=env, exit_status=-signal.SIGKILL) as live:
            place.run(lambda db: _check(db, told), upgrade=False)
            killed_at = asyncio.run(_kill_under_load(live, told, chance.uniform(0.5, 2.5)))
        for request in told.values():
            request.arrivals = [at for at in request.arrivals if at < killed_at - _KEPT]
    place.run(lambda db: _recover_and_check(db, told), upgrade=False)


async def _prepare(db: Database) -> None:
    """A first start, a price, and money."""
    await prepare_accounts(db, Secret(KEY))
    async with db.write() as session:
        offering = await local_offering(session, "small")
        await set_price(session, offering.id, PriceDraft(input=10**9, output=3 * 10**9))
        organisation = (await session.scalars(select(Organisation.id))).one()
        await create_lot(session, organisation_id=organisation, kind="credit", name="Credit", amount=CREDIT)


async def _kill_under_load(live: LiveServer, told: dict[str, Told], seconds: float) -> float:
    """Kills the server once it has served for a while; when that was."""
    async with session(live) as client:
        clients = [asyncio.create_task(_read_answers(client, told)) for _ in range(CLIENTS)]
        await asyncio.sleep(seconds)  # whatever they are doing then
        live.process.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        live.process.wait()
        await asyncio.gather(*clients)
    return killed_at


async def _read_answers(client: aiohttp.ClientSession, told: dict[str, Told]) -> None:
    """One after the other, until the server is gone."""
    try:
        while True:
            asked = chat(tokens=MOST, stream=True, stream_options={"include_usage": True})
            async with client.post(CHAT, json=asked) as reply:
                assert reply.status == 200
                async for line in reply.content:
                    if line.startswith(b"data: {"):
                        _note(json.loads(line[len(b"data: ") :]), told)
    except aiohttp.ClientError:
        return


def _note(chunk: dict[str, Any], told: dict[str, Told]) -> None:
    request = told.setdefault(chunk["id"], Told())
    if any(choice["delta"].get("content") for choice in chunk["choices"]):
        request.arrivals.append(time.monotonic())
    request.usage = chunk.get("usage") or request.usage


async def _recover_and_check(db: Database, told: dict[str, Told]) -> None:
    async with metering(db):  # as the next start does
        await _check(db, told)
    async with db.read() as session:
        outcomes = Counter(await session.scalars(select(UsageRow.outcome)))
    assert outcomes["interrupted"] > 0
    assert any(request.arrivals for request in told.values())


async def _wait_until_nothing_is_held(db: Database) -> None:
    """At once, but for a PostgreSQL that has not heard of the death yet: then some seconds later."""
    async with asyncio.timeout(30):
        while True:
            async with db.read() as session:
                if not (await session.scalars(select(Hold.id))).all():
                    return
            await asyncio.sleep(0.1)


async def _check(db: Database, told: dict[str, Told]) -> None:
    """After each start, before anybody asks: who was given a byte is on the bill once, and nothing is held."""
    await _wait_until_nothing_is_held(db)
    async with db.read() as session:
        usage = {row.id: row for row in await session.scalars(select(UsageRow))}
        (lot,) = (await session.scalars(select(Lot))).all()
    assert told.keys() <= usage.keys()
    for id_, request in told.items():
        row = usage[id_]
        assert row.output_tokens <= MOST
        assert row.output_tokens >= len(request.arrivals)  # those that came a second before the end, and earlier
        assert row.amount == 1000 * row.prompt_tokens + 3000 * row.output_tokens
        if request.usage is not None and row.outcome == "done":
            assert (row.prompt_tokens, row.output_tokens) == (
                request.usage["prompt_tokens"], request.usage["completion_tokens"],
            )  # fmt: skip
    assert {row.outcome for row in usage.values()} <= {"done", "interrupted"}
    assert lot.balance == CREDIT - sum(row.amount for row in usage.values())
    await assert_sound(db)
