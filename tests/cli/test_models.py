"""`tramontane models`: what is here, and what is served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tramontane.catalogue.record import Facts, HubFile, Record
from tramontane.catalogue.running import announce
from tramontane.catalogue.store import ModelStore
from tramontane.cli.main import cli

NAME = "winds/Mistral-1M"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAMONTANE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


@pytest.fixture
def model(home: Path) -> None:
    store = ModelStore(home)
    store.partial(NAME).mkdir(parents=True)
    (store.partial(NAME) / "config.json").write_bytes(bytes(20_000_000))
    file = HubFile("config.json", 20_000_000, "git:" + "0" * 40)
    facts = Facts("native", "bfloat16", 7_248_023_552)
    store.install(Record(NAME, "c" * 40, "[bold]apache\x1b[2J", "2026-11-01T00:00:00+00:00", (file,), facts))


def show(*arguments: str) -> str:
    return CliRunner().invoke(cli, ["models", *arguments], catch_exceptions=False).stdout


def test_an_empty_home_has_the_bundled_model_and_says_how_to_fill_it(home: Path) -> None:
    text = show()
    assert "brise" in text
    assert "apache-2.0" in text
    assert "`tramontane pull open-mistral-7b`" in text


@pytest.mark.usefixtures("model")
def test_the_table(home: Path) -> None:
    with announce(home, "http://127.0.0.1:8000", ["mistral-small", "[red]x"]):
        text = show()
    for word in (NAME, "0.02 GB", "7.25 B", "native, bfloat16", "[bold]apache\ufffd[2J", "cccccccccccc"):
        assert word in text
    assert "http://127.0.0.1:8000" in text
    assert "mistral-small, [red]x" in text
    assert "Running servers" not in show()


@pytest.mark.usefixtures("model")
def test_the_same_for_programs(home: Path) -> None:
    with announce(home, "http://127.0.0.1:8000", ["mistral-small"]):
        found = json.loads(show("--json"))
    (bundled, model), (server,) = found["models"], found["servers"]
    assert (bundled["name"], bundled["layout"], bundled["licence"]) == ("brise", "hf", "apache-2.0")
    assert (model["name"], model["parameters"], model["layout"]) == (NAME, 7_248_023_552, "native")
    assert model["folder"] == str(ModelStore(home).folder(NAME))
    assert (server["pid"], server["url"], server["models"]) == (os.getpid(), "http://127.0.0.1:8000", ["mistral-small"])


def test_listing_needs_neither_torch_nor_the_hub() -> None:
    program = (
        "import sys, tramontane.cli.models, tramontane.cli.pull; print({'torch', 'huggingface_hub'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"


def test_help_has_an_example() -> None:
    assert "Example: " in show("--help")
