"""The README's examples run as written, in its order; its links lead somewhere."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.live import serve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The first block installs and tests; ```console blocks name a model that a test does not have.
EXAMPLES = re.findall(r"^```(python|bash)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1:]
ADDRESS = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `make serve` starts: the address that the examples name, unless another program has it, and the key."""
    model = re.search(r"^MODEL +\?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert model is not None
    home = tmp_path_factory.mktemp("home")
    with serve("--model", model[1], "--port", str(_free_port()), home=home) as running:
        yield {"address": running.url.removeprefix("http://"), "key": running.key}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8000))
        except OSError:
            return 0
    return 8000


def test_examples_run_as_written(tmp_path: Path, server: dict[str, str]) -> None:
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TRAMONTANE_API_KEY": server["key"]}
    for language, code in EXAMPLES:
        code = code.replace(ADDRESS, server["address"])
        command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euc", code]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert result.returncode == 0, f"{code}\n{result.stdout}\n{result.stderr}"
        if "client" in code:
            assert result.stdout.strip()
        if "grammar" in code or "--regex" in code:
            assert re.search(r"Mistral|Tramontane|Marin|strong", result.stdout), result.stdout
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_begins_with_the_two_commands() -> None:
    block = re.search(r"```bash\n(.*?)```", README, re.DOTALL)
    assert block is not None
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make serve", "make test"]
