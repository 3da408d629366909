"""Customers' lines are checked before they are learnt, drawn as generated samples are, and put on the record."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tokenizers import write_tekken
from tests.training.data import data_recipe, turn, write_lines
from tests.training.runs import small_recipe
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.data_files import DataFile, check_file, check_lengths, open_files, spread_texts
from tramontane.training.drawing import Drawer
from tramontane.training.errors import RecipeError, SampleError, SourceError, TrainingError
from tramontane.training.feed import Feed, Workers
from tramontane.training.recipe import DataRecipe, StageRecipe
from tramontane.training.rendering import Document

STAGE = replace(small_recipe().stage[0], mix={"support": 1.0, "repeat": 1.0}, sequence_length=60)
LINES = [
    turn("Où est le train ?", "Il est à Nîmes."),
    {"text": "Un texte tout entier."},
    "",
    turn("Allô ?", "Oui.", weight=2) | {"tools": None},
    turn("Combien ?", "Appelez le +33 1 23 45 67 89 ou a.b@example.org. " * 12),
]


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tekken(tmp_path_factory.mktemp("tokenizer"), 13)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_file: Path) -> Tokenizer:
    return Tokenizer.from_file(tokenizer_file)


@pytest.fixture
def recipe(tmp_path: Path) -> DataRecipe:
    return data_recipe(write_lines(tmp_path / "support.jsonl", *LINES))


@pytest.fixture
def file(recipe: DataRecipe, tokenizer: Tokenizer, tmp_path: Path) -> DataFile:
    check_file(recipe, tokenizer, tmp_path / "data")
    return DataFile(tmp_path / "data", recipe)


def test_the_record_is_of_the_file(recipe: DataRecipe, file: DataFile, tokenizer: Tokenizer, tmp_path: Path) -> None:
    record = file.record
    assert (record.name, record.licence, record.origin, record.obtained, record.language) == (
        "support", "ours", "our help desk", "2026-11-24", "fr",
    )  # fmt: skip
    assert (record.documents, record.personal_data_hits, record.personal_data_masked) == (4, 24, False)
    check_file(replace(recipe, name="again"), tokenizer, tmp_path / "data")
    again = DataFile(tmp_path / "data", replace(recipe, name="again")).record
    assert (again.digest, again.tokens) == (record.digest, record.tokens)


def test_lines_are_drawn_as_they_stand(file: DataFile, tokenizer: Tokenizer) -> None:
    drawn: dict[str, Document] = {}
    for seed in range(60):
        document = file.draw(random.Random(seed), 2000, tokenizer)
        drawn[document.origin.rpartition(", ")[2]] = document
    assert drawn.keys() == {"line 1", "line 2", "line 4", "line 5"}
    assert {(document.kind, document.language) for document in drawn.values()} == {("support", "fr")}
    text = drawn["line 2"]
    assert (text.tokens[0], text.tokens[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
    assert tokenizer.decode(text.tokens.tolist()) == "Un texte tout entier."
    assert text.weights.all()
    assert tokenizer.decode(drawn["line 1"].tokens[drawn["line 1"].weights == 1].tolist()) == "Il est à Nîmes."
    assert set(drawn["line 4"].weights.tolist()) == {0.0, 2.0}
    assert "+33 1 23 45 67 89" in tokenizer.decode(drawn["line 5"].tokens.tolist())  # counted, not changed


def test_lines_too_long_are_left_out_and_counted(file: DataFile, tokenizer: Tokenizer) -> None:
    said: list[str] = []
    check_lengths([file], [STAGE, replace(STAGE, mix={"repeat": 1.0}, sequence_length=4)], said.append)
    (sentence,) = said
    assert "stage first: 1 of the 4 lines of" in sentence
    assert "have more than 60 tokens and are left out" in sentence
    origins = {file.draw(random.Random(seed), 60, tokenizer).origin for seed in range(40)}
    assert len(origins) == 3
    with pytest.raises(TrainingError, match=r"None of the 4 lines of .*support\.jsonl has at most 4 tokens"):
        check_lengths([file], [replace(STAGE, sequence_length=4)], said.append)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "it is not JSON"),
        ({"texts": "a"}, "'texts' is not a key"),
        (turn("a", "b", weight=0), "no token of it is learnt, all weights are 0"),
        ({"messages": [{"role": "user", "content": "a"}]}, "its last message is not the assistant's"),
        ({"messages": [{"role": "robot", "content": "a"}, *turn("a", "b")["messages"]]}, r"messages\.0\.role"),
        ({"messages": [{"content": "a"}, *turn("a", "b")["messages"]]}, r"messages\.0\.role"),
        (turn("a", ""), "The last message is empty"),
        (turn(3, "b"), r"messages\.0\.content"),  # type: ignore[arg-type]
        (turn("a", "b", tool_calls=[{"function": {"name": 3}}]), r"messages\.1\.tool_calls\.0\.function\.name"),
        (turn("a", "b") | {"tools": [{"type": "function"}]}, r"tools\.0"),
    ],
)
def test_every_line_is_checked(tokenizer: Tokenizer, tmp_path: Path, line: Any, said: str) -> None:
    recipe = data_recipe(write_lines(tmp_path / "support.jsonl", turn("a", "b"), "", line))
    with pytest.raises(SampleError, match=rf"support\.jsonl, line 3: .*{said}") as refused:
        check_file(recipe, tokenizer, tmp_path / "data")
    assert len(str(refused.value).splitlines()) == 1
    assert not list((tmp_path / "data").glob("*.json"))


def test_an_empty_file_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no line; leave it out"):
        check_file(data_recipe(write_lines(tmp_path / "a.jsonl", "", " ")), tokenizer, tmp_path / "data")


def test_a_file_that_changes_is_refused(recipe: DataRecipe, file: DataFile, tokenizer: Tokenizer) -> None:
    file.check_unchanged()
    path = Path(recipe.file)
    path.write_text(path.read_text().replace("tout entier", "tout autre et plus long"))
    with pytest.raises(TrainingError, match=r"support\.jsonl is not what it was when this run began: put it back"):
        file.check_unchanged()
    with pytest.raises(SampleError, match=r"line \d: it is not "):
        _ = [file.draw(random.Random(seed), 60, tokenizer) for seed in range(20)]


@pytest.mark.parametrize("name", ["support.json", "support.lines.npy"])
def test_what_was_written_may_be_damaged(recipe: DataRecipe, file: DataFile, tmp_path: Path, name: str) -> None:
    (tmp_path / "data" / name).write_bytes(b"{}")
    with pytest.raises(TrainingError, match=r"support\.json is damaged .* remove it, and the data file"):
        DataFile(tmp_path / "data", recipe)


def test_a_file_is_checked_once_and_its_first_line_is_shown(
    recipe: DataRecipe, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    said: list[str] = []
    shown: list[Document] = []
    for _ in range(2):
        open_files([recipe], tokenizer, tmp_path / "data", said.append, shown.append)
    assert [document.origin.rpartition(", ")[2] for document in shown] == ["line 1"]
    assert said[0].startswith("checking ")
    assert "4 lines, " in said[1]
    assert "24 e-mail addresses, telephone numbers and IBANs in them stay as they are" in said[1]
    assert len(said) == 2
    other = Tokenizer.from_file(write_tekken(tmp_path / "other", 13, num_vocab_tokens=300))
    with pytest.raises(TrainingError, match="was written with another tokenizer"):
        open_files([recipe], other, tmp_path / "data", said.append, shown.append)


def test_the_tokenizer_reads_the_whole_file_spread(tmp_path: Path) -> None:
    lines = [{"text": f"{number:04d} {'x' * 90}"} for number in range(100)]
    recipe = data_recipe(write_lines(tmp_path / "a.jsonl", *lines))
    assert len(list(spread_texts(recipe, 1.0))) == 100
    some = [int(text[:4]) for text in spread_texts(recipe, 0.002)]
    assert len(some) < 25
    assert (some[0], some[-1] > 90) == (0, True)
    write_lines(tmp_path / "a.jsonl", *lines, "{")
    with pytest.raises(SampleError, match="line 101: it is not JSON"):
        list(spread_texts(recipe, 0.002))


def _drawer(recipe: DataRecipe, tokenizer_file: Path, stage: StageRecipe = STAGE) -> Drawer:
    return Drawer(stage, tokenizer_file, data_folder=Path(recipe.file).parent / "data", data=(recipe,))


def test_places_hold_the_same_lines_whoever_draws(recipe: DataRecipe, file: DataFile, tokenizer_file: Path) -> None:
    drawer = _drawer(recipe, tokenizer_file)
    alone = [drawer.draw(place) for place in range(60)]
    again = [pickle.loads(pickle.dumps(drawer)).draw(place) for place in range(60)]
    for one, other in zip(alone, again, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or np.array_equal(one.tokens, other.tokens)
    kinds = [document.kind for document in alone if document is not None]
    assert 15 < kinds.count("support") < 45
    other_seed = _drawer(recipe, tokenizer_file, replace(STAGE, seed=1))
    assert [d.origin for d in alone if d] != [d.origin for place in range(60) if (d := other_seed.draw(place))]


def test_workers_draw_from_the_file(recipe: DataRecipe, file: DataFile, tokenizer_file: Path) -> None:
    taken = []
    drawer = _drawer(recipe, tokenizer_file)
    for count in (0, 1):
        with Workers([drawer], count) as workers, Feed(drawer, 0, workers=workers) as feed:
            taken.append([document.origin for _ in range(4) for document in feed.step(300)])
    assert taken[0] == taken[1]
    assert any("support.jsonl, line" in origin for origin in taken[0])


def test_a_generators_name_is_refused(recipe: DataRecipe, tokenizer_file: Path) -> None:
    for name in ("repeat", "quote-fr", "quote"):
        with pytest.raises(RecipeError, match=f"The data file {name} has the name of a generator"):
            _drawer(replace(recipe, name=name), tokenizer_file).check()
    with pytest.raises(RecipeError, match=r"mixes 'suport', which no generator makes; known are text, .*, support, "):
        _drawer(recipe, tokenizer_file, replace(STAGE, mix={"suport": 1.0})).check()
