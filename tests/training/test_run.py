"""A run gives the same weights however often it is stopped, killed and resumed."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.runs import RECIPE, Quiet, small_recipe, small_run
from tramontane.model.checkpoint import Checkpoint
from tramontane.model.machine import best_dtype
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import RecipeError, TrainingError
from tramontane.training.hardware import training_dtype
from tramontane.training.log import read_log
from tramontane.training.record import Attestation, read_record
from tramontane.training.run import Run
from tramontane.training.trainer import Control

_ROOT = Path(__file__).parents[2]
_ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}  # sums are cut up by threads: as many as here, for the same bits


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run, watcher = small_run(folder)
    assert run.run()
    assert watcher.shown[0].origin == "repeat 0 of stage first"
    assert watcher.reports[-1].loss < watcher.reports[0].loss
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted((folder / "checkpoints").iterdir())[-1] / "state.safetensors")


def assert_same(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    model = (one / "model" / "model.safetensors").read_bytes()
    assert model == (other / "model" / "model.safetensors").read_bytes()
    losses = [[report.loss for report in read_log(folder / "log.jsonl")] for folder in (one, other)]
    assert losses[0] == losses[1]


def test_the_result_is_a_model_and_what_there_is_to_know_of_it(whole: Path) -> None:
    for name in ("model", "native"):
        checkpoint = Checkpoint.open(whole / name)
        tokenizer = Tokenizer.from_folder(whole / name)
        tokenizer.check_fits(checkpoint.config.vocab_size)
        assert checkpoint.config.vocab_size == 332
    record = read_record(whole / "model" / "training_record.json")
    assert [stage.name for stage in record.stages] == ["first", "second"]
    assert record.tokens == sum(sample.tokens for sample in record.samples) >= 6500
    assert record.compute.flops == 6 * record.model.parameters * record.tokens
    assert record.compute.energy_method
    assert record.model.digests.keys() == {"config.json", "model.safetensors", "tekken.json"}
    assert record.attestations.synthetic_data is Attestation.TO_BE_PROVIDED
    card = (whole / "model" / "README.md").read_text()
    assert card.startswith("---\n")
    assert "| look_up | none |" in card
    assert (whole / "loss.svg").read_text().startswith("<svg")


def test_stopped_and_resumed_it_is_the_same(whole: Path, tmp_path: Path) -> None:
    for steps in (3, 4, 1, None):  # within a stage, at its end, within the next, to the end
        run, _ = small_run(tmp_path, steps=steps, workers=0 if steps == 3 else 1)
        assert run.run() is (steps is None)
    assert_same(tmp_path, whole)


def test_in_bfloat16_it_resumes_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_recipe(RECIPE.partition('[[stage]]\nname = "second"')[0])
    for name, dtype in (("float32", torch.float32), ("whole", torch.bfloat16), ("parts", torch.bfloat16)):
        monkeypatch.setattr("tramontane.training.run.training_dtype", lambda *_, dtype=dtype: dtype)
        for steps in (2, 1, None) if name == "parts" else (None,):
            run, _ = small_run(tmp_path / name, steps=steps, recipe=recipe)
            assert run.run() is (steps is None)
    assert_same(tmp_path / "parts", tmp_path / "whole")
    exact, rounded = weights(tmp_path / "float32"), weights(tmp_path / "whole")
    assert any(not torch.equal(exact[name], rounded[name]) for name in exact)  # else it was none
    for name, weight in exact.items():
        if name.startswith("weight/"):
            torch.testing.assert_close(rounded[name], weight, rtol=0.2, atol=0.05)


def test_wide_models_are_computed_in_what_the_processor_multiplies_best() -> None:
    cpu = torch.device("cpu")
    assert training_dtype(cpu, 384) == best_dtype(cpu)
    assert training_dtype(cpu, 128) == torch.float32
    assert training_dtype(torch.device("cuda"), 128) == torch.bfloat16


def test_killed_and_resumed_it_is_the_same(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "tokenizer", tmp_path / "tokenizer")
    for last in (4, 9):
        command = [sys.executable, "-m", "tests.training.program_train", str(tmp_path), "1"]
        with subprocess.Popen(command, cwd=_ROOT, env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= last:
                    break
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "model").exists()
    run, _ = small_run(tmp_path)
    assert run.run()
    assert_same(tmp_path, whole)


def test_a_finished_run_has_nothing_left_to_do(whole: Path) -> None:
    run, watcher = small_run(whole)
    assert run.run()
    assert not watcher.reports


def test_until_stops_after_a_step_by_name(tmp_path: Path) -> None:
    for until, there, missing in (("tokenizer", "tokenizer", "checkpoints"), ("first", "checkpoints", "model")):
        run, _ = small_run(tmp_path)
        assert run.run(until)
        assert (tmp_path / there).exists()
        assert not (tmp_path / missing).exists()
    with pytest.raises(RecipeError, match="no step 'third' to stop after; known are tokenizer, corpus, first, second"):
        small_run(tmp_path)[0].run("third")


def test_another_recipe_needs_another_folder(whole: Path) -> None:
    with pytest.raises(TrainingError, match="holds a run of the recipe 'small'"):
        small_run(whole, recipe=small_recipe(RECIPE.replace("2500", "2600")))


def test_a_run_that_must_end_in_time_ends_with_its_rates_at_zero(tmp_path: Path) -> None:
    endless = RECIPE.replace("tokens = 4000", "tokens = 40_000_000").replace("tokens = 2500", "tokens = 20_000_000")
    recipe, watcher = small_recipe(endless.replace("checkpoint_seconds = 0.0", "checkpoint_seconds = 60.0")), Quiet()
    control = Control(lambda: False, "resume me", deadline=time.monotonic() + 6)
    assert Run(recipe, tmp_path, watcher, control).run()
    assert {report.stage for report in watcher.reports} == {"first", "second"}
    assert watcher.reports[-1].tokens < 60_000_000
    assert watcher.reports[-1].rate_factor < 0.3


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "tokenizer", tmp_path / "tokenizer")
    small_run(tmp_path, steps=3)[0].run()
    before = weights(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # what a checkpoint does not fit in
    try:
        with pytest.raises(TrainingError, match=r"could not be written to .* the last one is intact: .* resume me"):
            small_run(tmp_path)[0].run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(tmp_path).items())
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert small_run(tmp_path)[0].run()
    assert_same(tmp_path, whole)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    small_run(tmp_path, steps=2)[0].run()
    last = sorted((tmp_path / "checkpoints").iterdir())[-1]
    (last / "state.json").write_text("{}")
    with pytest.raises(TrainingError, match="is no whole checkpoint"):
        small_run(tmp_path)[0].run()


def test_the_model_is_that_of_transformers(whole: Path) -> None:
    from transformers import AutoModelForCausalLM, MistralForCausalLM

    from tests.tiny import attend_to_all
    from tramontane.model.weights import load_model

    theirs = AutoModelForCausalLM.from_pretrained(whole / "model", dtype=torch.float32)
    assert isinstance(theirs, MistralForCausalLM)
    ids = torch.randint(332, (60,), generator=torch.Generator().manual_seed(0))
    for name in ("model", "native"):
        ours = load_model(whole / name, dtype=torch.float32).model
        with torch.no_grad():
            scores = ours.logits(ours(ids, torch.arange(60), attend_to_all(ours.config)))
            torch.testing.assert_close(scores, theirs(ids[None]).logits[0], rtol=1e-4, atol=1e-4)


def _torchrun(*program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", *program]
    return subprocess.run(command, cwd=_ROOT, env=_ENVIRONMENT, capture_output=True, text=True, timeout=120)


@pytest.mark.heavy
def test_two_processes_train_a_model_with_fsdp2(tmp_path: Path) -> None:
    done = _torchrun("tests.training.program_train", str(tmp_path), "0")
    assert done.returncode == 0, done.stderr
    assert Checkpoint.open(tmp_path / "model").config.dim == 32
    losses = [report.loss for report in read_log(tmp_path / "log.jsonl")]
    assert losses[-1] < losses[0]
    record = read_record(tmp_path / "model" / "training_record.json")
    assert record.compute.devices == 2
    assert record.tokens == sum(sample.tokens for sample in record.samples)


def test_two_processes_make_the_step_that_one_makes() -> None:
    done = _torchrun("tests.training.program_shards")
    assert done.returncode == 0, done.stderr
