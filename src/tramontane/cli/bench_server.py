"""The measurements behind `tramontane bench server`: what lies between a client and an engine, and what it costs.

The platform around an engine alone, with accounts, limits, holds and the ledger as they always are, against a mock that
answers after 100 ms. *Added* is what a client saw beyond these 100 ms, counted from the moment at which the request was
due. Everything else is charged to the server: what the generator was
late to send, what the mock's alarm was late to ring, and above all how long an answer that had come lay there because
the server was busy with others. The mock tells how long each answer really took to reach the server; subtracting that
instead would forgive the server its own queue, so it is shown beside as the lower bound, and the bar is held against
the upper one.

With a real engine: the same work straight on the engine inside the server's process, and through HTTP from this one, in
turns. Each round through HTTP is compared with the mean of its two neighbours, so that a steady drift of the machine
cancels out. The bar is held against tokens/s while all streams run: that is what `bench engine` calls an engine's rate.
Over whole rounds there is a difference that is not HTTP's cost: straight requests are there all at once, requests from
outside come one after the other, and an engine that decodes already reads prompts more slowly. The client runs on the
same machine, and what it takes from the engine counts against the share.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import uvloop

from tramontane.cli.bench_books import Books, Kind, check
from tramontane.cli.bench_child import MODEL, EngineOptions, Round
from tramontane.cli.bench_client import Client, post
from tramontane.cli.bench_engine import Latency
from tramontane.cli.bench_load import OpenLoop, Window, closed_loop, open_loop, percentile
from tramontane.cli.bench_mock import AT_ONCE, DELAY, SLOW, STREAMS
from tramontane.cli.bench_process import ServerProcess
from tramontane.errors import TramontaneError
from tramontane.model.machine import GIB

CONCURRENCY = 32  # requests that are open at once, to saturate
OPEN_STREAMS = 64
WARM_UP = 2.0  # seconds at most, before each window

_BUSY = 0.9  # share of a core from which on the generator may be what limits
_KV_MEMORY = 2 * GIB
_FIRST_PLAIN_TOKEN = 1000  # below are control tokens and bytes
_QUESTION = (
    "We plan to sail from Marseille to Calvi in early April. Which winds must we expect along the way, how do they "
    "announce themselves, in which harbours can we wait, and what should we have on board? Answer in a few sentences. "
)

Tell = Callable[[str], None]
Row = tuple[str, str, str]
"""What was measured, the figure, the bar it is held against."""


# ── the platform alone ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Added:
    """Milliseconds beyond the mock's 100, in an open loop."""

    rate: float  # requests a second
    requests: int
    p50_ms: float
    p99_ms: float
    # Without what the mock's answers took beyond 100 ms to reach the server.
    lower_p50_ms: float
    lower_p99_ms: float
    mock_late_p50_ms: float
    mock_late_p99_ms: float
    generator_late_p99_ms: float
    server_cpu_ms: float  # a request
    generator_cpu_share: float


@dataclass(frozen=True, slots=True)
class Saturation:
    """As much as the server answers. `per_core`: for a second of its processor time."""

    at_once: int
    per_second: float
    per_core: float
    server_cores: float
    generator_cpu_share: float


@dataclass(frozen=True, slots=True)
class HttpFigures:
    """What lies between a client and an engine costs."""

    database: str
    added: Added
    requests: Saturation
    requests_on_one_core: Saturation | None  # None where there is only one core for all
    stream_events: Saturation
    ledger: Books  # after all of it

    def rows(self) -> list[Row]:
        """The table."""
        added, pinned = self.added, self.requests_on_one_core
        rows = [
            (f"added at {added.rate:g} requests/s, median", f"{added.p50_ms:.2f} ms", "≤ 3 ms"),
            ("the same, 99th percentile", f"{added.p99_ms:.2f} ms", "≤ 10 ms"),
            ("requests/s for a core's time", f"{self.requests.per_core:,.0f}", "≥ 300"),
            ("stream events/s for a core's time", f"{self.stream_events.per_core:,.0f}", ""),
        ]
        if pinned is not None:
            rows.insert(3, ("requests/s, the server pinned to one core", f"{pinned.per_second:,.0f}", "≥ 300"))
        return rows

    def sentences(self) -> list[str]:
        """What one should know to trust the table."""
        added = self.added
        lines = [
            f"Added, without what the mock's answers took beyond {DELAY * 1e3:.0f} ms to reach the server: "
            f"{added.lower_p50_ms:.2f} ms, 99th percentile {added.lower_p99_ms:.2f} (that lateness: "
            f"{added.mock_late_p50_ms:.2f} and {added.mock_late_p99_ms:.2f}); the generator was "
            f"{added.generator_late_p99_ms:.2f} ms late at the 99th percentile. "
            f"{added.requests:,} requests, {added.server_cpu_ms:.2f} ms of processor time each.",
            f"Unpinned: {self.requests.per_second:,.0f} requests/s on {self.requests.server_cores:.2f} cores, "
            f"{self.stream_events.per_second:,.0f} events/s on {self.stream_events.server_cores:.2f}.",
        ]
        shares = {
            "open loop": added.generator_cpu_share,
            "requests": self.requests.generator_cpu_share,
            "streams": self.stream_events.generator_cpu_share,
        }
        if self.requests_on_one_core is not None:
            shares["requests, pinned"] = self.requests_on_one_core.generator_cpu_share
        lines.append("The generator used of a core: " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()) + ".")
        busy = [name for name, share in shares.items() if share > _BUSY]
        if busy:
            lines.append(f"It was busy itself ({', '.join(busy)}): the server may be faster than these figures say.")
        return [*lines, self.ledger.sentence()]


def measure_http(*, rate: float, seconds: float, database_url: str | None, tell: Tell) -> HttpFigures:
    """Each part for `seconds`, after a warm-up. Raises TramontaneError where the server fails or its ledger errs."""
    tell("starting a server with mock models")
    with ServerProcess(None, database_url=database_url) as server:
        warm_up = min(WARM_UP, seconds)
        port, cpu = server.port, server.cpu_seconds
        slow, at_once = question(server.key, SLOW), question(server.key, AT_ONCE)
        flood = question(server.key, STREAMS, stream=True)
        ledger = _CheckedLedger(server)

        def saturate(model: str, request: bytes, number: int) -> Window:
            window = uvloop.run(closed_loop(port, request, number, seconds, warm_up, cpu))
            ledger.check_after(model, window.answered)
            return window

        tell(f"{rate:g} requests/s in an open loop, {seconds:g} s")
        load = uvloop.run(open_loop(port, slow, rate, seconds, warm_up, cpu))
        ledger.check_after(SLOW, load.window.answered)
        tell(f"{CONCURRENCY} requests at once, {seconds:g} s")
        requests = _saturation(CONCURRENCY, saturate(AT_ONCE, at_once, CONCURRENCY))
        with server.on_its_own_core() as pinned:
            tell(f"{CONCURRENCY} requests at once, the server on one core, {seconds:g} s")
            on_one = _saturation(CONCURRENCY, saturate(AT_ONCE, at_once, CONCURRENCY)) if pinned else None
        tell(f"{OPEN_STREAMS} streams at once, {seconds:g} s")
        events = _saturation(OPEN_STREAMS, saturate(STREAMS, flood, OPEN_STREAMS), events=True)
        return HttpFigures(server.database, _added(rate, load), requests, on_one, events, ledger.books())


class _CheckedLedger:
    """Holds a server's ledger against the answers that were had from it."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._answered: dict[Kind, tuple[int, int]] = {}

    def check_after(self, model: str, more: int) -> None:
        """After so many more answers of a model; raises TramontaneError where not each has its usage row."""
        number = self._answered.get((model, "done"), (0, 0))[0] + more
        self._answered[model, "done"] = number, number
        self.books()

    def books(self) -> Books:
        """As they are, which is right."""
        return check(self._server.ask("books"), self._answered)


def question(key: str, model: str, stream: bool = False, max_tokens: int = 256) -> bytes:
    """A question of some 200 tokens, as a client asks it."""
    messages = [{"role": "system", "content": "You help sailors."}, {"role": "user", "content": _QUESTION * 4}]
    options = {"temperature": 0.3, "max_tokens": max_tokens, "stream": stream}
    return post("/v1/chat/completions", key, {"model": model, "messages": messages, **options})


def _added(rate: float, load: OpenLoop) -> Added:
    requests, window = load.requests, load.window
    seen = [request.seen - DELAY for request in requests]
    late = [_seconds_in_server(request.body) - DELAY for request in requests]
    beside = [total - mock for total, mock in zip(seen, late, strict=True)]

    def ms(values: list[float], share: float) -> float:
        return percentile(values, share) * 1e3

    return Added(
        rate=rate,
        requests=len(requests),
        p50_ms=ms(seen, 0.5),
        p99_ms=ms(seen, 0.99),
        lower_p50_ms=ms(beside, 0.5),
        lower_p99_ms=ms(beside, 0.99),
        mock_late_p50_ms=ms(late, 0.5),
        mock_late_p99_ms=ms(late, 0.99),
        generator_late_p99_ms=ms([request.sent - request.due for request in requests], 0.99),
        server_cpu_ms=window.server_cpu / window.requests * 1e3,
        generator_cpu_share=window.own_share,
    )


def _seconds_in_server(body: bytes) -> float:
    """What the mock says at the beginning of its answer."""
    content = json.loads(body)["choices"][0]["message"]["content"]
    return float(content.partition(" ")[0])


def _saturation(at_once: int, window: Window, events: bool = False) -> Saturation:
    number = window.events if events else window.requests
    if not number or not window.server_cpu:
        raise TramontaneError(
            f"Nothing was answered within {window.seconds:.1f} s: measure for longer, with --seconds."
        )
    return Saturation(
        at_once=at_once,
        per_second=number / window.seconds,
        per_core=number / window.server_cpu,
        server_cores=window.server_cpu / window.seconds,
        generator_cpu_share=window.own_share,
    )


# ── with a real engine ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EngineWork:
    """What both ways are given: streams that begin together, of fresh random prompts."""

    shape: str
    layers: int | None
    quantization: str
    streams: int
    prompt_tokens: int
    tokens: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Way:
    """One of the two ways. Medians over its rounds, or over all streams and tokens of all rounds."""

    tokens_per_second: float  # while all streams run
    whole_tokens_per_second: float  # from the first request to the last token
    first_token_ms: float
    gap: Latency  # while all streams run
    rounds: list[float]  # tokens/s of each, while all streams run

    @classmethod
    def of(cls, rounds: list[Round]) -> Way:
        """From its rounds."""
        rates, whole = [_steady(r) for r in rounds], [_whole(r) for r in rounds]
        first = statistics.median(seconds for r in rounds for seconds in r.first)
        gap = Latency.of([gap for r in rounds for gap in r.steady_gaps])
        return cls(statistics.median(rates), statistics.median(whole), first * 1e3, gap, rates)


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """An engine's tokens, straight from it and as clients see them.

    The shares are medians over the rounds: through HTTP, over the mean of the straight rounds before and after.
    """

    database: str
    work: EngineWork
    layers: int
    straight: Way
    through_http: Way
    share: float  # of tokens/s, while all streams run
    whole_share: float  # of tokens/s, from the first request to the last token
    ledger: Books  # after all of it

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The table: what, straight, through HTTP, share, bar."""
        a, b = self.straight, self.through_http

        def row(
            what: str, one: float, other: float, form: str, share: float | None = None, bar: str = ""
        ) -> _EngineRow:
            return what, format(one, form), format(other, form), f"{share or other / one:.1%}", bar

        whole = (a.whole_tokens_per_second, b.whole_tokens_per_second)
        return [
            row("tokens/s, all streams running", a.tokens_per_second, b.tokens_per_second, ",.1f", self.share, "≥ 95%"),
            row("tokens/s, from first request to last token", *whole, ",.1f", self.whole_share),
            row("first token, median, ms", a.first_token_ms, b.first_token_ms, ",.0f"),
            row("between tokens, median, ms", a.gap.median_ms, b.gap.median_ms, ",.2f"),
            row("between tokens, 95th percentile, ms", a.gap.p95_ms, b.gap.p95_ms, ",.2f"),
        ]

    def sentences(self) -> list[str]:
        """What one should know to trust the table."""
        straight = ", ".join(f"{rate:,.1f}" for rate in self.straight.rounds)
        through = ", ".join(f"{rate:,.1f}" for rate in self.through_http.rounds)
        return [
            f"Rounds, in turns, tokens/s with all streams running: straight {straight}; through HTTP {through}.",
            self.ledger.sentence(),
        ]


_EngineRow = tuple[str, str, str, str, str]


def measure_engine(
    work: EngineWork, *, database_url: str | None, tell: Tell, show_notices: Callable[[Iterable[str]], None]
) -> EngineFigures:
    """Straight and through HTTP in turns. Raises TramontaneError where the server fails or its ledger is wrong."""
    tell("starting a server")
    options = EngineOptions(work.shape, work.layers, work.quantization, _KV_MEMORY)

    def on_loaded(share: float) -> None:
        tell(f"making random weights, {share:.0%}")

    with ServerProcess(options, on_loaded, database_url=database_url) as server:
        show_notices(server.facts["notices"])
        both = _BothWays(server, work)
        tell("warming up")
        both.straight(8)
        both.through_http(8)
        straight, through = [], []
        for number in range(work.rounds):
            tell(f"round {number + 1} of {work.rounds}: straight from the engine")
            straight.append(both.check(both.straight(work.tokens)))
            tell(f"round {number + 1} of {work.rounds}: through HTTP")
            through.append(both.check(both.through_http(work.tokens)))
        tell("straight from the engine, a last time")
        straight.append(both.check(both.straight(work.tokens)))
        ledger = _CheckedLedger(server)
        ledger.check_after(MODEL, (1 + work.rounds) * work.streams)  # with those of the warm-up
        books = ledger.books()
    return EngineFigures(
        database=server.database,
        work=work,
        layers=server.facts["layers"],
        straight=Way.of(straight),
        through_http=Way.of(through),
        share=_share(straight, through, _steady),
        whole_share=_share(straight, through, _whole),
        ledger=books,
    )


def _steady(result: Round) -> float:
    """Tokens/s while all streams run. Their events, with the whole round's tokens an event."""
    return result.steady_events / result.steady_seconds * result.tokens / result.events


def _whole(result: Round) -> float:
    return result.tokens / result.seconds


def _share(straight: list[Round], through: list[Round], rate: Callable[[Round], float]) -> float:
    around = [(rate(before) + rate(after)) / 2 for before, after in pairwise(straight)]
    return statistics.median(rate(r) / base for r, base in zip(through, around, strict=True))


class _BothWays:
    """Gives the same work to the engine in two ways."""

    def __init__(self, server: ServerProcess, work: EngineWork) -> None:
        self._server, self._work = server, work
        self._random = random.Random()

    def straight(self, tokens: int) -> Round:
        """Inside the server's process, without HTTP."""
        return Round(**self._server.ask("straight", prompts=self._prompts(), tokens=tokens))

    def through_http(self, tokens: int) -> Round:
        """As clients on the same machine."""
        sampling = {"temperature": 0, "max_tokens": tokens, "min_tokens": tokens, "stream": True}
        bodies = [{"model": MODEL, "prompt": prompt, **sampling} for prompt in self._prompts()]
        requests = [post("/v1/completions", self._server.key, body) for body in bodies]
        return uvloop.run(read_streams(self._server.port, requests))

    def check(self, result: Round) -> Round:
        """Raises TramontaneError for a round that cannot be compared."""
        expected = self._work.streams * self._work.tokens
        if result.tokens != expected:
            raise TramontaneError(f"There came {result.tokens} tokens of {expected}: the two ways cannot be compared.")
        if not result.steady_gaps:
            raise TramontaneError("The streams never ran all at once: ask for more --tokens or for a shorter --prompt.")
        return result

    def _prompts(self) -> list[list[int]]:
        """Fresh ones, so that no prefix is found."""
        end, work = self._server.facts["vocab_size"], self._work
        return [
            [self._random.randrange(_FIRST_PLAIN_TOKEN, end) for _ in range(work.prompt_tokens)]
            for _ in range(work.streams)
        ]


async def read_streams(port: int, requests: list[bytes]) -> Round:
    """All streams at once, as their reader sees them; nothing is parsed before the last one has ended."""
    client, received = Client(port), [_Received() for _ in requests]
    try:
        await client.connect(len(requests))
        began = time.perf_counter()
        await asyncio.gather(*(client.send(request, r) for request, r in zip(requests, received, strict=True)))
        ended = time.perf_counter()
    finally:
        client.close()
    read = [r.read() for r in received]
    return Round.of(began, ended, sum(tokens for _, tokens in read), [times for times, _ in read])


class _Received:
    """The parts of one stream, and when each arrived."""

    def __init__(self) -> None:
        self._parts: list[tuple[float, bytes]] = []

    def __call__(self, part: bytes) -> None:
        self._parts.append((time.perf_counter(), part))

    def read(self) -> tuple[list[float], int]:
        """When each event with text arrived, and the tokens that the usage at the end counts."""
        times: list[float] = []
        tokens, rest = 0, b""
        for at, part in self._parts:
            *events, rest = (rest + part).split(b"\n\n")
            for event in events:
                content = event.removeprefix(b"data: ")
                if content == b"[DONE]":
                    continue
                body: dict[str, Any] = json.loads(content)
                if "usage" in body:
                    tokens = body["usage"]["completion_tokens"]
                else:
                    times.append(at)
        return times, tokens
