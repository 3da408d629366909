"""A corpus keeps every document's tokens and where they come from."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.tokenizers import write_tekken
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.corpus import Corpus, build_corpus
from tramontane.training.errors import SourceError, TrainingError
from tramontane.training.recipe import SourceRecipe


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_file(write_tekken(tmp_path_factory.mktemp("tokenizer"), 13))


def _recipe(folder: Path, language: str, texts: list[str], **others: float) -> SourceRecipe:
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)
    known = {"licence": "CC0-1.0", "origin": "here", "obtained": "2026-11-24"}
    return SourceRecipe(language, folder=str(folder), **known, **others)  # type: ignore[arg-type]


@pytest.fixture
def recipes(tmp_path: Path) -> list[SourceRecipe]:
    texts = [" ".join(f"mot{number}{place}" for place in range(80)) for number in range(5)]
    return [
        _recipe(tmp_path / "fr", "fr", texts),
        _recipe(tmp_path / "de", "de", [f"Wort {' '.join(map(str, range(200)))} a@b.de", texts[0]]),
    ]


def _build(recipes: list[SourceRecipe], tokenizer: Tokenizer, folder: Path) -> Corpus:
    build_corpus(recipes, tokenizer, folder, lambda sentence: None)
    return Corpus(folder, recipes)


def test_provenance_is_written_by_the_pipeline(
    recipes: list[SourceRecipe], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    french, german = _build(recipes, tokenizer, tmp_path / "corpus").records
    assert (french.name, french.language, french.documents, french.licence) == ("fr", "fr", 5, "CC0-1.0")
    assert (german.documents, german.duplicates_removed, german.personal_data_hits) == (1, 1, 1)
    assert french.share + german.share == pytest.approx(1)
    assert french.digest.startswith("sha256:")
    again = _build(recipes, tokenizer, tmp_path / "again")
    assert [record.digest for record in again.records] == [french.digest, german.digest]


def test_pieces_begin_and_end_as_sequences_do(
    recipes: list[SourceRecipe], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    corpus = _build(recipes, tokenizer, tmp_path / "corpus")
    whole = {path.read_text() for path in (tmp_path / "fr").iterdir()}
    for seed in range(40):
        document = corpus.draw(random.Random(seed), 4000, {"fr": 1.0}, tokenizer)
        assert document.language == "fr"
        assert (document.tokens[0], document.tokens[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
        assert tokenizer.decode(document.tokens.tolist()) in whole
        piece = corpus.draw(random.Random(seed), 50, {"fr": 1.0}, tokenizer)
        assert len(piece) <= 50
        assert any(tokenizer.decode(piece.tokens.tolist()).strip("\ufffd") in text for text in whole)


def test_the_share_of_a_source_is_its_size_times_its_weight(
    recipes: list[SourceRecipe], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    corpus = _build(recipes, tokenizer, tmp_path / "corpus")
    rng = random.Random(0)
    german = sum(corpus.draw(rng, 100, {}, tokenizer).language == "de" for _ in range(400)) / 400
    assert german == pytest.approx(corpus.records[1].share, abs=0.08)
    with pytest.raises(TrainingError, match="No source has text in the stage's languages, it"):
        corpus.draw(rng, 100, {"it": 1.0}, tokenizer)


def test_a_bound_in_megabytes_is_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    texts = [f"{number} {random.Random(number).random()} " * 60 for number in range(30)]
    recipe = _recipe(tmp_path / "fr", "fr", texts, megabytes=0.01)
    (record,) = _build([recipe], tokenizer, tmp_path / "corpus").records
    assert 0 < record.documents < 20


def test_damaged_text_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path / "fr", "fr", ["un mot \ufffd " * 60])
    with pytest.raises(SourceError, match=r"0\.txt is damaged"):
        _build([recipe], tokenizer, tmp_path / "corpus")


def test_all_licences_are_judged_before_anything_is_written(
    recipes: list[SourceRecipe], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    from dataclasses import replace

    with pytest.raises(SourceError, match="which is not on the list"):
        build_corpus([recipes[0], replace(recipes[1], licence="NC")], tokenizer, tmp_path / "c", lambda sentence: None)
    assert not list((tmp_path / "c").glob("*.npy"))


@pytest.mark.parametrize("file", ["corpus.json", "0.tokens.npy", "1.starts.npy"])
def test_a_damaged_corpus_is_refused(
    recipes: list[SourceRecipe], tokenizer: Tokenizer, tmp_path: Path, file: str
) -> None:
    _build(recipes, tokenizer, tmp_path / "corpus")
    (tmp_path / "corpus" / file).write_bytes(b"{}")
    with pytest.raises(TrainingError, match="is no whole corpus"):
        Corpus(tmp_path / "corpus", recipes)


def test_a_corpus_of_other_sources_is_refused(
    recipes: list[SourceRecipe], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    _build(recipes, tokenizer, tmp_path / "corpus")
    with pytest.raises(TrainingError, match="other sources"):
        Corpus(tmp_path / "corpus", recipes[:1])
    assert json.loads((tmp_path / "corpus" / "corpus.json").read_text())["tokenizer"] == tokenizer.fingerprint
