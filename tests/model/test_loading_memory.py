"""Loading a whole 7B checkpoint takes little more memory than what is kept of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tramontane.model.checkpoint_writer import save_checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.random_weights import RandomWeights

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(3600)]

GIB = 1 << 30
MISTRAL_7B = ModelConfig(4096, 32, 32, 8, 128, 14336, 32768, rope_theta=1e6)

# Loads in a process of its own and watches its anonymous memory: pages of the mapped files do not count, since the
# system takes them back whenever it needs them.
_LOAD = """
import json, sys, threading, time
from pathlib import Path
from tramontane.model.weights import load_model

def anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))

samples, done = [(0, anonymous())], threading.Event()
progress = [0]

def watch():
    while not done.wait(0.05):
        samples.append((progress[0], anonymous()))

watcher = threading.Thread(target=watch)
watcher.start()
started = time.perf_counter()
loaded = load_model(Path(sys.argv[1]), quantization=sys.argv[2], progress=lambda now, _: progress.__setitem__(0, now))
seconds = time.perf_counter() - started
done.set()
watcher.join()
samples.append((progress[0], anonymous()))
at, peak = max(samples, key=lambda sample: sample[1])
print(json.dumps({
    "before": samples[0][1], "peak": peak, "peak_at_leaf": at, "after": samples[-1][1], "kept": loaded.num_bytes,
    "seconds": seconds, "samples": len(samples),
}))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A random bf16 checkpoint of Mistral 7B's shape, 14.5 GB, gone after the test."""
    folder = tmp_path_factory.mktemp("mistral-7b")
    read = RandomWeights(MISTRAL_7B, dtype=torch.bfloat16).read
    save_checkpoint(folder, MISTRAL_7B, read, "hf", torch.bfloat16, max_shard_bytes=GIB)
    yield folder
    for file in folder.iterdir():
        file.unlink()


def test_peak_while_loading_7b_as_int8(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", _LOAD, str(checkpoint), "int8"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\n{ {name: round(n / GIB, 2) if n > 1e6 else n for name, n in figures.items()} }", end=" ")
    assert figures["samples"] > 50
    assert 6.5 * GIB < figures["kept"] < 7.5 * GIB
    assert figures["peak"] < figures["kept"] + 2 * GIB
