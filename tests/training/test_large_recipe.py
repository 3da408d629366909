"""The recipe for accelerators takes steps in each of its stages, at its own size and lengths; but few of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.runs import small_run
from tramontane.model.checkpoint import Checkpoint
from tramontane.training.log import read_log
from tramontane.training.recipe import OF_TEXT, Recipe, read_recipe

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]

_STEPS = 2  # of each stage


def few_steps() -> Recipe:
    """brise with its vocabulary, model and stages, but batches of two sequences, and without text of packages."""
    whole = read_recipe("brise")
    stages = [
        replace(
            stage,
            tokens=_STEPS * 2 * stage.sequence_length,
            batch_tokens=2 * stage.sequence_length,
            mix={kind: share for kind, share in stage.mix.items() if kind not in (*OF_TEXT, "code", "fim")},
        )
        for stage in whole.stage
    ]
    return replace(whole, source=(), stage=tuple(stages))


def test_every_stage_of_brise_takes_steps_and_the_model_is_whole(tmp_path: Path) -> None:
    run, _ = small_run(tmp_path, workers=1, recipe=few_steps())
    assert run.run()
    config = Checkpoint.open(tmp_path / "model").config
    assert (config.dim, config.num_layers, config.max_context) == (384, 8, 8192)
    reports = read_log(tmp_path / "log.jsonl")
    assert {report.stage for report in reports} == {stage.name for stage in read_recipe("brise").stage}
    assert all(report.loss < 12 and report.gradient_norm < 1e3 for report in reports)
    assert reports[5].loss < reports[0].loss
