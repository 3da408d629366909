"""Judging and counting: a model that knows everything gets all, one that knows nothing gets nothing."""

from __future__ import annotations

import asyncio
import json
import math
import random

import pytest

from tramontane.evaluation import checks
from tramontane.evaluation.asking import Question, Reply
from tramontane.evaluation.held_out import draw_questions
from tramontane.evaluation.languages import language_of
from tramontane.evaluation.running import Results, evaluate, measure_texts
from tramontane.tokenizer.documents import Document
from tramontane.training.generators import GENERATORS
from tramontane.training.generators.material import LANGUAGES
from tramontane.training.generators.quotes import QuoteQuestion

TOLD = QuoteQuestion("en", [Document("It costs 5 euros."), Document("It is red.")], "How much?", "5 euros", 1)
UNTOLD = QuoteQuestion("fr", [Document("It is red.")], "Combien ?", None, None)


def test_quotations() -> None:
    check = checks.quotation(TOLD, ["5"])
    assert check(Reply("«5 euros» [1]")) == {"exact": True, "citation": True, "answers": True}
    assert check(Reply("«5» [1]"))["exact"]
    assert check(Reply("«It» [1]")) == {"exact": False, "citation": True, "answers": True}
    assert check(Reply("«red» [2]")) == {"exact": False, "citation": False, "answers": True}
    assert check(Reply("The documents do not say.")) == {"exact": False, "citation": False, "answers": False}


def test_abstentions() -> None:
    check = checks.quotation(UNTOLD)
    assert check(Reply("Les documents ne le disent pas.")) == {"abstains": True, "language": True}
    assert check(Reply("The documents do not say.")) == {"abstains": True, "language": False}
    assert check(Reply("«red» [1]")) == {"abstains": False}


def test_calls_and_sums() -> None:
    check = checks.call("f", {"a": 1, "b": "x"})
    assert check(Reply("", [("f", '{"b": "x", "a": 1}')])) == {"function": True, "call": True}
    assert check(Reply("", [("f", '{"a": 2}')])) == {"function": True, "call": False}
    assert check(Reply("", [("f", "{")])) == {"function": True, "call": False}
    assert check(Reply("f")) == {"function": False, "call": False}
    check = checks.result("en", -34)
    assert check(Reply("57 − 23 = 34\nSo 23 − 57 = −34.")) == {"result": True, "language": True}
    assert not check(Reply("So 23 − 57 = 34."))["result"]
    assert not check(Reply(""))["result"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_of_what_brise_says(language: str) -> None:
    for kind in ("talk", "arithmetic"):
        for seed in range(200):
            said = GENERATORS[f"{kind}-{language}"](random.Random(seed)).messages[-1]["content"]
            assert language_of(said) == language, said
    assert language_of("") is None


def test_a_model_without_knowledge_is_counted_for_what_it_is() -> None:
    questions = list(draw_questions(1, documents=[(2, 3)]))
    seen: list[tuple[str, bool]] = []

    async def silent(question: Question, *, grammar: bool) -> Reply:
        seen.append((question.task, grammar))
        return Reply("")

    results = asyncio.run(evaluate(questions, silent, concurrency=4))
    with_grammar = sum(question.quotes for question in questions)
    assert len(seen) == len(questions) + with_grammar
    counts = results.counts["2-3 documents", "exact", True]
    assert sum(count.all for count in counts.values()) == 5
    assert sum(count.right for count in counts.values()) == 0
    assert json.loads(json.dumps(results.as_json()))["measures"]


def test_perplexity_and_bits_per_byte() -> None:
    async def score(text: str) -> tuple[float, int]:
        return -math.log(8) * 4, 4

    results = Results()
    asyncio.run(measure_texts(results, {"en": ["abcd", "efgh"]}, score))
    assert results.perplexities == {"en": 8.0}
    assert results.bits_per_byte == {"en": 3.0}
