"""`tramontane pull` as the shell runs it, against a hub on this machine; then the pulled model is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from tests.catalogue.fake_hub import FakeHub, Repository, release, running_hub
from tests.storage.places import Place
from tramontane.catalogue import hub as catalogue_hub
from tramontane.catalogue.store import ModelStore
from tramontane.catalogue.tables import LicenceAcceptance
from tramontane.cli.main import cli
from tramontane.errors import TramontaneError
from tramontane.storage.database import Database

NAME = "winds/Tramontane-8M"
LICENSED = "mistralai/Codestral-22B-v0.1"
WEIGHTS = "consolidated.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return release("native", tmp_path_factory.mktemp("release"))


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[FakeHub]:
    with running_hub() as hub:
        hub.repositories[NAME] = Repository(dict(files))
        yield hub


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAMONTANE_HOME", str(tmp_path))
    return tmp_path


def start(hub: FakeHub, *arguments: str) -> subprocess.Popen[str]:
    program = "from tramontane.cli.main import app; app()"
    environment = os.environ | {"HF_ENDPOINT": hub.url, "NO_PROXY": "*"}
    return subprocess.Popen(
        [sys.executable, "-c", program, "pull", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_pull_then_generate(hub: FakeHub, home: Path) -> None:
    pulling = start(hub, NAME)
    output, said = pulling.communicate(timeout=60)
    assert pulling.returncode == 0, said
    folder = ModelStore(home).folder(NAME)
    assert output == f"{NAME} is in {folder}\n"
    assert said.startswith(f"{NAME} at commit aaaaaaaaaaaa: licence apache-2.0; 5 files, 0.01 GB.\n")
    for path in hub.repositories[NAME].files:
        assert path in said  # its progress bar
    assert "8.5/8.5 MB" in said
    arguments = ["generate", "Winds?", "--model", NAME, "--max-tokens", "4", "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert json.loads(result.stdout)["usage"]["completion_tokens"] == 4


def test_a_killed_pull_leaves_no_model_and_is_resumed(hub: FakeHub, home: Path) -> None:
    repository, store = hub.repositories[NAME], ModelStore(home)
    repository.stall[WEIGHTS] = 4 << 20
    pulling = start(hub, NAME)
    while not _parts(store):  # the first MiB of the weights is on disk
        assert pulling.poll() is None, pulling.communicate()
    pulling.kill()
    pulling.communicate()
    listed = json.loads(CliRunner().invoke(cli, ["models", "--json"]).stdout)["models"]
    assert [model["name"] for model in listed] == ["brise"]
    (part,) = _parts(store)
    had = part.stat().st_size
    repository.stall.clear()
    hub.seen.clear()
    output, said = start(hub, NAME, "--json").communicate(timeout=60)
    model = json.loads(output)
    assert (model["name"], model["layout"], model["revision"]) == (NAME, "native", repository.commit), said
    size = len(repository.files[WEIGHTS])
    assert [(seen.path, seen.range) for seen in hub.seen] == [(WEIGHTS, f"bytes={had}-{size - 1}")]


def _parts(store: ModelStore) -> list[Path]:
    return [part for part in store.partial(NAME).glob(f"{WEIGHTS}.*.part") if part.stat().st_size]


def test_an_error_is_one_sentence(hub: FakeHub, home: Path) -> None:
    pulling = start(hub, "winds/unknown")
    output, said = pulling.communicate(timeout=60)
    assert (pulling.returncode, output) == (1, "")
    assert said.strip().startswith(f"Error: {hub.url} has no repository winds/unknown")
    assert "Traceback" not in said


def test_a_licence_is_accepted_before_the_first_byte(hub: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(*options: str) -> str:
        return CliRunner().invoke(cli, ["pull", "codestral-22b", *options], catch_exceptions=False).stdout

    hub.repositories[LICENSED] = hub.repositories[NAME]
    monkeypatch.setattr(catalogue_hub, "pull", partial(catalogue_hub.pull, endpoint=hub.url))
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(TramontaneError, match=r"MNPL-0.1 \(for research and tests only.*Give --accept-licence"):
        command()
    assert hub.paths == []
    assert f"{LICENSED} is in" in command("--accept-licence")
    assert f"{LICENSED} is in" in command()  # it is kept that it was accepted
    recorded = Place(None, home).run(_acceptances)
    assert [(row.model, row.licence, row.user_id.endswith("(terminal)")) for row in recorded] == [
        ("codestral-2405", "MNPL-0.1", True)
    ]


async def _acceptances(db: Database) -> list[LicenceAcceptance]:
    async with db.read() as session:
        return list(await session.scalars(select(LicenceAcceptance)))


@pytest.mark.parametrize("reference", ["{home}", "random:tiny-15m"])
def test_what_is_no_repository_is_not_pulled(home: Path, reference: str) -> None:
    with pytest.raises(TramontaneError, match="is nothing to download"):
        CliRunner().invoke(cli, ["pull", reference.format(home=home)], catch_exceptions=False)


def test_help_has_an_example() -> None:
    assert "Example: " in CliRunner().invoke(cli, ["pull", "--help"]).stdout
