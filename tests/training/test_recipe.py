"""A recipe is read as it stands, and what it cannot mean is refused by its full name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.training.data import ENTRY, WITH_DATA
from tests.training.runs import RECIPE, small_recipe
from tramontane.training.errors import RecipeError
from tramontane.training.recipe import bundled_recipes, parse_recipe, read_recipe


def test_the_bundled_recipes_are_whole() -> None:
    assert {"tiny", "brise-cpu", "brise"} <= set(bundled_recipes())
    for name in bundled_recipes():
        assert read_recipe(name).name == name


def test_sizes_of_the_bundled_models() -> None:
    from tramontane.model.layouts import canonical_shapes

    def millions(name: str) -> float:
        recipe = read_recipe(name)
        shapes = canonical_shapes(recipe.model.config(recipe.tokenizer.entries + 32)).values()
        return sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes) / 1e6

    assert 4 <= millions("brise-cpu") <= 6
    assert 12 <= millions("brise") <= 20


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dim = 32", "dim = 32\ncolour = 1", "model.colour is not a key"),
        ("entries = 300", "entries = 300\nspeed = 1", "tokenizer.speed is not a key"),
        ("tokens = 2500", "tokens = 2500\nlr = 1", "stage[1].lr is not a key"),
        ('name = "small"', 'name = "small"\ntypo = 1', "typo is not a key"),
        ("dim = 32\n", "", "model.dim is missing"),
        ("dim = 32", "dim = true", "model.dim must be a whole number"),
        ("dim = 32", "dim = 32.0", "model.dim must be a whole number"),
        ("mix = { repeat = 1.0 }", "mix = 3", "stage[0].mix must be a table"),
        ("mix = { repeat = 1.0 }", "mix = { repeat = 'a' }", "stage[0].mix.repeat must be a number"),
        ("mix = { repeat = 1.0 }", "mix = { repeat = -1 }", "stage[0].mix needs weights"),
        ("mix = { repeat = 1.0 }", "mix = { text = 1 }", "stage[0].mix.text asks for text"),
        ("mix = { repeat = 1.0 }", "mix = {}", "stage[0].mix is empty"),
        ("tokens = 2500", "tokens = 0", "stage[1].tokens must be above 0"),
        ("sequence_length = 256", "sequence_length = 512", "stage[0].sequence_length exceeds model.max_context"),
        ('name = "second"', 'name = "first"', "stage has two entries of one name"),
        ("num_kv_heads = 1", "num_kv_heads = 3", "num_heads 2 is not a multiple"),
        ("entries = 300", "entries = 255", "tokenizer.entries must be at least 256"),
        ("[model]", "[model", "is not TOML"),
        ("[[stage]]", "[[source]]\nlanguage='en'\n[[stage]]", "source[0] needs either a package or a folder"),
    ],
)
def test_what_a_recipe_cannot_mean_is_refused(old: str, new: str, said: str) -> None:
    assert old in RECIPE
    with pytest.raises(RecipeError, match=re.escape(said)):
        parse_recipe(RECIPE.replace(old, new, 1), "small.toml")


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="tiny"):
        read_recipe("bise")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe("nowhere.toml")


def test_the_digest_is_of_the_content() -> None:
    assert small_recipe().digest == small_recipe(RECIPE + "\n# a remark\n").digest
    assert small_recipe().digest != small_recipe(RECIPE.replace("2500", "2501")).digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "support"', 'name = "a/b"', "data[0].name may have letters, digits, - and _ alone"),
        ('name = "support"', 'name = "text"', "data[0].name is 'text', which is a kind of sample already"),
        ('file = "support.jsonl"', 'file = ""', "data[0].file is empty; where data comes from must be known"),
        ('licence = "ours"', 'licence = ""', "data[0].licence is empty"),
        ('licence = "ours"\n', "", "data[0].licence is missing"),
        ('licence = "ours"', "licence = 3", "data[0].licence must be a text"),
        ('obtained = "2026-11-24"', 'obtained = "yesterday"', "data[0].obtained is 'yesterday', which is no date"),
        ('origin = "our help desk"', 'origin = "a"\nweight = 2', "data[0].weight is not a key"),
        (", support = 1.0", "", "data[0] is in no stage's mix; add support = 1.0 to one"),
        ("support = 1.0 }", "support = 1.0 }\nlanguages = { de = 1.0 }", "support is in 'fr', which stage[0]"),
        ("[[data]]", f"{ENTRY}[[data]]", "data has two entries of one name"),
    ],
)
def test_a_data_file_that_a_recipe_cannot_mean_is_refused(old: str, new: str, said: str) -> None:
    assert old in WITH_DATA
    with pytest.raises(RecipeError, match=re.escape(said)):
        parse_recipe(WITH_DATA.replace(old, new, 1), "small.toml")


def test_a_data_file_is_beside_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(WITH_DATA)
    assert read_recipe(tmp_path / "small.toml").data[0].file == str(tmp_path / "support.jsonl")
    absolute = parse_recipe(WITH_DATA.replace("support.jsonl", "/data/support.jsonl"), "small.toml")
    assert absolute.data[0].file == "/data/support.jsonl"


def test_the_digest_is_also_of_what_is_said_of_data_files(tmp_path: Path) -> None:
    with_data = small_recipe(WITH_DATA)
    assert with_data.digest != small_recipe().digest
    assert with_data.digest != small_recipe(WITH_DATA.replace("our help desk", "elsewhere")).digest
    assert with_data.digest == parse_recipe(WITH_DATA, str(tmp_path / "small.toml")).digest  # wherever it lies
