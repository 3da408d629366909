"""The load of `tramontane bench server`: requests at given moments, or as many as are answered."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tramontane.cli.bench_client import Client

_SEED = 150  # the same moments in every run
_LAST_ANSWERS_SECONDS = 30.0

ReadCpu = Callable[[], float]
"""Seconds of processor time that the server has used."""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least such a share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(slots=True)
class Window:
    """What happened while it was measured. Processor times in seconds."""

    seconds: float
    server_cpu: float
    own_cpu: float
    requests: int = 0
    events: int = 0
    answered: int = 0  # requests, also before the window and after it: all that were sent

    @property
    def own_share(self) -> float:
        """How much of a core the load generator itself used: near 1, it measured itself."""
        return self.own_cpu / self.seconds


class _Watch:
    """Measures a window, from its making to `stop`."""

    def __init__(self, server_cpu: ReadCpu) -> None:
        self._read = server_cpu
        self._at, self._server, self._own = time.perf_counter(), server_cpu(), time.process_time()

    def stop(self) -> Window:
        return Window(time.perf_counter() - self._at, self._read() - self._server, time.process_time() - self._own)


# ── open loop ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Sent:
    """One request of an open loop. Readings of `time.perf_counter`."""

    due: float
    sent: float = 0.0
    answered: float = 0.0
    body: bytes = b""

    @property
    def seen(self) -> float:
        """Seconds until the whole answer was there, from when the request was due, whenever it was really sent."""
        return self.answered - self.due


@dataclass(slots=True)
class OpenLoop:
    """What became of the requests."""

    requests: list[Sent]
    window: Window


async def open_loop(
    port: int, request: bytes, rate: float, seconds: float, warm_up: float, server_cpu: ReadCpu
) -> OpenLoop:
    """Sends `rate` requests a second at random moments (Poisson), whether or not earlier ones have been answered.

    Latency counts from the moment at which a request was due: a server that stalls is charged for all who would have
    asked meanwhile (no coordinated omission), and for what the generator itself was late. Requests of the warm-up are
    left out.
    """
    run = _OpenLoop(Client(port), request)
    try:
        await run.client.connect(math.ceil(rate * 0.2))
        begin = time.perf_counter()
        before = await run.play([begin + at for at in _moments(rate, warm_up)])
        watch, begin = _Watch(server_cpu), time.perf_counter()
        requests = await run.play([begin + at for at in _moments(rate, seconds)])
        window = watch.stop()
    finally:
        run.client.close()
    window.requests, window.answered = len(requests), len(before) + len(requests)
    return OpenLoop(requests, window)


def _moments(rate: float, seconds: float) -> list[float]:
    """Moments of a Poisson process: their number is what is expected, and each is anywhere."""
    generator = random.Random(_SEED)
    return sorted(generator.uniform(0, seconds) for _ in range(max(1, round(rate * seconds))))


@dataclass(slots=True)
class _OpenLoop:
    client: Client
    request: bytes
    tasks: list[asyncio.Task[Sent]] = field(default_factory=list)

    async def play(self, moments: Sequence[float]) -> list[Sent]:
        """Sends a request at each moment, and waits for all answers."""
        loop, self.tasks, stop = asyncio.get_running_loop(), [], threading.Event()
        # A thread tells when, since an event loop's own timers count whole milliseconds.
        telling = threading.Thread(target=_tell, args=(moments, loop, self._fire, stop), daemon=True)
        telling.start()
        try:
            while len(self.tasks) < len(moments):
                await asyncio.sleep(0.01)
                for task in self.tasks:
                    if task.done() and task.exception() is not None:
                        await task  # one failure ends the measurement
            async with asyncio.timeout(_LAST_ANSWERS_SECONDS):
                return list(await asyncio.gather(*self.tasks))
        finally:
            stop.set()
            for task in self.tasks:
                task.cancel()

    def _fire(self, due: float) -> None:
        self.tasks.append(asyncio.ensure_future(self._one(Sent(due))))

    async def _one(self, entry: Sent) -> Sent:
        entry.sent = time.perf_counter()
        parts: list[bytes] = []
        await self.client.send(self.request, parts.append)
        entry.answered = time.perf_counter()
        entry.body = b"".join(parts)
        return entry


def _tell(
    moments: Sequence[float], loop: asyncio.AbstractEventLoop, fire: Callable[[float], None], stop: threading.Event
) -> None:
    for moment in moments:
        if stop.wait(max(0.0, moment - time.perf_counter())):
            return
        loop.call_soon_threadsafe(fire, moment)


# ── closed loop ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def closed_loop(
    port: int, request: bytes, concurrency: int, seconds: float, warm_up: float, server_cpu: ReadCpu
) -> Window:
    """Keeps `concurrency` requests open, each followed by the next; counts answers, and events of streams.

    After the window every request that was sent still has its answer.
    """
    client, counts = Client(port), Counts()

    async def work() -> None:
        while not watching.done():
            await client.send(request, EventCounter(counts))
            counts.requests += 1

    watching = asyncio.ensure_future(_window(counts, seconds, warm_up, server_cpu))
    workers = [asyncio.ensure_future(work()) for _ in range(concurrency)]
    try:
        await asyncio.wait([*workers, watching], return_when=asyncio.FIRST_COMPLETED)
        for worker in workers:
            if worker.done():
                await worker  # one failure ends the measurement
        window = await watching
        async with asyncio.timeout(_LAST_ANSWERS_SECONDS):
            await asyncio.gather(*workers)
        window.answered = counts.requests
        return window
    finally:
        for task in (*workers, watching):
            task.cancel()
        await asyncio.gather(*workers, watching, return_exceptions=True)
        client.close()


async def _window(counts: Counts, seconds: float, warm_up: float, server_cpu: ReadCpu) -> Window:
    await asyncio.sleep(warm_up)
    watch, requests, events = _Watch(server_cpu), counts.requests, counts.events
    await asyncio.sleep(seconds)
    window = watch.stop()
    window.requests, window.events = counts.requests - requests, counts.events - events
    return window


@dataclass(slots=True)
class Counts:
    """What has come so far."""

    requests: int = 0
    events: int = 0


class EventCounter:
    """Counts the ends of server-sent events in the parts of a body, also where an end is cut in two."""

    def __init__(self, counts: Counts) -> None:
        self._counts, self._half = counts, False

    def __call__(self, part: bytes) -> None:
        """Takes the next part."""
        completes = self._half and part.startswith(b"\n")
        self._counts.events += part.count(b"\n\n") + completes
        self._half = part.endswith(b"\n") and not part.endswith(b"\n\n") and not (completes and len(part) == 1)
