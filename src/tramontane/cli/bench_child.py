"""The server that `tramontane bench server` measures, in a process of its own: `python -m tramontane.cli.bench_child`.

The real application on a real database, as `tramontane serve` puts it together, with mock models, or with one model of
random weights, none of which is free. Commands come as JSON lines on standard input, whose end ends this process;
answers go as JSON lines to standard output; the log goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import uvloop
from sqlalchemy import inspect

from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.first_start import prepare_accounts
from tramontane.api.app import create_app
from tramontane.api.logs import configure_logs
from tramontane.api.platform import Platform
from tramontane.api.server import DrainingServer, listen
from tramontane.catalogue.store import ModelStore
from tramontane.cli.bench_books import furnish, read_books
from tramontane.cli.bench_mock import MockProvider
from tramontane.errors import TramontaneError
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.providers.base import Provider
from tramontane.storage.database import Database
from tramontane.storage.home import home_folder

MODEL = "bench"

_DRAIN_SECONDS = 2.0
_MOST_OF_A_LINE = 64 * 2**20  # 16 prompts of 100,000 tokens

Answer = Callable[[Mapping[str, Any]], None]
Command = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The model that the child loads."""

    shape: str
    layers: int | None
    quantization: str
    kv_memory_bytes: int


@dataclass(slots=True)
class Round:
    """Streams that began together, as whoever read them saw it. Seconds.

    `steady`: while all of them ran, from the moment at which the last one had its first token until the first one
    ended. What is before depends on when each request came, and what is after on fewer streams.
    """

    seconds: float  # from the first request until the last stream ended
    tokens: int
    events: int  # tokens that are no text by themselves wait for the next
    first: list[float]  # of each stream: until its first event
    steady_seconds: float = 0.0  # 0, where they never ran all at once
    steady_events: int = 0
    steady_gaps: list[float] = field(default_factory=list)  # between two events of a stream

    @classmethod
    def of(cls, began: float, ended: float, tokens: int, arrivals: Sequence[Sequence[float]]) -> Round:
        """From the moments at which each stream's events arrived."""
        first = [times[0] - began for times in arrivals]
        result = cls(ended - began, tokens, sum(map(len, arrivals)), first)
        start, end = max(times[0] for times in arrivals), min(times[-1] for times in arrivals)
        if start < end:
            result.steady_seconds = end - start
            for times in arrivals:
                result.steady_gaps += [b - a for a, b in pairwise(times) if start <= a and b <= end]
                result.steady_events += sum(start < at <= end for at in times)
        return result


def main() -> None:
    """Serves until standard input ends. The one argument, if any, is the engine's options as JSON."""
    answer = _answers()
    configure_logs("json")
    options = EngineOptions(**json.loads(sys.argv[1])) if len(sys.argv) > 1 else None
    try:
        uvloop.run(_mock(answer) if options is None else _engine(options, answer))
    except TramontaneError as error:
        answer({"error": str(error)})
        sys.exit(1)


def _answers() -> Answer:
    """Standard output kept for answers: whatever a library prints goes to the log."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: Mapping[str, Any]) -> None:
        print(json.dumps(content), file=lines, flush=True)

    return answer


async def _mock(answer: Answer) -> None:
    provider = MockProvider()
    await _serve(provider, Metrics(), provider.close, answer, {}, {})


async def _engine(options: EngineOptions, answer: Answer) -> None:
    # Only here: PyTorch takes seconds to import, and the mock needs none of it.
    from tramontane.cli.model_options import parse_quantization
    from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
    from tramontane.gateway.providers.local.sources import random_source

    source = random_source(MODEL, options.shape, options.layers)
    limits = LocalOptions(parse_quantization(options.quantization), kv_memory_bytes=options.kv_memory_bytes)
    provider = LocalProvider([source], limits)
    notices = await asyncio.to_thread(provider.load, lambda _, done, total: answer({"loaded": done / total}))
    metrics = Metrics()
    metrics.read_engines_from(provider.metrics)
    engine = provider._models[MODEL].engine  # no one but this measurement goes around the provider

    async def straight(command: dict[str, Any]) -> dict[str, Any]:
        return asdict(await run_straight(engine, command["prompts"], command["tokens"]))

    facts = {"vocab_size": source.config.vocab_size, "layers": source.config.num_layers, "notices": notices}
    await _serve(provider, metrics, provider.close, answer, {"straight": straight}, facts)


async def _serve(
    provider: Provider,
    metrics: Metrics,
    close: Callable[[], None],
    answer: Answer,
    commands: Mapping[str, Command],
    facts: Mapping[str, Any],
) -> None:
    """Opens the rooms, tells where it listens and with which key, and serves until standard input ends."""
    home, models = home_folder(), [card.name for card in provider.cards()]
    database, listening = Database.open(os.environ.get("TRAMONTANE_DATABASE_URL"), home), listen("127.0.0.1", 0)
    try:
        key = await _prepare(database, models)
        platform = Platform(database, Authenticator(database), [provider], metrics, ModelStore(home))
        await platform.open(models)
        server = DrainingServer(create_app(platform), platform, drain_seconds=_DRAIN_SECONDS, cut=close)
        kind = "postgresql" if database.file is None else "sqlite"
        facts = {"port": listening.getsockname()[1], "key": key, "database": kind, **facts}

        async def books(command: dict[str, Any]) -> dict[str, Any]:
            return await read_books(database)

        obeying = asyncio.create_task(_obey({"books": books, **commands}, answer, server, facts))
        await server.serve([listening])
        obeying.cancel()
        await platform.close()
    finally:
        listening.close()
        await asyncio.to_thread(close)
        await database.close()


async def _prepare(database: Database, models: Sequence[str]) -> str:
    """Fills an empty database with what a measurement needs; its key."""
    if await database.transact(lambda connection: inspect(connection).get_table_names()):
        raise TramontaneError("The database is not empty: make one that this measurement has for itself.")
    await database.upgrade()
    key = (await prepare_accounts(database, None)).new_key
    assert key is not None  # nobody has been here before
    async with database.write() as session:
        await furnish(session, models)
    return key.reveal()


async def _obey(
    commands: Mapping[str, Command], answer: Answer, server: DrainingServer, facts: Mapping[str, Any]
) -> None:
    """Tells the facts once it listens, and carries out commands, one after the other; their end is the server's."""
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        answer(facts)
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=_MOST_OF_A_LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            try:
                answer(await commands[command["command"]](command))
            except TramontaneError as error:
                answer({"error": str(error)})
    finally:
        server.should_exit = True


async def run_straight(engine: Any, prompts: list[list[int]], tokens: int) -> Round:
    """All prompts at once, each continued by so many tokens, read from the engine without anything between."""
    from tramontane.engine.request import Request, SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=tokens, min_tokens=tokens)
    usages: list[int] = []
    began = time.perf_counter()

    async def read(number: int, prompt: list[int]) -> list[float]:
        times = []
        async for output in engine.generate(Request(f"straight-{began}-{number}", prompt, sampling)):
            if output.text or output.finish_reason:  # what the API makes an event of
                times.append(time.perf_counter())
            if output.usage is not None:
                usages.append(output.usage.output)
        return times

    arrivals = await asyncio.gather(*(read(number, prompt) for number, prompt in enumerate(prompts)))
    return Round.of(began, time.perf_counter(), sum(usages), arrivals)


if __name__ == "__main__":
    main()
