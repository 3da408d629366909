"""Asks all questions, several at a time, and counts what was right."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tramontane.evaluation.asking import Answerer, Question, Scorer

Progress = Callable[[int, int], None]
"""Called with how many questions are answered, of how many."""


@dataclass
class Count:
    """How many were right, of how many."""

    right: int = 0
    all: int = 0

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.right / self.all

    def add(self, right: bool) -> None:
        """One more."""
        self.right, self.all = self.right + right, self.all + 1


@dataclass
class Results:
    """Counts by (task, measure, with the quote grammar or not) and language; perplexities by language."""

    counts: dict[tuple[str, str, bool], dict[str, Count]] = field(default_factory=dict)
    perplexities: dict[str, float] = field(default_factory=dict)
    bits_per_byte: dict[str, float] = field(default_factory=dict)

    def add(self, question: Question, grammar: bool, judged: dict[str, bool]) -> None:
        """Counts one reply."""
        for measure, right in judged.items():
            by_language = self.counts.setdefault((question.task, measure, grammar), {})
            by_language.setdefault(question.language, Count()).add(right)

    def as_json(self) -> dict[str, Any]:
        """For programs: each measure with its counts by language."""
        measures = [
            {
                "task": task,
                "measure": measure,
                "quote_grammar": grammar,
                "languages": {
                    language: {"right": count.right, "all": count.all, "share": round(count.share, 4)}
                    for language, count in sorted(counts.items())
                },
            }
            for (task, measure, grammar), counts in self.counts.items()
        ]
        return {"measures": measures, "perplexity": self.perplexities, "bits_per_byte": self.bits_per_byte}


async def evaluate(
    questions: Sequence[Question], answer: Answerer, concurrency: int = 32, progress: Progress = lambda *_: None
) -> Results:
    """Every question once, and those on documents twice: with the quote grammar and without it."""
    asked = [(question, False) for question in questions]
    asked += [(question, True) for question in questions if question.quotes]
    results, slots, done = Results(), asyncio.Semaphore(concurrency), 0
    judged: list[dict[str, bool]] = [{}] * len(asked)

    async def ask(place: int) -> None:
        nonlocal done
        question, grammar = asked[place]
        async with slots:
            judged[place] = question.check(await answer(question, grammar=grammar))
        done += 1
        progress(done, len(asked))

    async with asyncio.TaskGroup() as group:
        for place in range(len(asked)):
            group.create_task(ask(place))
    for (question, grammar), one in zip(asked, judged, strict=True):
        results.add(question, grammar, one)
    return results


async def measure_texts(results: Results, texts: dict[str, list[str]], score: Scorer) -> None:
    """Adds the perplexity of each language's texts, and their bits per byte, which compare across tokenizers."""
    for language, parts in texts.items():
        scored = await asyncio.gather(*map(score, parts))
        logprob, tokens = sum(one for one, _ in scored), sum(count for _, count in scored)
        results.perplexities[language] = round(math.exp(-logprob / max(1, tokens)), 3)
        results.bits_per_byte[language] = round(-logprob / math.log(2) / len("".join(parts).encode()), 4)
