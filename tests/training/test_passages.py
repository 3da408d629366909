"""Questions on real prose: the answer is what the quote grammar writes, and stands in the cited passage alone."""

from __future__ import annotations

import random
import re

import pytest

from tramontane.engine.quotes import Quotes, parse_quotes
from tramontane.tokenizer.documents import Document, parse_documents
from tramontane.training.generators.material import LANGUAGES
from tramontane.training.passages import continue_sample
from tramontane.training.samples import Sample

_VERBS, _MARKS = ["reads", "writes", "opens", "closes", "waits", "finds"], [".", "!", "?", ":"]
_WRAPS = ["({})", "«{}»", "“{}”", '"{}"', "--{}", "{},", "{};", "*{}*", "{} –", "e\u0301{}", "a\u00a0{}"]
_VAGUE = ["", "w1 w2", "Heading\n\nAnother\n\nAnd one", "- - - . " * 40, "so so so so so so so. " * 20]


def _sentence(rng: random.Random) -> str:
    """Prose as it comes: marks, brackets, options, quotations, no-break blanks, accents of two characters."""
    words = [rng.choice(_VERBS) if rng.random() < 0.3 else f"w{rng.randrange(400)}" for _ in range(rng.randint(2, 24))]
    for _ in range(rng.randint(0, 4)):
        place = rng.randrange(len(words))
        words[place] = rng.choice(_WRAPS).format(words[place])
    return " ".join(words) + rng.choice(_MARKS)


def passage(rng: random.Random, language: str, length: int) -> str:
    """About as many tokens, from the middle of a sentence to the middle of another."""
    text = rng.choice([" ", "\n"]).join(_sentence(rng) for _ in range(2 + length // 12))
    return text[rng.randrange(12) : -rng.randint(1, 12)]


def _samples(count: int) -> list[Sample]:
    drawn = (continue_sample(random.Random(seed), "continue", passage) for seed in range(count))
    return [sample for sample in drawn if sample is not None]


def _asked(sample: Sample) -> tuple[list[Document], list[tuple[str, str]]]:
    """The documents, and each question with its answer."""
    said = [message["content"] for message in sample.messages]
    documents, first = parse_documents(said[0])
    return documents, list(zip([first, *said[2::2]], said[1::2], strict=True))


def test_every_answer_stands_in_the_cited_passage_and_in_no_other() -> None:
    samples = _samples(500)
    assert len(samples) > 450
    for sample in samples:
        documents, asked = _asked(sample)
        quotes = Quotes(tuple(document.text for document in documents))
        opening, closing = quotes.delimiters
        for _, answer in asked:
            (span,) = parse_quotes(answer, quotes)
            quoted = answer[span.text_start : span.text_end]
            assert answer == f"{opening}{quoted}{closing} [{span.document}]"
            telling = [n for n, document in enumerate(documents, start=1) if quoted in document.text]
            assert telling == [span.document]
            assert len(span.occurrences) == 1


def test_what_is_asked_for_stands_before_the_answer() -> None:
    for sample in _samples(200):
        documents, asked = _asked(sample)
        quotes = Quotes(tuple(document.text for document in documents))
        for question, answer in asked:
            (span,) = parse_quotes(answer, quotes)
            before = re.findall(r"\w+", documents[span.document - 1].text[: span.start])
            assert set(before[-8:]) & set(re.findall(r"\w+", question))


def test_passages_are_whole_sentences() -> None:
    for sample in _samples(100):
        documents, _ = _asked(sample)
        assert 2 <= len(documents) <= 10
        for document in documents:
            assert len(document.text) > 60
            assert document.text[-1] in ".!?:"
            assert "  " not in document.text


def test_the_state_alone_decides() -> None:
    first, again, other = (continue_sample(random.Random(seed), "continue", passage) for seed in (1, 1, 2))
    assert first == again != other
    samples = _samples(200)
    assert {sample.language for sample in samples} == set(LANGUAGES)
    assert {sample.kind for sample in samples} == {"continue"}
    assert max(len(sample.messages) for sample in samples) > 10


@pytest.mark.parametrize("text", _VAGUE)
def test_passages_that_make_no_clear_question_make_none(text: str) -> None:
    assert continue_sample(random.Random(1), "continue", lambda rng, language, length: text) is None
