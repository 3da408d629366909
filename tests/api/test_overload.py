"""More than the server can take at once, and clients that go away: the others are served, and nothing leaks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.live import LiveServer, serve, wait_for, write_tekken_model
from tests.api.talking import (
    CHAT,
    CORRELATION_HEADER,
    PATIENCE,
    ask,
    chat,
    resident_bytes,
    session,
    streaming,
    total,
    wait_until_nothing_is_held,
)
from tests.tiny import is_empty
from tramontane.engine.async_engine import AsyncEngine
from tramontane.errors import QueueFullError
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.gateway import Gateway
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import open_folder
from tramontane.gateway.requests import Chat, Generation, Sampling

MAX_QUEUE = 4
STREAMS = 200
MIB = 2**20

# oneDNN keeps a compiled kernel for each number of rows that a step ever had: up to 1024, which is some 300 MiB in all.
# That is memory, but none that a stream leaves behind. Without it, what is left is ours, and stays within a MiB.
WITHOUT_KERNEL_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0", "LRU_CACHE_CAPACITY": "8"}
MAY_GROW = 6 * MIB  # over 600 streams: 10 KiB a stream would be a leak


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tekken_model(tmp_path_factory.mktemp("model"), 13)


@pytest.fixture(scope="module")
def narrow(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Room for the keys and values of 8 short sequences, and a short queue."""
    arguments = (f"--model=small={model}", f"--max-queue={MAX_QUEUE}", "--kv-memory=256KiB")
    with serve(*arguments, home=tmp_path_factory.mktemp("narrow")) as live:
        yield live


@pytest.fixture(scope="module")
def wide(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """More streams than sequences that are computed at once, which is 128."""
    arguments = (f"--model=small={model}", f"--max-queue={STREAMS}", "--kv-memory=8MiB")
    with serve(*arguments, home=tmp_path_factory.mktemp("wide"), env=WITHOUT_KERNEL_CACHES) as live:
        yield live


# ── a full queue ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_queue_refuses_at_once_and_the_others_are_served(narrow: LiveServer) -> None:
    rejected_before = total(narrow, "admission_rejections_total")

    async def one(client: aiohttp.ClientSession) -> Answered:
        begun = time.monotonic()
        async with client.post(CHAT, json=chat(tokens=200)) as reply:
            return Answered(reply.status, time.monotonic() - begun, dict(reply.headers), await reply.json())

    async def load() -> tuple[list[Answered], list[Answered]]:
        async with session(narrow) as client:
            # As many as are computed at once find a place, if they come at once; memory there is for few of them.
            early = asyncio.gather(*(one(client) for _ in range(24)))
            await asyncio.to_thread(wait_for, queue_is_full, "a full queue", PATIENCE)
            late = await asyncio.gather(*(one(client) for _ in range(60)))
            return await early, late

    def queue_is_full() -> bool:
        return total(narrow, "num_requests_waiting") > MAX_QUEUE

    early, late = asyncio.run(load())
    served = [answer for answer in (*early, *late) if answer.status == 200]
    refused = [answer for answer in late if answer.status == 429]
    assert len(served) + len(refused) == 24 + 60
    assert all(answer.body["usage"]["completion_tokens"] == 200 for answer in served)
    assert len(refused) > 30
    assert max(answer.seconds for answer in refused) < 5
    for answer in refused:
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.body["code"] == "1300"
        assert answer.body["object"] == "error"
        assert "queue is full" in answer.body["message"]
        assert answer.body["correlation_id"] == answer.headers[CORRELATION_HEADER]
    assert total(narrow, "admission_rejections_total") - rejected_before == len(refused)
    wait_until_nothing_is_held(narrow)
    assert ask(narrow, CHAT, chat()).status == 200


@dataclass(frozen=True)
class Answered:
    """A reply and how long it took."""

    status: int
    seconds: float
    headers: dict[str, str]
    body: Any


# ── many streams ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_200_streams_a_third_of_which_hang_up(wide: LiveServer) -> None:
    for seed in range(2):
        asyncio.run(a_round(wide, seed))
    warm = resident_bytes(wide)
    for seed in range(2, 5):
        asyncio.run(a_round(wide, seed))
        wait_until_nothing_is_held(wide)
    grown = resident_bytes(wide) - warm
    assert grown < MAY_GROW, f"{grown / MIB:.1f} MiB more than after the warm-up"
    assert total(wide, "failed_steps_total") == 0


@pytest.mark.heavy
def test_memory_is_flat_over_8000_streams(wide: LiveServer) -> None:
    for seed in range(2):
        asyncio.run(a_round(wide, seed))
    warm = resident_bytes(wide)
    for seed in range(2, 42):
        asyncio.run(a_round(wide, seed))
    wait_until_nothing_is_held(wide)
    assert resident_bytes(wide) - warm < 2 * MAY_GROW  # 1.5 KiB a stream


async def a_round(server: LiveServer, seed: int) -> None:
    """200 streams at once; every third hangs up, at any moment from before its first byte to its last."""
    rng = random.Random(seed)
    async with session(server) as client:
        await asyncio.gather(*(a_stream(client, rng.randrange(80) if i % 3 == 0 else None) for i in range(STREAMS)))


async def a_stream(client: aiohttp.ClientSession, hang_up_after: int | None) -> None:
    """Reads a stream whole, or so many of its lines."""
    async with client.post(CHAT, json=chat(tokens=48, stream=True)) as reply:
        assert reply.status == 200
        lines: list[bytes] = []
        while hang_up_after is None or len(lines) < hang_up_after:
            if not (line := await reply.content.readline()):
                break
            if line.startswith(b"data: "):
                lines.append(line[6:].strip())
        if hang_up_after is not None:
            reply.close()
            return
    assert lines[-1] == b"[DONE]"
    last = json.loads(lines[-2])
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["usage"]["completion_tokens"] == 48


# ── hanging up ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_that_is_given_up_frees_its_blocks(wide: LiveServer) -> None:
    with streaming(wide, chat(tokens=2000)):
        wait_for(lambda: total(wide, "num_requests_running") == 1, "a running request")
        assert total(wide, "kv_cache_usage_perc") > 0
    given_up = total(wide, "generation_tokens_total")
    wait_until_nothing_is_held(wide)
    assert total(wide, "generation_tokens_total") - given_up < 500  # of 2,000: nobody went on writing


def test_a_whole_answer_that_is_given_up_frees_its_blocks(wide: LiveServer) -> None:
    written = total(wide, "generation_tokens_total")
    body = json.dumps(chat(tokens=2000)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {wide.key}\r\n"
    with socket.create_connection(("127.0.0.1", wide.port), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        # The engine may begin before its hold is committed, and what is given up until then is not accounted for.
        wait_for(lambda: total(wide, "generation_tokens_total") > written + 300, "an answer that is well on its way")
    wait_until_nothing_is_held(wide)
    line = wait_for(lambda: [entry for entry in wide.log if entry.get("status") == 499], "the log line")[-1]
    assert line["prompt_tokens"] > 0  # what was done for a client that left is known
    assert line["completion_tokens"] < 2000


@pytest.fixture
def provider(model: Path) -> Iterator[LocalProvider]:
    provider = LocalProvider([open_folder("small", model)], LocalOptions(kv_memory_bytes=32 * MIB, max_queue=1))
    provider.load()
    yield provider
    provider.close()


@contextmanager
def between_two_steps(engine: AsyncEngine) -> Iterator[None]:
    """The engine's thread makes no step in here; what is wanted of it meanwhile it does before the next one."""
    reached, go = threading.Event(), threading.Event()

    def halt() -> None:
        reached.set()
        go.wait(PATIENCE)

    assert engine._send(halt)
    assert reached.wait(PATIENCE)
    try:
        yield
    finally:
        go.set()


def test_who_hangs_up_has_no_blocks_when_the_next_step_begins(provider: LocalProvider) -> None:
    engine = engine_of(provider)
    gateway = Gateway([provider], Metrics())
    seen: concurrent.futures.Future[tuple[int, list[str]]] = concurrent.futures.Future()

    async def scenario() -> None:
        stays = await accepted(gateway, "stays", tokens=1500)
        leaves = await accepted(gateway, "leaves", tokens=1500)
        await stays.__anext__()
        await leaves.__anext__()
        with between_two_steps(engine):
            steps = engine.metrics.num_steps
            held = engine.metrics.kv_cache_usage_perc
            await leaves.aclose()
            assert engine._send(lambda: seen.set_result((engine.metrics.num_steps, list(engine._engine._live))))
        assert seen.result(PATIENCE) == (steps, ["stays"])
        assert engine.metrics.num_requests_running == 1
        assert engine.metrics.kv_cache_usage_perc < held
        await stays.aclose()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))
    wait_for(lambda: is_empty(engine._engine), "an empty pool")
    engine._engine.check()


def engine_of(provider: LocalProvider) -> AsyncEngine:
    engine = provider._models["small"].engine
    assert engine is not None
    return engine


def test_who_waits_in_the_queue_and_hangs_up_gives_its_place_back(provider: LocalProvider) -> None:
    engine = engine_of(provider)
    gateway = Gateway([provider], Metrics())

    async def scenario() -> None:
        many = [await accepted(gateway, f"running {number}", n=64, tokens=1000) for number in range(2)]
        await asyncio.to_thread(wait_for, lambda: engine.metrics.num_requests_running == 128, "all places taken")
        waiting = await accepted(gateway, "waiting")
        await refused(gateway, "one too many")
        await waiting.aclose()
        after = await accepted(gateway, "in its place")
        for stream in (*many, after):
            await stream.aclose()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))
    wait_for(lambda: is_empty(engine._engine), "an empty pool")
    engine._engine.check()


async def accepted(gateway: Gateway, name: str, tokens: int = 8, n: int = 1) -> Any:
    asked = Sampling(max_tokens=tokens, min_tokens=tokens, n=n)
    generation = Generation(name, Chat([{"role": "user", "content": name}]), asked)
    return await gateway.generate(None, "small", generation, Exchange(name))


async def refused(gateway: Gateway, name: str) -> None:
    with pytest.raises(QueueFullError):
        await accepted(gateway, name)
