"""What is held out is of the same sources as the corpus, and nowhere in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tokenizers import write_tekken
from tramontane.evaluation.texts import texts_in
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.corpus import Corpus, build_corpus, clean_texts, read_texts, shuffled_documents
from tramontane.training.errors import SourceError
from tramontane.training.held_out import held_out_texts, write_held_out
from tramontane.training.recipe import SourceRecipe
from tramontane.training.sources.cleaning import Cleaner
from tramontane.training.sources.source import find_source

COMMON = "Ein Absatz, der in jedem Dokument steht und lang genug ist, um als Wiederholung erkannt zu werden."


def paragraph(name: str, place: int) -> str:
    return " ".join(f"{name}{place}w{word}" for word in range(25))


def source(tmp_path: Path, name: str, language: str, documents: int, megabytes: float) -> SourceRecipe:
    folder = tmp_path / name
    folder.mkdir()
    for number in range(documents):
        body = "\n\n".join(paragraph(f"{name}{number}p", place) for place in range(4))
        (folder / f"{number}.txt").write_text(f"{COMMON}\n\n{body}")
    return SourceRecipe(
        language, folder=str(folder), licence="CC0-1.0", origin="here", obtained="2026-11-24", megabytes=megabytes
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_file(write_tekken(tmp_path_factory.mktemp("tokenizer"), 13))


@pytest.fixture
def recipes(tmp_path: Path) -> list[SourceRecipe]:
    return [
        source(tmp_path, "de", "de", 40, 0.01),
        source(tmp_path, "fr", "fr", 5, 1.0),
        source(tmp_path, "deux", "de", 40, 0.02),
    ]


@pytest.fixture
def corpus(recipes: list[SourceRecipe], tokenizer: Tokenizer, tmp_path: Path) -> Corpus:
    build_corpus(recipes, tokenizer, tmp_path / "corpus", lambda sentence: None)
    return Corpus(tmp_path / "corpus", recipes)


def learnt(recipes: list[SourceRecipe]) -> str:
    cleaner = Cleaner()
    return "\n\n".join(text for one in recipes for text in read_texts(one, find_source(one), cleaner, 100.0))


def test_no_paragraph_of_it_is_in_the_corpus(recipes: list[SourceRecipe], corpus: Corpus) -> None:
    found = held_out_texts(recipes, corpus.records, kilobytes=20)
    assert found.keys() == {"de", "fr"}
    assert found["fr"] == []  # it is used whole
    text = learnt(recipes)
    assert COMMON in text
    paragraphs = [part for one in found["de"] for part in one.text.split("\n\n")]
    assert len(paragraphs) > 20
    assert not [part for part in paragraphs if part in text]
    assert {one.source for one in found["de"]} == {"de", "deux"}
    assert [one.source for one in found["de"][:4]] == ["de", "deux"] * 2
    assert 15_000 < sum(len(one.text) for one in found["de"]) <= 20_000
    assert held_out_texts(recipes, corpus.records, kilobytes=20) == found


def test_a_source_that_has_changed_gives_nothing(recipes: list[SourceRecipe], corpus: Corpus, tmp_path: Path) -> None:
    for file in (tmp_path / "de").iterdir():
        file.write_text(file.read_text() + "\n\nneu")
    assert {one.source for one in held_out_texts(recipes, corpus.records)["de"]} == {"deux"}


def test_long_documents_are_cut_and_ruins_left_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = source(tmp_path, "de", "de", 6, 0.002)
    order = [Path(path).stem for path, _ in shuffled_documents(find_source(recipe))]
    paragraphs = [paragraph("long", place) for place in range(40)]
    (tmp_path / "de" / f"{order[3]}.txt").write_text("\n\n".join(paragraphs))
    ruin = "\n\n".join(paragraph(f"de{order[0]}p", place) for place in range(4))
    (tmp_path / "de" / f"{order[4]}.txt").write_text(f"{ruin}\n\n{paragraph('own', 0)}\n\n{paragraph('own', 1)}")
    build_corpus([recipe], tokenizer, tmp_path / "corpus", lambda sentence: None)
    records = Corpus(tmp_path / "corpus", [recipe]).records
    assert records[0].documents == 3
    found = held_out_texts([recipe], records, kilobytes=30)["de"]
    assert len(found) == 2
    assert found[0].text == "\n\n".join(paragraphs[: found[0].text.count("\n\n") + 1])
    assert 2500 < len(found[0].text) <= 3000


def test_what_is_written_is_what_evaluation_reads(recipes: list[SourceRecipe], corpus: Corpus, tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "held_out"
    write_held_out(recipes, corpus.records, folder, said.append)
    assert len(said) == 2
    assert said[0].startswith("held out in de: ")
    assert said[1] == "no text is held out in fr: no source of it has more than is used"
    described = json.loads((folder / "held_out.json").read_text())
    assert described.keys() == {"de", "fr"}
    assert described["de"].keys() == {"de", "deux"}
    assert not (folder / "fr.txt").exists()
    assert (folder / "de.txt").stat().st_size <= 100_000
    texts = texts_in(folder)
    taken = held_out_texts(recipes, corpus.records)["de"]
    assert texts == {"de": [one.text for one in taken]}


def test_a_source_that_is_gone_is_said(recipes: list[SourceRecipe], corpus: Corpus) -> None:
    gone = [replace(recipes[0], folder="/nowhere/at/all"), *recipes[1:]]
    with pytest.raises(SourceError, match="does not exist"):
        held_out_texts(gone, corpus.records)


def test_reading_takes_no_more_documents_than_it_gives(recipes: list[SourceRecipe]) -> None:
    documents = shuffled_documents(find_source(recipes[0]))
    given = list(clean_texts(documents, Cleaner(), 5000))
    assert len(given) + len(list(documents)) == 40
    assert list(clean_texts(documents, Cleaner(), 5000)) == []
