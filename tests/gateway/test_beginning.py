"""An answer begins beside its hold where that is as good as certain; nothing is delivered before it is committed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.billing.ready import sqlite_place
from tests.gateway.other_makes import OtherMake, running
from tests.gateway.scene import Scene, scene
from tramontane.billing.tables import Hold, Lot
from tramontane.catalogue.prices import PriceDraft
from tramontane.errors import PaymentRequiredError, QueueFullError
from tramontane.gateway.answers import Event, EventStream
from tramontane.gateway.providers.base import Prepared
from tramontane.gateway.providers.local.provider import LocalProvider
from tramontane.gateway.requests import Generation
from tramontane.storage.database import Database

Act = Callable[[Scene, "Watched"], Awaitable[None]]


class Watched:
    """A provider of this machine; tells when its engine begins and gives up. The rest is the provider's own."""

    def __init__(self, provider: LocalProvider) -> None:
        self._provider = provider
        self.begun: asyncio.Queue[int | None] = asyncio.Queue()  # the limit of each answer that began
        self.ended: asyncio.Queue[None] = asyncio.Queue()
        self.is_full = False
        self.refusing = threading.Event()  # a full engine refuses when it is set
        self.refusing.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def prepare(self, model: str, generation: Generation) -> Prepared:
        return _Prepared(self, await self._provider.prepare(model, generation))


class _Prepared:
    def __init__(self, watched: Watched, prepared: Prepared) -> None:
        self._watched, self._prepared = watched, prepared
        self.num_prompt_tokens, self.max_output = prepared.num_prompt_tokens, prepared.max_output

    async def generate(self, max_tokens: int | None = None) -> EventStream:
        if self._watched.is_full:
            await asyncio.to_thread(self._watched.refusing.wait)
            raise QueueFullError("Too many wait.", 1.0)
        stream = await self._prepared.generate(max_tokens)
        self._watched.begun.put_nowait(max_tokens)
        return _Stream(self._watched, stream)


class _Stream:
    def __init__(self, watched: Watched, stream: EventStream) -> None:
        self._watched, self._stream = watched, stream
        self.num_prompt_tokens, self.notes = stream.num_prompt_tokens, stream.notes

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> Event:
        return await self._stream.__anext__()

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._watched.ended.put_nowait(None)


def play(home: Path, provider: LocalProvider, act: Act) -> None:
    async def main(db: Database) -> None:
        watched = Watched(provider)
        async with scene(db, local={"m": watched}) as stage, asyncio.timeout(30):  # type: ignore[dict-item]
            await stage.price_local()
            await act(stage, watched)

    sqlite_place(home).run(main, upgrade=False)


async def known(stage: Scene, watched: Watched) -> None:
    """From its first answer on a payer's money is known."""
    await stage.ask(max_tokens=2)
    await watched.begun.get()
    await watched.ended.get()
    await stage.usage()


async def holds(stage: Scene) -> int:
    async with stage.db.read() as session:
        return int(await session.scalar(select(func.count()).select_from(Hold)) or 0)


def test_the_engine_begins_beside_a_hold_and_nothing_leaves_before_it(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        await known(stage, watched)
        async with stage.db.write():  # nobody else commits
            beginning = asyncio.create_task(stage.begin(max_tokens=3))
            assert await watched.begun.get() is None
            assert (beginning.done(), await holds(stage)) == (False, 0)
        stream, _ = await beginning
        assert await holds(stage) == 1
        assert sum([event.num_tokens async for event in stream]) == 3
        assert [row.output_tokens for row in await stage.usage()] == [2, 3]

    play(tmp_path, provider, act)


def test_nobody_computes_for_a_payer_who_is_not_known(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        async with stage.db.write():
            first = asyncio.create_task(stage.ask(max_tokens=2))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watched.begun.get(), 0.1)
        await first

    play(tmp_path, provider, act)


def test_nobody_computes_for_money_that_is_running_out(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        await known(stage, watched)
        row = (await stage.usage())[0]
        async with stage.db.write() as session:  # enough for some, which others may take meanwhile
            await session.execute(update(Lot).values(balance=10 * (2_000 * row.prompt_tokens + 6_000 * 3)))
        await stage.ask(max_tokens=3)
        await watched.begun.get()
        async with stage.db.write():
            asking = asyncio.create_task(stage.ask(max_tokens=3))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watched.begun.get(), 0.1)
        await asking

    play(tmp_path, provider, act)


def test_a_hold_that_comes_late_stops_the_engine_until_it_is_there(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        await known(stage, watched)
        async with stage.db.write():
            asking = asyncio.create_task(stage.ask(max_tokens=3))
            await watched.begun.get()
            await watched.ended.get()
            assert not asking.done()
        answer, _ = await asking
        assert await watched.begun.get() is None
        assert answer.usage.output == 3
        assert [row.output_tokens for row in await stage.usage()] == [2, 3]
        async with stage.db.write():  # nobody counts on a ledger that was slow just now
            asking = asyncio.create_task(stage.ask(max_tokens=3))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watched.begun.get(), 0.1)
        await asking

    play(tmp_path, provider, act)


def test_money_that_another_process_took_is_not_there(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        await known(stage, watched)
        async with stage.db.write() as session:
            await session.execute(update(Lot).values(balance=100))
        with pytest.raises(PaymentRequiredError):
            await stage.begin(max_tokens=3)
        await watched.begun.get()
        await watched.ended.get()
        assert await stage.money() == (100, 0)
        with pytest.raises(PaymentRequiredError):
            await stage.begin(max_tokens=3)
        assert watched.begun.empty(), "now it is known that there is nothing left"

    play(tmp_path, provider, act)


def test_money_that_pays_for_less_makes_a_shorter_answer(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        await known(stage, watched)
        row = (await stage.usage())[0]
        left = 2_000 * row.prompt_tokens + 6_000 * 5
        async with stage.db.write() as session:
            await session.execute(update(Lot).values(balance=left))
        answer, _ = await stage.ask(max_tokens=50, min_tokens=50)
        assert [await watched.begun.get(), await watched.begun.get()] == [None, 5]
        assert answer.usage.output == 5
        await stage.usage()

    play(tmp_path, provider, act)


def test_an_engine_that_is_full_takes_no_money(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        await known(stage, watched)
        before = await stage.money()
        watched.is_full = True
        watched.refusing.clear()
        async with stage.db.write():
            asking = asyncio.create_task(stage.begin(max_tokens=3))
            with pytest.raises(TimeoutError):  # its hold waits for its turn
                await asyncio.wait_for(asyncio.shield(asking), 0.05)
            watched.refusing.set()
            with pytest.raises(QueueFullError):
                await asking
        for _ in range(5):
            with pytest.raises(QueueFullError):
                await stage.begin(max_tokens=3)
        watched.is_full = False
        await stage.ask(max_tokens=2)  # its hold comes after those that are given back
        _, second = await stage.usage()
        assert await stage.money() == (before[0] - second.amount, 0)

    play(tmp_path, provider, act)


def test_another_server_holds_for_the_request_that_a_full_engine_refused(
    provider: LocalProvider, tmp_path: Path
) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        other = OtherMake()
        async with running(other):
            await stage.offer(other, price=PriceDraft(input=3 * 10**9, cached_input=3 * 10**9, output=9 * 10**9))
            await known(stage, watched)
            watched.is_full = True
            answers = [await stage.ask(max_tokens=20) for _ in range(5)]
            rows = (await stage.usage())[1:]
            assert {row.id for row in rows} == {exchange.id for _, exchange in answers}
            assert len({row.offering_id for row in rows}) == 1
            assert all(
                answer.usage.output == row.output_tokens > 0 for (answer, _), row in zip(answers, rows, strict=True)
            )
            assert (await stage.money())[1] == 0

    play(tmp_path, provider, act)


def test_who_leaves_while_the_hold_is_late_pays_nothing(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        await known(stage, watched)
        before = await stage.money()
        async with stage.db.write():
            beginning = asyncio.create_task(stage.begin(max_tokens=3))
            await watched.begun.get()
            await watched.ended.get()  # given up, until the hold is there
            beginning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await beginning
        await stage.ask(max_tokens=2)
        _, second = await stage.usage()
        assert await stage.money() == (before[0] - second.amount, 0)

    play(tmp_path, provider, act)


def test_who_leaves_while_both_begin_pays_nothing(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene, watched: Watched) -> None:
        await known(stage, watched)
        before = await stage.money()
        async with stage.db.write():
            beginning = asyncio.create_task(stage.begin(max_tokens=3))
            await watched.begun.get()
            beginning.cancel()
            await watched.ended.get()
        with pytest.raises(asyncio.CancelledError):
            await beginning
        await stage.ask(max_tokens=2)  # its hold comes after the one that is given back
        _, second = await stage.usage()
        assert await stage.money() == (before[0] - second.amount, 0)

    play(tmp_path, provider, act)
