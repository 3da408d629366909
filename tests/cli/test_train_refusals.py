"""`tramontane train` on what it cannot use: one sentence, an exit status of 1, and a run that goes on once it can."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from tests.training.data import WITH_DATA, turn, write_lines
from tests.training.runs import RECIPE
from tramontane.cli.main import cli
from tramontane.errors import TramontaneError
from tramontane.training.state import load_state

_ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
_PROGRAM = [sys.executable, "-c", "from tramontane.cli.main import app; app()"]
_SOURCE = (
    '[[source]]\nfolder = "texts"\nlanguage = "fr"\nlicence = "CC0-1.0"\norigin = "here"\nobtained = "2026-11-24"\n\n'
)


def train(recipe: Path, *arguments: str, most_kilobytes: int | None = None) -> Done:
    """Runs the command in the recipe's folder; in a process of its own where no file can be larger than so much."""
    arguments = ("train", recipe.name, "--out", "run", "--workers", "0", *arguments)
    if most_kilobytes is None:
        with contextlib.chdir(recipe.parent):
            result = CliRunner().invoke(cli, arguments)
        # `tramontane` itself says the one sentence of an error of ours; any other is not caught.
        error = result.exception if isinstance(result.exception, TramontaneError) else ""
        return Done(result.exit_code if error or result.exception is None else -1, f"{result.stderr} {error}")
    process = subprocess.run(
        ["bash", "-c", f"ulimit -f {most_kilobytes} && exec {shlex.join([*_PROGRAM, *arguments])}"],
        cwd=recipe.parent,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return Done(process.returncode, process.stderr)


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stderr: str


def refused(done: Done, said: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert said in " ".join(done.stderr.split())


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_a_corrupt_source(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace("[[stage]]", f"{_SOURCE}[[stage]]", 1))
    (recipe.parent / "texts").mkdir()
    (recipe.parent / "texts" / "a.txt").write_text("Une phrase. " * 60)
    (recipe.parent / "texts" / "b.txt.gz").write_bytes(b"\x1f\x8b broken")
    refused(train(recipe), "b.txt.gz is damaged")
    assert not (recipe.parent / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('licence = "CC0-1.0"', 'licence = "proprietary"', "has the licence 'proprietary', which is not on the list"),
        ('licence = "CC0-1.0"', 'license = "CC0-1.0"', "source[0].license is not a key that recipes have"),
        ('licence = "CC0-1.0"', "licence = 0", "source[0].licence must be a text"),
    ],
)
def test_a_wrong_licence_field(recipe: Path, old: str, new: str, said: str) -> None:
    recipe.write_text(RECIPE.replace("[[stage]]", f"{_SOURCE}[[stage]]", 1).replace(old, new))
    (recipe.parent / "texts").mkdir()
    refused(train(recipe), said)


def test_a_wrong_line_of_a_data_file(recipe: Path) -> None:
    recipe.write_text(WITH_DATA)
    write_lines(recipe.parent / "support.jsonl", turn("a", "b"), '{"messages": [}')
    refused(train(recipe), "support.jsonl, line 2: it is not JSON")


def test_data_files_can_be_checked_without_training(recipe: Path) -> None:
    recipe.write_text(WITH_DATA)
    write_lines(recipe.parent / "support.jsonl", *(turn(f"Wo {n}?", f"Da {n}.") for n in range(30)))
    done = train(recipe, "--until", "corpus")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "support.jsonl, line 1; what is learnt is marked, token by token" in said
    assert "support.jsonl: 30 lines" in said
    assert not (recipe.parent / "run" / "checkpoints").exists()


def test_a_disk_that_fills_up(recipe: Path) -> None:
    """The last checkpoint stays, and the command that is named goes on from it."""
    longer = RECIPE.replace("dim = 32", "dim = 64").replace("tokens = 2500", "tokens = 2500\nlearning_rate = 0.001")
    recipe.write_text(longer)
    refused(train(recipe, most_kilobytes=8), "go on with: tramontane train small.toml --out run")
    assert not (recipe.parent / "run" / "checkpoints").exists()
    stopped = train(recipe, "--until", "first")
    assert stopped.returncode == 0, stopped.stderr
    before = load_state(recipe.parent / "run" / "checkpoints")
    assert before is not None
    full = train(recipe, most_kilobytes=100)
    refused(full, "the last one is intact: make room, then go on with: tramontane train small.toml --out run")
    after = load_state(recipe.parent / "run" / "checkpoints")
    assert after is not None
    assert after[0] == before[0]
    assert all(bool((after[1][name] == tensor).all()) for name, tensor in before[1].items())
    done = train(recipe, "--evaluate", "0")
    assert done.returncode == 0, done.stderr
    assert f"going on from step {before[0].step}" in done.stderr
    assert (recipe.parent / "run" / "model" / "config.json").exists()


@pytest.mark.heavy
def test_ctrl_c_before_the_first_step_and_after_some(recipe: Path) -> None:
    """Whenever it comes, the sentence names the command, which goes on from a whole checkpoint."""
    recipe.write_text(RECIPE.replace("tokens = 4000", "tokens = 40_000"))
    command = [*_PROGRAM, "train", recipe.name, "--out", "run", "--workers", "1"]
    steps = []
    for number in range(2):
        with subprocess.Popen(
            command, cwd=recipe.parent, env=_ENVIRONMENT, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            read = ""
            for line in process.stderr:
                read += line
                if ("training the tokenizer", "going on from step")[number] in line:
                    break
            process.send_signal(signal.SIGINT)
            said = " ".join((read + process.stderr.read()).split())
        assert process.returncode == 130, said
        assert "Stopped, with a checkpoint. Go on with: tramontane train small.toml --out run" in said
        assert "Traceback" not in said
        state = load_state(recipe.parent / "run" / "checkpoints")
        assert state is not None
        steps.append(state[0].step)
    assert 0 < steps[0] < steps[1]
    log = (recipe.parent / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == list(range(1, steps[1] + 1))
