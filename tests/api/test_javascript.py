"""JavaScript clients against a live server: la Plateforme's own, and the Vercel AI SDK."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.api.live import LiveServer
from tests.api.talking import PATIENCE

FOLDER = Path(__file__).parents[1] / "javascript"


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder with its packages installed, exactly as locked; another run does it again only after a change."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js is not installed: apt-get install nodejs npm")
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".installed-lock.json"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=FOLDER, check=True, timeout=4 * PATIENCE)
        shutil.copy(lock, installed)
    return FOLDER


@pytest.mark.parametrize("script", ["mistralai.mjs", "ai-sdk.mjs"])
def test_a_client_is_answered_as_it_expects(server: LiveServer, packages: Path, script: str) -> None:
    env = {**os.environ, "TRAMONTANE_URL": server.url, "TRAMONTANE_API_KEY": server.key}
    run = subprocess.run(
        ["node", script], cwd=packages, env=env, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert run.stdout.count("ok ") >= 9
    assert run.stderr == ""  # no warnings either


def test_the_lock_names_no_host_but_the_registry() -> None:
    """Nothing comes from a folder of the machine that wrote it, nor from a mirror."""
    text = (FOLDER / "package-lock.json").read_text()
    assert '"resolved"' not in text.replace('"resolved": "https://registry.npmjs.org/', "")
    assert "file:" not in text
    assert text.count('"integrity"') == text.count('    "node_modules/')
