"""`tramontane bench server` runs through, its figures hang together, and nothing of it is left behind.

How fast the server is, is no matter for a test.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tramontane.cli.bench_client import Client, post
from tramontane.cli.bench_load import _Counts, _EventCounter, closed_loop, open_loop, percentile
from tramontane.cli.bench_process import ServerProcess
from tramontane.cli.main import cli
from tramontane.errors import TramontaneError

_TINY = ["--seconds", "0.5", "--rate", "40", "--shape", "tiny-15m", "--layers", "1", "--quantization", "none"]
_FEW = ["--streams", "3", "--prompt", "8", "--tokens", "24", "--rounds", "1"]


@pytest.fixture(scope="module")
def printed() -> str:
    """What one small run of both parts prints."""
    result = CliRunner().invoke(cli, ["bench", "server", *_TINY, *_FEW], catch_exceptions=False)
    return result.stdout


def test_all_figures_are_finite_and_positive(printed: str) -> None:
    figures = json.loads(printed.splitlines()[-1])
    numbers = dict(_numbers(figures))
    signed = {path for path in numbers if "lower_p" in path}  # the mock is charged for more than the client waited
    assert all(math.isfinite(value) for value in numbers.values())
    assert all(value > 0 for path, value in numbers.items() if path not in signed), numbers
    assert figures["http"]["added"]["requests"] == 20
    assert figures["http"]["added"]["p50_ms"] <= figures["http"]["added"]["p99_ms"]
    assert figures["http"]["added"]["lower_p50_ms"] <= figures["http"]["added"]["p50_ms"]
    assert (figures["http"]["requests_on_one_core"] is None) == (len(os.sched_getaffinity(0)) == 1)
    assert len(figures["engine"]["through_http"]["rounds"]) == 1
    assert len(figures["engine"]["straight"]["rounds"]) == 2


def test_the_table_names_what_the_bars_are_held_against(printed: str) -> None:
    for words in ("added at 40 requests/s", "99th percentile", "for a core's time", "all streams running", "≥ 95%"):
        assert words in printed


def test_a_part_or_shape_that_is_not_known_is_refused() -> None:
    for arguments in (["--part", "all"], ["--shape", "mistral-9000"]):
        result = CliRunner().invoke(cli, ["bench", "server", *arguments])
        assert isinstance(result.exception, TramontaneError)
        assert "http" in str(result.exception) or "mistral-7b" in str(result.exception)


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
        asyncio.run(_refused(server.port))
    assert not _runs(pid)


async def _refused(port: int) -> None:
    client = Client(port)
    with pytest.raises(TramontaneError, match="401"):
        await client.send(post("/v1/chat/completions", "wrong", {}), lambda part: None)
    client.close()


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
        return [request.seen for request in load.requests]

    seen = asyncio.run(measure())
    assert sum(seconds > 0.1 for seconds in seen) >= 8
    assert min(seen) >= 0


def test_a_closed_loop_counts_answers_and_events() -> None:
    async def measure() -> None:
        async with _server() as port:
            window = await closed_loop(port, b"GET / HTTP/1.1\r\n\r\n", 4, 0.3, 0.1, lambda: 0.0)
        assert window.requests > 10
        assert abs(window.events - 2 * window.requests) <= 8
        assert 0 < window.own_share < 1.5

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
        counts = _Counts()
        counter = _EventCounter(counts)
        for part in parts:
            counter(part)
        assert counts.events == 2


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.99) == 7


# ── helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _server(stall_at: int = -1, stall: float = 0.0, hang_up: bool = False) -> AsyncIterator[int]:
    """Answers each request with two events, in chunks; at one of them it stands still, as a blocked loop does."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        try:
            while not hang_up:
                await reader.readuntil(b"\r\n\r\n")
                served += 1
                if served == stall_at:
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
