"""How the server ends: in order when asked once, at once when asked twice, with a sentence when it cannot begin."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.api.live import KEY, LiveServer, serve, wait_for, write_tekken_model
from tests.api.talking import CHAT, PATIENCE, OpenStream, ask, chat, is_well_formed, streaming
from tramontane.api.server import listen
from tramontane.errors import TramontaneError

KV_MEMORY = "--kv-memory=16MiB"
PROMPT = 5.0  # seconds: what is called prompt; an idle machine takes a tenth of one


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tekken_model(tmp_path_factory.mktemp("model"), 13, max_context=16_384)


def test_running_streams_finish_and_nothing_new_begins(model: Path, tmp_path: Path) -> None:
    with (
        serve(f"--model=small={model}", KV_MEMORY, home=tmp_path) as live,
        streaming(live, chat(tokens=1500)) as stream,
    ):
        with socket.create_connection(("127.0.0.1", live.port), timeout=PATIENCE) as kept:
            assert say(kept, live) == b"HTTP/1.1 200 OK"
            live.process.send_signal(signal.SIGTERM)
            wait_for(lambda: is_refused(live), "a refusal of what is new")
            assert say(kept, live) in (b"", b"HTTP/1.1 503 Service Unavailable")  # closed while idle, or told
        events = stream.rest()
        assert is_well_formed(events)
        last = json.loads(events[-2])
        assert last["usage"]["completion_tokens"] == 1500
        assert last["choices"][0]["finish_reason"] == "length"
        assert live.process.wait(PATIENCE) == 0


def test_a_stream_that_is_too_long_is_cut_at_the_deadline(model: Path, tmp_path: Path) -> None:
    with serve(f"--model=small={model}", KV_MEMORY, "--drain-seconds=1", home=tmp_path) as live:
        with streaming(live, chat(tokens=16_000)) as stream:
            asked = time.monotonic()
            live.process.send_signal(signal.SIGTERM)
            events = stream.rest()
            assert 0.9 < time.monotonic() - asked < 1 + PROMPT
        assert is_well_formed(events)
        last = json.loads(events[-2])
        assert last["choices"][0]["finish_reason"] == "error"
        assert 0 < last["usage"]["completion_tokens"] < 16_000  # what was delivered counts
        assert last["usage"]["prompt_tokens"] > 0
        assert live.process.wait(PATIENCE) == 0


def test_a_second_signal_ends_it_at_once(model: Path, tmp_path: Path) -> None:
    arguments = (f"--model=small={model}", KV_MEMORY)
    with serve(*arguments, home=tmp_path, exit_status=None) as live, streaming(live, chat(tokens=16_000)):
        live.process.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(live), "a refusal of what is new")
        assert live.process.poll() is None
        asked = time.monotonic()
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(PATIENCE) == 128 + signal.SIGTERM
        assert time.monotonic() - asked < PROMPT


def test_a_signal_while_a_model_is_loading(tmp_path: Path) -> None:
    process, stdout, stderr = start(tmp_path, "--model=random:mistral-7b")
    try:
        wait_for(lambda: "Sign in" in stdout.read_text(), "the introduction", PATIENCE)
        url = stdout.read_text().partition("\n")[0].rpartition(" ")[2]
        live = LiveServer(url, KEY, tmp_path, process, stdout, stderr)
        state = ask(live, "/ready", key=None)
        assert (state.status, state.json["models"]) == (503, {"loading": 1})
        refused = ask(live, CHAT, chat("mistral-7b"))
        assert refused.status == 503
        assert "being loaded" in refused.json["message"]
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - asked < 2 * PROMPT
        assert "Traceback" not in stderr.read_text()
    finally:
        process.kill()
        process.wait()


def is_refused(live: LiveServer) -> bool:
    try:
        return OpenStream(live, chat()).status == 503
    except ConnectionError:
        return True


def say(connection: socket.socket, live: LiveServer) -> bytes:
    """Sends a request on an open connection; the first line of what comes back."""
    try:
        connection.sendall(
            f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {live.key}\r\n\r\n".encode()
        )
        received = b""
        while b"\r\n" not in received and (more := connection.recv(65_536)):
            received += more
        while received.startswith(b"HTTP/1.1 200") and not received.endswith(b"}"):
            received += connection.recv(65_536)
    except ConnectionError:
        return b""
    return received.partition(b"\r\n")[0]


# ── what cannot begin ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_broken_header_is_one_sentence(model: Path, tmp_path: Path) -> None:
    broken = copy_of(model, tmp_path / "broken")
    (broken / "consolidated.safetensors").write_bytes(b"\xff" * 64)
    assert "consolidated.safetensors" in sentence_of_failure(tmp_path, f"--model=broken={broken}")


def test_a_model_that_fails_while_it_is_loaded_is_one_sentence(model: Path, tmp_path: Path) -> None:
    assert "KV memory" in sentence_of_failure(tmp_path, f"--model=small={model}", "--kv-memory=1KiB")


def test_weights_that_are_no_numbers_of_the_right_kind_are_one_sentence(model: Path, tmp_path: Path) -> None:
    broken = copy_of(model, tmp_path / "broken")
    weights = load_file(broken / "consolidated.safetensors")
    weights["output.weight"] = torch.zeros(weights["output.weight"].shape, dtype=torch.int64)
    save_file(weights, broken / "consolidated.safetensors")
    assert "output.weight" in sentence_of_failure(tmp_path, f"--model=broken={broken}")


def test_a_port_in_use_is_one_sentence(model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = sentence_of_failure(tmp_path, f"--model=small={model}", f"--port={port}")
    assert f"port {port}" in said
    assert "in use" in said


def test_an_address_is_taken_from_the_moment_it_is_ours() -> None:
    """Also before a connection is accepted: of two servers that start at once, the second is told."""
    with listen("127.0.0.1", 0) as ours, pytest.raises(TramontaneError, match="in use"):
        listen("127.0.0.1", ours.getsockname()[1])


def sentence_of_failure(home: Path, *arguments: str) -> str:
    """What a server says that exits with 1: one line, and no traceback."""
    process, _, stderr = start(home, *arguments)
    try:
        assert process.wait(PATIENCE) == 1
    finally:
        process.kill()
        process.wait()
    said = stderr.read_text()
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 1, said
    assert lines[0].startswith("Error: ")
    assert lines[0].endswith(".")
    return lines[0]


def start(home: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], Path, Path]:
    """A server that may never be ready, and the files that it writes."""
    home.mkdir(exist_ok=True)
    stdout, stderr = home / "stdout.txt", home / "stderr.txt"
    program = "from tramontane.cli.main import app; app()"
    command = [sys.executable, "-c", program, "serve", "--port=0", *arguments]
    env = {**os.environ, "TRAMONTANE_HOME": str(home), "TRAMONTANE_API_KEY": KEY}
    with stdout.open("wb") as out, stderr.open("wb") as err:
        return subprocess.Popen(command, stdout=out, stderr=err, env=env, stdin=subprocess.DEVNULL), stdout, stderr


def copy_of(model: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
