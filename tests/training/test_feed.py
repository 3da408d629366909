"""Which documents come is a function of seed, stage and place: not of who draws them, nor of where one began."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tokenizers import write_tekken
from tests.training.runs import small_recipe
from tramontane.training.drawing import Drawer
from tramontane.training.errors import RecipeError, SampleError, TrainingError
from tramontane.training.feed import Feed, Shard, Workers
from tramontane.training.recipe import StageRecipe
from tramontane.training.rendering import Document

STAGE = replace(small_recipe().stage[1], sequence_length=120)  # some samples are too long for it


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tekken(tmp_path_factory.mktemp("tokenizer"), 13)


def _take(drawer: Drawer, position: int, steps: int, count: int = 0) -> tuple[list[list[bytes]], int]:
    with Workers([drawer], count) as workers, Feed(drawer, position, workers=workers) as feed:
        taken = [feed.step(500) for _ in range(steps)]
        return [[document.tokens.tobytes() for document in documents] for documents in taken], feed.position


def test_workers_change_nothing(file: Path) -> None:
    drawer = Drawer(STAGE, file)
    assert _take(drawer, 0, 12, count=2) == _take(drawer, 0, 12)


def test_a_feed_goes_on_where_another_ended(file: Path) -> None:
    drawer = Drawer(STAGE, file)
    whole, end = _take(drawer, 0, 9)
    first, middle = _take(drawer, 0, 4)
    second, again = _take(drawer, middle, 5)
    assert first + second == whole
    assert again == end


def test_a_step_is_full_but_not_over(file: Path) -> None:
    with Feed(Drawer(STAGE, file), 0) as feed:
        sizes = [sum(map(len, feed.step(500))) for _ in range(20)]
    assert max(sizes) <= 500
    assert min(sizes) > 500 - STAGE.sequence_length


def test_shards_part_the_places_between_them(file: Path) -> None:
    drawer = Drawer(replace(STAGE, sequence_length=256), file)
    halves = [drawer_places(drawer, Shard(index, 2)) for index in (0, 1)]
    whole = drawer_places(drawer, Shard())
    assert set(halves[0]) | set(halves[1]) >= set(whole)
    assert not set(halves[0]) & set(halves[1])


def drawer_places(drawer: Drawer, shard: Shard) -> list[str]:
    with Feed(drawer, 0, shard=shard) as feed:
        return [document.origin for _ in range(3) for document in feed.step(500)]


def _stage(**changes: object) -> StageRecipe:
    return replace(STAGE, **changes)  # type: ignore[arg-type]


def test_nothing_short_enough_is_said(file: Path) -> None:
    with (
        Feed(Drawer(_stage(sequence_length=4), file), 0) as feed,
        pytest.raises(TrainingError, match="none has at most 4"),
    ):
        feed.step(500)


def test_a_kind_that_nothing_makes_is_refused(file: Path) -> None:
    with pytest.raises(RecipeError, match=r"mixes 'sing', which no generator makes; known are text, .*repeat"):
        Drawer(_stage(mix={"sing": 1.0}), file).check()


def test_languages_have_their_shares(file: Path) -> None:
    drawer = Drawer(_stage(languages={"none": 1.0, "fr": 2.0}), file)
    found = [document for place in range(50) if (document := drawer.draw(place))]
    assert {document.language for document in found} == {"none"}
    with pytest.raises(SampleError, match="none is in the stage's languages, xx"):
        Drawer(_stage(languages={"xx": 1.0}), file).draw(0)


def test_documents_tell_where_they_come_from(file: Path) -> None:
    document = Drawer(STAGE, file).draw(7)
    assert isinstance(document, Document)
    assert document.origin.endswith("7 of stage second")
