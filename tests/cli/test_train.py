"""`tramontane train`, from raw text to a model that answers, stopped and resumed as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.runs import RECIPE

_ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from tramontane.cli.main import app; app()", *arguments]


def _tramontane(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, env=_ENVIRONMENT, timeout=240)


def test_from_raw_text_to_a_model_that_answers(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    done = _tramontane("train", "tiny", "--out", out, "--evaluate", "1")
    assert done.returncode == 0, done.stderr
    assert "what is learnt is marked" in done.stderr
    assert "of matrix rate" in done.stderr
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "## Evaluation" in card
    assert "| arithmetic | result |" in card
    answer = _tramontane("generate", "--model", f"{out}/model", "Fral?", "--max-tokens", "4")
    assert answer.returncode == 0, answer.stderr
    again = _tramontane("train", "tiny", "--out", out, "--evaluate", "0")
    assert again.returncode == 0, again.stderr


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.replace("tokens = 4000", "tokens = 400_000"))
    return path


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = _command("train", str(recipe), "--out", str(out), "--workers", "1")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=_ENVIRONMENT) as process:
        _wait_for(out / "log.jsonl")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130
    assert f"tramontane train {recipe} --out {out}" in said
    kept = sorted((out / "checkpoints").iterdir())[-1]
    assert json.loads((kept / "state.json").read_text())["step"] > 0


@pytest.mark.heavy
def test_slices_by_time_go_on(recipe: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    for _ in range(2):
        done = _tramontane("train", str(recipe), "--out", out, "--stop-after-seconds", "3", "--workers", "0")
        assert done.returncode == 0, done.stderr
        assert "Stopped, with a checkpoint" in done.stderr
    assert "going on from step" in done.stderr
    assert (tmp_path / "run" / "loss.svg").exists()


def test_a_wrong_recipe_is_one_sentence(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("dim = 32", "dimension = 32"))
    done = _tramontane("train", str(recipe), "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "model.dimension is not a key" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def _wait_for(log: Path) -> None:
    for _ in range(600):
        if log.exists() and log.stat().st_size:
            return
        time.sleep(0.1)
    pytest.fail("no step was logged")
