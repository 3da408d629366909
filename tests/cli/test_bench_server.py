"""`tramontane bench server` runs through, its figures hang together, and nothing of it is left behind.

How fast the server is, is no matter for a test.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.storage.postgres import postgres_server
from tramontane.cli.bench_books import Books, Kind, check
from tramontane.cli.bench_child import _prepare
from tramontane.cli.bench_client import Client, post
from tramontane.cli.bench_load import Counts, EventCounter, closed_loop, open_loop, percentile
from tramontane.cli.bench_mock import AT_ONCE, SLOW, STREAMS
from tramontane.cli.bench_process import ServerProcess
from tramontane.cli.bench_soak import Memory
from tramontane.cli.main import cli
from tramontane.errors import TramontaneError
from tramontane.storage.database import Database

_TINY = ["--seconds", "0.5", "--rate", "40", "--shape", "tiny-15m", "--layers", "1", "--quantization", "none"]
# So many tokens that all streams run at once even where the last one begins late.
_FEW = ["--streams", "3", "--prompt", "8", "--tokens", "200", "--rounds", "1"]


@pytest.fixture(scope="module")
def printed() -> str:
    """What one small run of both parts prints."""
    result = CliRunner().invoke(cli, ["bench", "server", *_TINY, *_FEW], catch_exceptions=False)
    return result.stdout


def test_all_figures_are_finite_and_positive(printed: str) -> None:
    figures = json.loads(printed.splitlines()[-1])
    numbers = dict(_numbers(figures))
    # The mock is charged for more than the client waited; and of a ledger some numbers have to be 0.
    signed = {path for path in numbers if "lower_p" in path or ".ledger." in path}
    assert all(math.isfinite(value) for value in numbers.values())
    assert all(value > 0 for path, value in numbers.items() if path not in signed), numbers
    assert figures["http"]["added"]["requests"] == 20
    assert figures["http"]["added"]["p50_ms"] <= figures["http"]["added"]["p99_ms"]
    assert figures["http"]["added"]["lower_p50_ms"] <= figures["http"]["added"]["p50_ms"]
    assert (figures["http"]["requests_on_one_core"] is None) == (len(os.sched_getaffinity(0)) == 1)
    assert len(figures["engine"]["through_http"]["rounds"]) == 1
    assert len(figures["engine"]["straight"]["rounds"]) == 2


def test_every_answer_has_its_price(printed: str) -> None:
    """In nano-euros: 200 prompt tokens at 0.20 € a million, 64 or 256 of output at 0.60 €."""
    http = json.loads(printed.splitlines()[-1])["http"]
    numbers = {model: number for model, outcome, number in http["ledger"]["rows"] if outcome == "done"}
    assert numbers.keys() == {SLOW, AT_ONCE, STREAMS}
    assert numbers[SLOW] == 40  # half a second, and as long to warm up
    whole, streamed = 200 * 200 + 64 * 600, 200 * 200 + 256 * 600
    expected = (numbers[SLOW] + numbers[AT_ONCE]) * whole + numbers[STREAMS] * streamed
    assert http["ledger"]["charged"] == expected
    assert json.loads(printed.splitlines()[-1])["engine"]["ledger"]["rows"] == [["bench", "done", 6]]


def test_the_table_names_what_the_bars_are_held_against(printed: str) -> None:
    for words in ("added at 40 requests/s", "99th percentile", "for a core's time", "all streams running", "≥ 95%"):
        assert words in printed


def test_a_part_or_shape_that_is_not_known_is_refused() -> None:
    for arguments in (["--part", "all"], ["--shape", "mistral-9000"], ["--database-url", "postgresql:///one-for-two"]):
        result = CliRunner().invoke(cli, ["bench", "server", *arguments])
        assert isinstance(result.exception, TramontaneError)
        assert "http" in str(result.exception) or "mistral-7b" in str(result.exception)


def test_a_database_that_is_somebodys_is_left_as_it_is(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "tramontane.db")
    connection.execute("CREATE TABLE mine (id INTEGER)")

    async def prepare() -> None:
        database = Database.open(None, tmp_path)
        try:
            await _prepare(database, ["bench"])
        finally:
            await database.close()

    with pytest.raises(TramontaneError, match="not empty"):
        asyncio.run(prepare())
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    connection.close()


def test_a_short_soak_counts_who_stays_and_who_leaves() -> None:
    """On PostgreSQL: the other figures here are of SQLite."""
    arguments = ["--soak", "0.05", "--rate", "40", "--json", "--database-url", postgres_server().new_database()]
    result = CliRunner().invoke(cli, ["bench", "server", *arguments], catch_exceptions=False)
    soak = json.loads(result.stdout)["soak"]
    assert soak["database"] == "postgresql"
    _check_soak(soak)


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_soak_of_a_minute_loses_nothing(database: str) -> None:
    url = [] if database == "sqlite" else ["--database-url", postgres_server().new_database()]
    result = CliRunner().invoke(
        cli, ["bench", "server", "--soak", "1", "--rate", "80", "--json", *url], catch_exceptions=False
    )
    soak = json.loads(result.stdout)["soak"]
    assert soak["database"] == database
    _check_soak(soak)


def _check_soak(soak: dict[str, Any]) -> None:
    assert soak["errors"] == 0, soak["error_messages"]
    sent, rows = soak["requests"], Counter[str]()
    for _, outcome, number in soak["ledger"]["rows"]:
        rows[outcome] += number
    assert rows["done"] == sent["whole answers"] + sent["streams"] > 0
    assert 0 < sent["left amid a stream"] <= rows["hung_up"]
    assert 0 < soak["memory"]["start"] <= soak["memory"]["highest"]


def test_nothing_is_left_after_ctrl_c(tmp_path: Path) -> None:
    command = "from tramontane.cli.main import app; app()"
    arguments = ["bench", "server", "--part", "http", "--seconds", "60"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        (child,) = _until(lambda: _children(process.pid))
        _until(lambda: list(tmp_path.glob("*/tramontane.db")))
        time.sleep(0.5)  # into the first figures
        assert _runs(child)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    assert not _runs(child)
    assert not list(tmp_path.glob("tramontane-bench-*"))


def test_the_server_ends_with_the_process_that_measures() -> None:
    with ServerProcess(None) as server:
        pid = server.pid
        assert _runs(pid)
        assert server.cpu_seconds() > 0
        assert server.memory() > 2**20
        asyncio.run(_refused(server.port))
        _assert_limits_are_on(server)
    assert not _runs(pid)


async def _refused(port: int) -> None:
    client = Client(port)
    with pytest.raises(TramontaneError, match="401"):
        await client.send(post("/v1/chat/completions", "wrong", {}), lambda part: None)
    client.close()


def _assert_limits_are_on(server: ServerProcess) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v1/chat/completions",
        json.dumps({"model": AT_ONCE, "messages": [{"role": "user", "content": "Hello"}]}).encode(),
        {"Authorization": f"Bearer {server.key}"},
    )
    with urllib.request.urlopen(request) as response:
        names = {name.lower() for name in response.headers}
    assert names >= {f"x-ratelimit-remaining-{of}" for of in ("req-second", "tokens-minute", "tokens-month")}


def test_a_server_that_dies_is_reported_with_its_log() -> None:
    with ServerProcess(None) as server:
        os.kill(server.pid, signal.SIGKILL)
        _until(lambda: not _runs(server.pid, zombies=False))
        with pytest.raises(TramontaneError, match="ended with status -9"):
            server.ask("straight")


# ── the load ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stall_is_charged_to_all_who_were_due_meanwhile() -> None:
    """A closed loop would have sent, and counted, one slow request."""

    async def measure() -> list[float]:
        async with _server(stall_at=15, stall=0.4) as port:
            load = await open_loop(port, b"GET / HTTP/1.1\r\n\r\n", 50, 1.0, 0.1, lambda: 0.0)
        assert len(load.requests) == load.window.requests == 50
        assert load.window.answered == 55  # with those of the warm-up
        return [request.seen for request in load.requests]

    seen = asyncio.run(measure())
    assert sum(seconds > 0.1 for seconds in seen) >= 8
    assert min(seen) >= 0


def test_a_closed_loop_counts_answers_and_events() -> None:
    async def measure() -> None:
        served = Counts()
        async with _server(served=served) as port:
            window = await closed_loop(port, b"GET / HTTP/1.1\r\n\r\n", 4, 0.3, 0.1, lambda: 0.0)
        assert window.requests > 10
        assert abs(window.events - 2 * window.requests) <= 8
        assert 0 < window.own_share < 1.5
        assert window.answered == served.requests > window.requests

    asyncio.run(measure())


def test_a_server_that_hangs_up_ends_the_measurement() -> None:
    async def measure() -> None:
        async with _server(hang_up=True) as port:
            await closed_loop(port, b"GET / HTTP/1.1\r\n\r\n", 2, 5.0, 0.1, lambda: 0.0)

    with pytest.raises(ConnectionError):
        asyncio.run(measure())


@pytest.mark.parametrize("cut", range(1, 12))
def test_events_are_counted_wherever_they_are_cut(cut: int) -> None:
    stream = b"data: 1\n\ndata: 2\n\n"
    for parts in ([stream[:cut], stream[cut:]], [stream[i : i + cut] for i in range(0, len(stream), cut)]):
        counts = Counts()
        counter = EventCounter(counts)
        for part in parts:
            counter(part)
        assert counts.events == 2


@pytest.mark.parametrize(("enough", "seconds"), [(True, 30.0), (False, 0.05)])
def test_who_leaves_leaves_nothing_open(enough: bool, seconds: float) -> None:
    async def measure() -> None:
        async with _server(stall_at=1 if not enough else -1, stall=0.5) as port:
            client = Client(port)
            for _ in range(2):  # each with a connection of its own
                assert await client.leave(b"GET / HTTP/1.1\r\n\r\n", lambda part: True, seconds) is enough
            assert not client._all
            assert not client._idle

    asyncio.run(measure())


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.99) == 7


# ── what the figures mean ──────────────────────────────────────────────────────────────────────────────────────────


_RIGHT = Books(
    rows=[(SLOW, "done", 3), (STREAMS, "done", 1)],
    unpaid=0,
    holds=0,
    reserved=0,
    used=400,
    used_by_days=400,
    spent_by_months=400,
    charged=400,
    drawn=400,
    imbalance=0,
)
_EXPECTED: dict[Kind, tuple[int, int]] = {(SLOW, "done"): (3, 3), (STREAMS, "done"): (1, 2)}


def test_books_that_are_right_pass() -> None:
    assert check(json.loads(json.dumps(asdict(_RIGHT))), _EXPECTED) == _RIGHT


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": [(SLOW, "done", 2), (STREAMS, "done", 1)]}, "2 usage rows of mock-slow with the outcome done, not 3"),
        ({"rows": [(SLOW, "done", 3)]}, "0 usage rows of mock-streams with the outcome done, not 1 to 2"),
        ({"rows": [*_RIGHT.rows, (SLOW, "failed", 1)]}, "1 usage rows of mock-slow with the outcome failed, not 0"),
        ({"unpaid": 1}, "1 answers that cost nothing"),
        ({"holds": 2}, "2 holds left over"),
        ({"reserved": 5}, "5 still reserved"),
        ({"charged": 399}, "399 nano-euros by the postings, and 400 by the usage rows"),
        ({"used": 401}, "by the days"),
        ({"spent_by_months": 500}, "500 nano-euros by the months"),
        ({"drawn": 0}, "0 nano-euros by the lots"),
        ({"imbalance": -1}, "-1 nano-euros by which the postings miss zero"),
    ],
)
def test_books_that_are_wrong_are_told(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(TramontaneError, match=said):
        check(asdict(replace(_RIGHT, **changed)), _EXPECTED)


@pytest.mark.parametrize(
    ("growth", "seconds", "verdict"),
    [
        (0.0, 3600, "does not grow"),
        (-3.0, 3600, "does not grow"),
        (20.0, 3600, "Memory grows"),
        (5.0, 3600, "cannot be told"),  # the bar itself
        (20.0, 300, "cannot be told"),  # too early, however clear it seems
    ],
)
def test_the_verdict_on_memory_is_as_sure_as_the_readings(growth: float, seconds: int, verdict: str) -> None:
    """MiB an hour, among readings that wander by a MiB for half a minute at a time."""
    generator, wandering, readings = random.Random(1), 0.0, []
    for second in range(seconds):
        wandering += generator.gauss(0, 0.1) - wandering / 30
        readings.append((float(second), (380 + growth * second / 3600 + wandering) * 2**20))
    memory = Memory.of(readings)
    assert memory.verdict(5.0).startswith(("Memory", "Whether"))
    assert verdict in memory.verdict(5.0), memory
    assert abs(memory.slope - growth) < 2 * memory.margin


# ── helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _server(
    stall_at: int = -1, stall: float = 0.0, hang_up: bool = False, served: Counts | None = None
) -> AsyncIterator[int]:
    """Answers each request with two events, in chunks; at one of them it stands still, as a blocked loop does."""
    served = served or Counts()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not hang_up:
                await reader.readuntil(b"\r\n\r\n")
                served.requests += 1
                if served.requests == stall_at:
                    stalled.clear()
                    asyncio.get_running_loop().call_later(stall, stalled.set)
                await stalled.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                writer.write(b"9\r\ndata: 1\n\n\r\n" * 2 + b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client, or the test, has ended
        writer.close()

    stalled = asyncio.Event()
    stalled.set()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{path}.{index}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int, zombies: bool = True) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return zombies or state != "Z"


def _until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


def test_the_measured_server_without_an_engine_needs_no_torch() -> None:
    program = "import sys, tramontane.cli.bench_child; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
