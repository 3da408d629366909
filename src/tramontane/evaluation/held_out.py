"""Questions from held-out material: families, templates, names and words that training does not have."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tramontane.evaluation import checks
from tramontane.evaluation.asking import Question
from tramontane.tokenizer.documents import Document, render_documents
from tramontane.training.generators import arithmetic, small_talk, tools
from tramontane.training.generators.families import read_lists
from tramontane.training.generators.material import LANGUAGES, Material, load_material, training_material
from tramontane.training.generators.quotes import LONG, Difficulty, QuoteQuestion, abstaining, draw_question

DATA = Path(__file__).parent / "data"


@cache
def held_out_material(language: str) -> Material:
    """Its words for months, numbers and letters are the language's own, and so training's too."""
    return load_material(DATA, language, training_material(language).words)


def draw_questions(items: int, seed: int = 0, documents: Sequence[tuple[int, int]] = ((12, 24),)) -> Iterator[Question]:
    """So many questions of each task in each language; those on documents once for each range of their number.

    The same seed gives the same ones.
    """
    for language in LANGUAGES:
        for low, high in documents:
            rng = random.Random(f"evaluation/{seed}/{language}/{low}-{high}")
            task, difficulty = f"{low}-{high} documents", replace(LONG, documents=(low, high))
            yield from (_quote(rng, task, language, difficulty) for _ in range(items))
            yield from (_quote(rng, task, language, abstaining(difficulty)) for _ in range(items))
        rng = random.Random(f"evaluation/{seed}/{language}")
        yield from (_tool(rng, language) for _ in range(items))
        yield from (_sum(rng, language) for _ in range(items))
        yield from (_talk(rng, language) for _ in range(max(1, items // 4)))
        yield from real_questions(language)


def real_questions(language: str) -> Iterator[Question]:
    """The questions on documents written by hand: press, letters, minutes, product sheets."""
    for item in read_items(language):
        asked = item_question(language, item)
        yield Question(
            "real documents",
            language,
            _messages(render_documents(asked.documents, asked.question)),
            checks.quotation(asked, item.get("also", ())),
            quotes=True,
        )


def item_question(language: str, item: dict[str, Any]) -> QuoteQuestion:
    """An item written by hand as a question; `also` has other spans that answer it as well."""
    documents = [Document(text) for text in item["documents"]]
    return QuoteQuestion(language, documents, item["question"], item["answer"], item["document"])


@cache
def read_items(language: str) -> list[dict[str, Any]]:
    """The items written by hand."""
    items: list[dict[str, Any]] = json.loads((DATA / f"items.{language}.json").read_text(encoding="utf-8"))
    return items


def real_texts(language: str) -> list[str]:
    """The documents written by hand: what perplexity is measured on."""
    return [text for item in read_items(language) for text in item["documents"]]


def _quote(rng: random.Random, task: str, language: str, difficulty: Difficulty) -> Question:
    asked = draw_question(rng, language, difficulty, held_out_material)
    messages = _messages(render_documents(asked.documents, asked.question))
    return Question(task, asked.language, messages, checks.quotation(asked), quotes=True)


def _tool(rng: random.Random, language: str) -> Question:
    asked = tools.draw_request(rng, held_out_material(language), _tools(language))
    check = checks.call(asked.name, asked.arguments)
    return Question("tools", language, _messages(asked.request), check, tools=asked.tools, max_tokens=128)


def _sum(rng: random.Random, language: str) -> Question:
    task = arithmetic.draw_sum(rng, held_out_material(language), _sums(language))
    return Question(
        "arithmetic", language, _messages(task.question), checks.result(language, task.result), max_tokens=256
    )


def _talk(rng: random.Random, language: str) -> Question:
    _, said, _ = small_talk.draw_talk(rng, held_out_material(language), _said(language))
    return Question("talk", language, _messages(said), checks.talk(language), max_tokens=96)


@cache
def _tools(language: str) -> tools.Toolbox:
    return tools.read_tools(DATA / language / "tools.txt")


@cache
def _sums(language: str) -> arithmetic.Words:
    return {**arithmetic.training_words(language), **read_lists(DATA / language / "arithmetic.txt")}


@cache
def _said(language: str) -> small_talk.Topics:
    return small_talk.read_talk(DATA / language / "talk.txt")


def _messages(content: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]
