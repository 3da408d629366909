"""The types of the web app's client are those of the routes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "web" / "src" / "api" / "schema.d.ts"


@pytest.mark.skipif(
    not (ROOT / "web" / "node_modules").is_dir(), reason="The web app's tools are not installed: make web"
)
def test_the_client_is_made_from_these_routes(tmp_path: Path) -> None:
    description, made = tmp_path / "openapi.json", tmp_path / "schema.d.ts"
    python = [sys.executable]
    with description.open("wb") as out:
        subprocess.run([*python, "web/tools/openapi.py"], cwd=ROOT, stdout=out, check=True)
    npm = [*python, "web/tools/npm.py", "exec", "--", "openapi-typescript", str(description), "--output", str(made)]
    subprocess.run(npm, cwd=ROOT, check=True, capture_output=True)
    assert made.read_text() == SCHEMA.read_text(), "make api"


def test_the_lock_names_no_host() -> None:
    """Packages come from wherever npm is told to look; their digests say what they must be."""
    text = (ROOT / "web" / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert "file:" not in text
    assert text.count('"integrity"') == text.count('    "node_modules/')
