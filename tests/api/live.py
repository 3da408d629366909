"""`tramontane serve` as users run it: a process of its own, on a free port of the loopback, with a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.tokenizers import SPM_V3, TEKKEN_V3, write_tekken
from tramontane.model.checkpoint_writer import save_checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.random_weights import RandomWeights

KEY = "trm-the-key-that-the-tests-of-the-api-use-0123456789"

_START_SECONDS = 120.0
_END_SECONDS = 60.0
_POLL_SECONDS = 0.02
_PROGRAM = "from tramontane.cli.main import app; app()"


@dataclass
class LiveServer:
    """A running server. `url` has no path; `stdout` and `stderr` are the files that it writes."""

    url: str
    key: str
    home: Path
    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def log_lines(self) -> list[str]:
        """What it has logged so far."""
        return self.stderr.read_text(encoding="utf-8").splitlines()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log's lines that are JSON objects, which all but the notices at the start are."""
        return [json.loads(line) for line in self.log_lines if line.startswith("{")]

    def log_line_of(self, correlation_id: str) -> dict[str, Any]:
        """The line of one request, which is written when the request has ended: right after its last byte."""

        def find() -> dict[str, Any] | None:
            lines = (json.loads(line) for line in self.log_lines if correlation_id in line and line.endswith("}"))
            return next((line for line in lines if line["logger"] == "tramontane.requests"), None)

        return wait_for(find, f"the log line of request {correlation_id}")

    def is_ready(self) -> bool:
        """Whether `/ready` says so."""
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=10) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
    """The first true value of a condition; fails when it does not come in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"After {seconds:.0f} s there is still not {what}.")


@contextmanager
def serve(
    *arguments: str | Path, home: Path, env: Mapping[str, str] | None = None, exit_status: int | None = 0
) -> Iterator[LiveServer]:
    """A server with these arguments, ready; ended by SIGTERM, whereupon it must exit with `exit_status` (None: any).

    A body that ends the process itself is believed: then only the exit status is looked at.
    """
    home.mkdir(parents=True, exist_ok=True)
    stdout, stderr = home / "stdout.txt", home / "stderr.txt"
    surroundings = {**os.environ, "TRAMONTANE_HOME": str(home), "TRAMONTANE_API_KEY": KEY, **(env or {})}
    command = [sys.executable, "-c", _PROGRAM, "serve", "--port", "0", *map(str, arguments)]
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=surroundings, stdin=subprocess.DEVNULL)
    try:
        url = wait_for(lambda: _url(process, stdout, stderr), "an address on stdout", _START_SECONDS)
        server = LiveServer(url, surroundings["TRAMONTANE_API_KEY"], home, process, stdout, stderr)
        wait_for(lambda: _is_alive(process, stderr) and server.is_ready(), "readiness", _START_SECONDS)
        yield server
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        status = process.wait(_END_SECONDS)
        if exit_status is not None:
            assert status == exit_status, f"the server ended with {status}:\n{_tail(stderr)}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _url(process: subprocess.Popen[bytes], stdout: Path, stderr: Path) -> str | None:
    _is_alive(process, stderr)
    first, newline, _ = stdout.read_text(encoding="utf-8").partition("\n")
    return first.rpartition(" ")[2] if newline else None


def _is_alive(process: subprocess.Popen[bytes], stderr: Path) -> bool:
    assert process.poll() is None, f"the server ended with {process.returncode} at its start:\n{_tail(stderr)}"
    return True


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-4000:]


# ── tiny models ─────────────────────────────────────────────────────────────────────────────────────────────────────


def tiny_config(vocab_size: int, max_context: int = 2048) -> ModelConfig:
    """A model whose steps take a millisecond."""
    return ModelConfig(
        dim=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, ffn_dim=96, vocab_size=vocab_size,
        max_context=max_context,
    )  # fmt: skip


def write_spm_model(folder: Path, *, max_context: int = 2048) -> Path:
    """Random weights with the real SentencePiece tokenizer of version 3."""
    _save(folder, tiny_config(32_768, max_context))
    shutil.copy(SPM_V3, folder / "tokenizer.model.v3")
    return folder


def write_tekken_v3_model(folder: Path, *, max_context: int = 2048) -> Path:
    """Random weights with the real tekken tokenizer of version 3."""
    _save(folder, tiny_config(131_072, max_context))
    shutil.copy(TEKKEN_V3, folder / "tekken.json")
    return folder


def write_tekken_model(folder: Path, version: int, *, max_context: int = 2048) -> Path:
    """Random weights with a small tekken tokenizer of version 7, 11, 13 or 15: the fastest of all."""
    write_tekken(folder, version)
    _save(folder, tiny_config(1064, max_context))
    return folder


def write_embedder(folder: Path) -> Path:
    """An embedding model as they are published: no output head, the last token pooled, vectors of length 1."""
    write_tekken(folder, 7)
    config = tiny_config(1064)
    save_checkpoint(folder, config, RandomWeights(config).read, layout="hf", dtype=torch.bfloat16)
    weights = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if name != "lm_head.weight"}
    save_file(kept, weights, metadata={"format": "pt"})
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    described = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in modules]
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": config.dim, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def _save(folder: Path, config: ModelConfig) -> None:
    save_checkpoint(folder, config, RandomWeights(config).read, layout="native", dtype=torch.bfloat16)
