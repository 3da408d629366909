"""`tramontane bench server --soak`: whether a server that works for hours goes on as it began.

An open loop of whole answers, streams, and clients that hang up before or amid an answer. Meanwhile the server's
resident memory is read each second, and at the end its ledger has to hold one row for each request, no more and no
fewer.

Memory's slope is a straight line through the means of ten equal spans after a warm-up. Readings that follow each other
are alike, so a line through all of them would seem surer than it is; the spans' means are far enough apart to be taken
for independent, and the margin is the half of a 95% confidence interval. The bar is ten bytes for each request: the
smallest object that could be forgotten with each of them is larger, whatever the rate. Nothing is subtracted for the
rows that a database grows by, since the server keeps none of them in memory. Of a few minutes no verdict is given: a
server that has just begun is still filling its caches.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import uvloop

from tramontane.cli.bench_books import Books, Kind, check
from tramontane.cli.bench_client import Client, drop
from tramontane.cli.bench_load import Counts, EventCounter
from tramontane.cli.bench_mock import LONG, SLOW, STREAMS
from tramontane.cli.bench_process import ServerProcess
from tramontane.cli.bench_server import Row, Tell, question
from tramontane.errors import TramontaneError

WHOLE, STREAMED, LEFT_AMID, LEFT_BEFORE = "whole answers", "streams", "left amid a stream", "left before it began"
_MIX = {WHOLE: 60, STREAMED: 25, LEFT_AMID: 10, LEFT_BEFORE: 5}  # of 100 requests

_SEED = 6
_STREAMED_TOKENS = 32
_LEAVES_AFTER = 4  # events, of which the first one says who speaks
_PATIENCE = 60.0  # seconds that a client waits for an answer
_LEAVES_WITHIN = {LEFT_AMID: _PATIENCE, LEFT_BEFORE: 0.05}  # seconds; the long model begins later
_WARM_UP_SHARE, _WARM_UP_SECONDS = 0.2, 600.0  # of the time, and at most
_SPANS = 10
_STUDENT = 2.306  # of ten spans, whose line has eight degrees of freedom; two-sided, 95%
_BYTES_A_REQUEST = 10.0
_VERDICT_AFTER = 600.0  # seconds after the warm-up
_SHOWN_ERRORS = 5
_MIB, _HOUR = 2**20, 3600.0


@dataclass(frozen=True, slots=True)
class Memory:
    """The server's resident memory after the warm-up. MiB, and MiB an hour."""

    seconds: float
    start: float
    end: float
    highest: float
    slope: float
    margin: float  # with 95% confidence the slope is that near
    slopes_of_halves: tuple[float, float]

    @classmethod
    def of(cls, readings: Sequence[tuple[float, float]]) -> Memory:
        """From readings after the warm-up: seconds, and bytes."""
        if len(readings) < _SPANS:
            raise TramontaneError("The soak was too short to say anything of memory: give it more minutes.")
        hours, memory = [at / _HOUR for at, _ in readings], [value / _MIB for _, value in readings]
        middle = len(hours) // 2
        halves = (_slope(hours[:middle], memory[:middle]), _slope(hours[middle:], memory[middle:]))
        slope, margin = _slope_of_spans(_means(hours), _means(memory))
        return cls(readings[-1][0] - readings[0][0], memory[0], memory[-1], max(memory), slope, margin, halves)

    def verdict(self, bar: float) -> str:
        """A sentence; `bar` in MiB an hour."""
        if self.seconds >= _VERDICT_AFTER and self.slope + self.margin < bar:
            return f"Memory does not grow: with 95% confidence by less than {bar:.1f} MiB an hour."
        if self.seconds >= _VERDICT_AFTER and self.slope - self.margin > bar:
            return f"Memory grows: with 95% confidence by more than {bar:.1f} MiB an hour."
        return f"Whether memory grows by {bar:.1f} MiB an hour cannot be told yet: it takes more minutes."


def _means(values: Sequence[float]) -> list[float]:
    """Of equal spans."""
    ends = [len(values) * number // _SPANS for number in range(_SPANS + 1)]
    return [statistics.fmean(values[start:end]) for start, end in pairwise(ends)]


def _slope(at: Sequence[float], values: Sequence[float]) -> float:
    return statistics.linear_regression(at, values).slope


def _slope_of_spans(at: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """With its margin."""
    line = statistics.linear_regression(at, values)
    rest = sum((value - line.intercept - line.slope * x) ** 2 for x, value in zip(at, values, strict=True))
    middle = statistics.fmean(at)
    spread = sum((x - middle) ** 2 for x in at)
    return line.slope, _STUDENT * (rest / (len(at) - 2) / spread) ** 0.5


@dataclass(slots=True)
class Tally:
    """What became of the requests."""

    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)  # or left, where the client was to leave
    seconds: list[float] = field(default_factory=list)  # that whole answers took, in the order in which they came
    errors: Counter[str] = field(default_factory=Counter)

    def expected(self) -> dict[Kind, tuple[int, int]]:
        """How many usage rows there have to be; of a request that failed for its client there may be one.

        Who leaves before the first token may be noticed before or after the money is held, or too late to matter.
        """
        amid, before = self.answered[LEFT_AMID], self.sent[LEFT_BEFORE]
        failed = {kind: self.sent[kind] - self.answered[kind] for kind in _MIX}
        expected: dict[Kind, tuple[int, int]] = {
            (SLOW, "done"): (self.answered[WHOLE], self.sent[WHOLE]),
            (STREAMS, "done"): (self.answered[STREAMED], self.sent[STREAMED]),
            (LONG, "hung_up"): (amid, self.sent[LEFT_AMID] + before),
        }
        if any(failed.values()):
            expected |= {(model, "hung_up"): (0, failed[kind]) for model, kind in ((SLOW, WHOLE), (STREAMS, STREAMED))}
            expected[LONG, "done"] = (0, failed[LEFT_AMID])
        return expected


@dataclass(frozen=True, slots=True)
class SoakFigures:
    """What a soak has shown."""

    database: str
    minutes: float
    rate: float
    requests: dict[str, int]  # of each kind
    errors: int
    error_messages: dict[str, int]  # the first ones, and how often each came
    p50_ms_of_halves: tuple[float, float]  # of whole answers
    memory: Memory
    bar: float  # MiB an hour
    ledger: Books

    def rows(self) -> list[Row]:
        """The table."""
        memory = self.memory
        return [
            ("memory's slope", f"{memory.slope:+.1f} ± {memory.margin:.1f} MiB/h", f"< {self.bar:.1f}"),
            ("the same, of each half", "{:+.1f}, {:+.1f} MiB/h".format(*memory.slopes_of_halves), ""),
            ("memory after the warm-up, and at the end", f"{memory.start:,.1f}, {memory.end:,.1f} MiB", ""),
            ("requests", f"{sum(self.requests.values()):,}", ""),
            ("errors", f"{self.errors:,}", "0"),
            ("whole answers, median of each half", "{:.1f}, {:.1f} ms".format(*self.p50_ms_of_halves), ""),
        ]

    def sentences(self) -> list[str]:
        """What one should know to trust the table."""
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.requests.items())
        messages = [f"{number:,} times: {message}" for message, number in self.error_messages.items()]
        return [f"Of the requests: {kinds}.", self.memory.verdict(self.bar), self.ledger.sentence(), *messages]


def measure_soak(*, rate: float, minutes: float, database_url: str | None, tell: Tell) -> SoakFigures:
    """Raises TramontaneError where the server fails or its ledger is wrong; single errors are counted."""
    tell("starting a server with mock models")
    with ServerProcess(None, database_url=database_url) as server:
        tally, readings = uvloop.run(_soak(server, rate, minutes * 60, tell))
        books = check(server.ask("books"), tally.expected())
        database = server.database
    warm_up = min(_WARM_UP_SHARE * minutes * 60, _WARM_UP_SECONDS)
    middle = len(tally.seconds) // 2
    if not middle:
        raise TramontaneError(f"Hardly anything was answered: {'; '.join(tally.errors) or 'the soak was too short'}.")
    halves = tally.seconds[:middle], tally.seconds[middle:]
    return SoakFigures(
        database=database,
        minutes=minutes,
        rate=rate,
        requests={kind: tally.sent[kind] for kind in _MIX},
        errors=tally.errors.total(),
        error_messages=dict(tally.errors.most_common(_SHOWN_ERRORS)),
        p50_ms_of_halves=(statistics.median(halves[0]) * 1e3, statistics.median(halves[1]) * 1e3),
        memory=Memory.of([reading for reading in readings if reading[0] >= warm_up]),
        bar=_BYTES_A_REQUEST * rate * _HOUR / _MIB,
        ledger=books,
    )


async def _soak(
    server: ServerProcess, rate: float, seconds: float, tell: Tell
) -> tuple[Tally, list[tuple[float, float]]]:
    """What became of the requests, and the server's memory, each second at most."""
    clients = Clients(server.port, server.key)
    reading = asyncio.create_task(_read_memory(server, seconds, tell))
    try:
        await clients.send_for(seconds, rate)
        return clients.tally, await reading
    finally:
        reading.cancel()
        clients.close()


async def _read_memory(server: ServerProcess, seconds: float, tell: Tell) -> list[tuple[float, float]]:
    begin, readings = time.perf_counter(), list[tuple[float, float]]()
    pause = min(1.0, seconds / 60)
    while (passed := time.perf_counter() - begin) < seconds:
        readings.append((passed, server.memory()))
        tell(f"{passed / 60:.1f} of {seconds / 60:g} min, {readings[-1][1] / _MIB:,.1f} MiB")
        await asyncio.sleep(pause)
    return readings


class Clients:
    """Requests of the mix at a rate, whatever becomes of those before."""

    def __init__(self, port: int, key: str) -> None:
        self.tally = Tally()
        self._client = Client(port)
        self._running: set[asyncio.Task[None]] = set()
        self._random = random.Random(_SEED)
        self._whole = question(key, SLOW)
        self._streamed = question(key, STREAMS, stream=True, max_tokens=_STREAMED_TOKENS)
        self._long = question(key, LONG, stream=True)

    def close(self) -> None:
        """Hangs up."""
        for task in self._running:
            task.cancel()
        self._client.close()

    async def send_for(self, seconds: float, rate: float) -> None:
        """Sends for so long, and waits for the last answers."""
        due = begin = time.perf_counter()
        while (due := due + self._random.expovariate(rate)) < begin + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            (kind,) = self._random.choices(list(_MIX), weights=list(_MIX.values()))
            self.tally.sent[kind] += 1
            task = asyncio.create_task(self._one(kind))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        await asyncio.gather(*self._running)

    async def _one(self, kind: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._ask(kind)
        except (TramontaneError, OSError) as error:  # TimeoutError and those of connections are OSErrors
            self.tally.errors[f"{kind}: {str(error) or type(error).__name__}"[:300]] += 1
        else:
            self.tally.answered[kind] += 1

    async def _ask(self, kind: str) -> None:
        if kind == WHOLE:
            began = time.perf_counter()
            await self._client.send(self._whole, drop)
            self.tally.seconds.append(time.perf_counter() - began)
        elif kind == STREAMED:
            await self._read_stream()
        else:
            had_enough = await self._client.leave(self._long, _has_events(_LEAVES_AFTER), _LEAVES_WITHIN[kind])
            if kind == LEFT_AMID and not had_enough:
                raise TramontaneError("The stream ended before it was left.")

    async def _read_stream(self) -> None:
        counts = Counts()
        await self._client.send(self._streamed, EventCounter(counts))
        if counts.events < _STREAMED_TOKENS:
            raise TramontaneError(f"A stream broke off after {counts.events} events.")


def _has_events(number: int) -> Callable[[bytes], bool]:
    """Whether so many events have come."""
    counts = Counts()
    counter = EventCounter(counts)

    def is_enough(part: bytes) -> bool:
        counter(part)
        return counts.events >= number

    return is_enough
