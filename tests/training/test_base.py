"""A run that goes on from a model that is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.training.runs import small_recipe, small_run
from tramontane.errors import TramontaneError
from tramontane.model.checkpoint import Checkpoint
from tramontane.training.errors import RecipeError
from tramontane.training.record import read_record

STAGE = """
[[stage]]
name = "more"
tokens = 1800
sequence_length = 256
batch_tokens = 600
mix = { look_up = 1.0 }
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that was trained before."""
    folder = tmp_path_factory.mktemp("base")
    run, _ = small_run(folder)
    assert run.run()
    return folder / "model"


def going_on(base: Path, stage: str = STAGE) -> str:
    return f'name = "more"\nbase = "{base}"\n{stage}'


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = Checkpoint.open(folder)
    return {name: checkpoint.read(name) for name in checkpoint.names()}


def test_it_begins_at_the_weights_of_its_base(base: Path, tmp_path: Path) -> None:
    stage = STAGE + "learning_rate = 1e-12\nmuon_learning_rate = 1e-12\nweight_decay = 0.0\n"
    run, _ = small_run(tmp_path, recipe=small_recipe(going_on(base, stage)))
    assert run.run()
    before, after = weights(base), weights(tmp_path / "model")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (tmp_path / "model" / "tekken.json").read_bytes() == (base / "tekken.json").read_bytes()


def test_stopped_and_resumed_it_is_the_same(base: Path, tmp_path: Path) -> None:
    recipe = small_recipe(going_on(base))
    whole, _ = small_run(tmp_path / "whole", recipe=recipe)
    assert whole.run()
    assert any(not torch.equal(one, weights(base)[name]) for name, one in weights(tmp_path / "whole/model").items())
    for steps in (1, None):
        run, _ = small_run(tmp_path / "stopped", steps=steps, recipe=recipe)
        assert run.run() is (steps is None)
    one, other = weights(tmp_path / "whole/model"), weights(tmp_path / "stopped/model")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_record_and_the_card_name_the_base(base: Path, tmp_path: Path) -> None:
    run, _ = small_run(tmp_path, recipe=small_recipe(going_on(base)))
    assert run.run()
    record, before = read_record(tmp_path / "model/training_record.json"), read_record(base / "training_record.json")
    assert record.model.base_model == f"small {before.model.version}"
    assert record.model.base_model_digest == before.model.digests["model.safetensors"]
    assert record.base == json.loads((base / "training_record.json").read_text())
    assert f"It goes on from small {before.model.version} (sha256:" in (tmp_path / "model/README.md").read_text()


def test_a_base_without_a_record_goes_by_the_name_of_its_folder(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "bare")
    (tmp_path / "bare/training_record.json").unlink()
    run, _ = small_run(tmp_path / "run", recipe=small_recipe(going_on(tmp_path / "bare")))
    assert run.run()
    record = read_record(tmp_path / "run/model/training_record.json")
    assert (record.model.base_model, record.base) == ("bare", {})
    assert "it came without a record" in (tmp_path / "run/model/README.md").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STAGE, "model is missing; without it a recipe needs a base"),
        ("base = 'there'\n[tokenizer]\nentries = 300\n" + STAGE, "tokenizer is that of the base; leave it out"),
    ],
)
def test_a_recipe_has_a_base_or_a_shape(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        small_recipe(f'name = "more"\n{text}')


@pytest.mark.parametrize(
    ("change", "stage", "said"),
    [
        ({}, STAGE.replace("256", "300"), "sequence_length 300 exceeds the context of .*, 256 tokens"),
        ({"sliding_window": 64}, STAGE, "attends through windows.* within 64 tokens"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    base: Path, tmp_path: Path, change: dict[str, int], stage: str, said: str
) -> None:
    shutil.copytree(base, tmp_path / "base")
    config = json.loads((tmp_path / "base/config.json").read_text()) | change
    (tmp_path / "base/config.json").write_text(json.dumps(config))
    with pytest.raises(TramontaneError, match=said):
        small_run(tmp_path / "run", recipe=small_recipe(going_on(tmp_path / "base", stage)))
    assert not (tmp_path / "run").exists()


def test_a_base_needs_its_tokenizer(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base/tekken.json").unlink()
    with pytest.raises(TramontaneError, match=r"has no tekken\.json"):
        small_run(tmp_path / "run", recipe=small_recipe(going_on(tmp_path / "base")))
    with pytest.raises(TramontaneError, match="nowhere"):
        small_run(tmp_path / "run", recipe=small_recipe(going_on(tmp_path / "nowhere")))


def test_a_run_notices_that_its_base_is_another(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    recipe = small_recipe(going_on(tmp_path / "base"))
    run, _ = small_run(tmp_path / "run", steps=1, recipe=recipe)
    assert not run.run()
    other = bytearray((tmp_path / "base/model.safetensors").read_bytes())
    other[-1] ^= 1
    (tmp_path / "base/model.safetensors").write_bytes(other)
    with pytest.raises(TramontaneError, match=r"are not those that the run in .* began with"):
        small_run(tmp_path / "run", recipe=recipe)
