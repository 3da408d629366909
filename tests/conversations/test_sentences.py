"""The sentence that fits a question is found by its words, in five languages; and where none fits, none is given."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conversations.test_prompting import material
from tramontane.conversations.choosing import NOTHING, choose_sentence
from tramontane.conversations.passages import Span
from tramontane.conversations.sentences import best_sentence, sentences

SAMPLES = json.loads(
    (Path(__file__).parents[2] / "web" / "src" / "samples" / "samples.json").read_text(encoding="utf-8")
)
ASKED = {
    "en": {"How much is the deposit?": "1,440", "When is the library closed?": "Mondays", "Who repairs it?": "heating"},
    "fr": {"Quel est le préavis du contrat ?": "trois mois", "Quand est-elle fermée ?": "lundi"},
    "de": {"Wie hoch ist die Kaution?": "1.440", "Wann beginnt der Vertrag?": "1. März 2025"},
    "es": {"¿Cuál es el plazo de preaviso?": "tres meses", "¿Quién repara la calefacción?": "propietario"},
    "it": {"Qual è il termine di preavviso?": "tre mesi", "Quando comincia il contratto?": "1° marzo 2025"},
}


@pytest.mark.parametrize("language", ASKED)
def test_the_sentence_with_the_words_of_the_question_is_found(language: str) -> None:
    texts = [document["text"] for document in SAMPLES[language]["documents"]]
    for question, words in ASKED[language].items():
        found = best_sentence(texts, question)
        assert found is not None
        index, span = found
        assert words in texts[index][slice(*span)], question


def test_what_a_text_is_about_stands_at_its_beginning() -> None:
    texts = [
        "Coffee machine Aroma. It holds 6 cups. It weighs 3 kg.",
        "Kettle Vento. It holds 2 litres. It weighs 1 kg.",
    ]
    for question, words in (
        ("How much does the kettle weigh?", "1 kg"),
        ("What does the coffee machine hold?", "6 cups"),
    ):
        found = best_sentence(texts, question)
        assert found is not None
        assert words in texts[found[0]][slice(*found[1])]


def test_dates_abbreviations_and_lines_are_cut_where_a_reader_would() -> None:
    text = "Contract\nIt begins on 1. März 2025. Dr. roux signs it. It ends at 18. Is it long? Yes… No"
    assert [text[slice(*span)] for span in sentences(text)] == [
        "Contract", "It begins on 1. März 2025.", "Dr. roux signs it.", "It ends at 18.", "Is it long?", "Yes…", "No",
    ]  # fmt: skip


@given(st.text(st.sampled_from("ab.?! \n1Aé"), max_size=400))
def test_sentences_hold_all_but_blanks_once_and_in_order(text: str) -> None:
    spans = sentences(text)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    assert "".join("".join(text[slice(*span)].split()) for span in spans) == "".join(text.split())


def test_a_question_that_shares_no_word_is_given_nothing_to_quote() -> None:
    texts = ("The shop opens at nine. It is blue.", "Nothing of the kind.")
    chosen = choose_sentence(material([], "When does the shop open?", texts))
    assert [(one["number"], one["passages"]) for one in chosen.described] == [(1, [{"start": 0, "end": 23}])]
    assert [document.text for document in chosen.given] == [texts[0][:23]]
    assert chosen.pieces[0][0].span == Span(0, 23)
    lost = choose_sentence(material([], "Who invented zeppelins?", texts))
    assert [document.text for document in lost.given] == [NOTHING]
    assert lost.described == lost.pieces == []
