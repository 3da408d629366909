"""Reckoning written out step by step, as at school: one digit a step, which is within a small model's reach.

The range: additions and subtractions of whole numbers of up to four digits, products of two numbers of up to two
digits, and percentages of whole hundreds up to 9,900 (or tens of per cent of whole tens), whose results are whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tramontane.training.generators.families import read_lists
from tramontane.training.generators.material import TRAINING_DATA, Material, training_material
from tramontane.training.generators.template import template
from tramontane.training.samples import Sample

Words = dict[str, list[str]]


@dataclass(frozen=True)
class Sum:
    """A task in words, what to write, and the result."""

    language: str
    question: str
    answer: str
    result: int


@cache
def training_words(language: str) -> Words:
    """How training asks for sums, and the words of the steps."""
    return read_lists(TRAINING_DATA / language / "arithmetic.txt")


def draw_sum(rng: random.Random, material: Material, words: Words, operation: str | None = None) -> Sum:
    """A task of one of the four operations: `add`, `subtract`, `multiply` or `percent`."""
    operation = operation or rng.choice(list(_DRAWERS))
    values, steps, result = _DRAWERS[operation](rng, words)

    def value(slot: str) -> str:
        return values[slot] if slot in values else material.values.draw(slot, rng)

    question = material.fill(template(rng.choice(words[operation])), rng, value)
    return Sum(material.language, question, "\n".join(steps), result)


def arithmetic_sample(rng: random.Random, kind: str, language: str) -> Sample:
    """A task and its solution."""
    task = draw_sum(rng, training_material(language), training_words(language))
    messages = [{"role": "user", "content": task.question}, {"role": "assistant", "content": task.answer}]
    return Sample(messages, None, kind, language)


_Drawn = tuple[dict[str, str], list[str], int]


def _number(rng: random.Random, digits: int) -> int:
    """A number of one to so many digits; longer ones are no rarer."""
    count = rng.randint(1, digits)
    return rng.randrange(10 ** (count - 1) if count > 1 else 0, 10**count)


def _addition(rng: random.Random, words: Words) -> _Drawn:
    a, b = _number(rng, 4), _number(rng, 4)
    return {"a": str(a), "b": str(b)}, [*_add_steps(a, b, words), _so(words, f"{a} + {b} = {a + b}")], a + b


def _subtraction(rng: random.Random, words: Words) -> _Drawn:
    a, b = _number(rng, 4), _number(rng, 4)
    if a < b and rng.random() < 0.7:
        a, b = b, a
    steps = _subtract_steps(max(a, b), min(a, b), words)
    if a < b:
        steps = [words["swap"][0], *steps]
    return {"a": str(a), "b": str(b)}, [*steps, _so(words, f"{a} − {b} = {_signed(a - b)}")], a - b


def _multiplication(rng: random.Random, words: Words) -> _Drawn:
    a, b = _number(rng, 2), _number(rng, 2)
    return {"a": str(a), "b": str(b)}, [*_multiply_steps(a, b), _so(words, f"{a} × {b} = {a * b}")], a * b


def _percentage(rng: random.Random, words: Words) -> _Drawn:
    if rng.random() < 0.4:
        unit, parts, base = 10, rng.randint(1, 9), rng.randint(1, 99) * 10  # tens of per cent of tens
    else:
        unit, parts, base = 1, rng.randint(1, 99), rng.randint(1, 99) * 100
    percent, share = unit * parts, base * unit // 100
    result = parts * share
    steps = [f"{_of(words, unit, base)} = {share}", f"{percent} = {parts} × {unit}", *_multiply_steps(parts, share)]
    return {"p": str(percent), "n": str(base)}, [*steps, _so(words, f"{_of(words, percent, base)} = {result}")], result


def _add_steps(a: int, b: int, words: Words) -> list[str]:
    """Column by column from the right; one line for what is at most one column."""
    if a < 10 and b < 10:
        return []
    steps, carry = [], 0
    while a or b:
        x, y = a % 10, b % 10
        total = x + y + carry
        shown = f"{x} + {y}{' + 1' if carry else ''} = {total}"
        a, b, carry = a // 10, b // 10, total // 10
        steps.append(f"{shown}, {words['carry'][0]}" if carry else shown)
    return steps


def _subtract_steps(a: int, b: int, words: Words) -> list[str]:
    """Column by column from the right, where `a` is not less than `b`."""
    if a < 10:
        return []
    steps, borrowed = [], 0
    while a or b:
        x, y = a % 10, b % 10 + borrowed
        borrows = x < y
        shown = f"{x + 10 * borrows} − {b % 10}{' − 1' if borrowed else ''} = {x + 10 * borrows - y}"
        a, b, borrowed = a // 10, b // 10, int(borrows)
        steps.append(f"{shown}, {words['borrow'][0]}" if borrows else shown)
    return steps


def _multiply_steps(a: int, b: int) -> list[str]:
    """By the tens and the units of the second number, each by the tens and the units of the first."""
    if a < 10 and b < 10:
        return []
    if b < 10 or b % 10 == 0:
        return _partial_steps(a, b)
    tens, units = b - b % 10, b % 10
    return [
        *_partial_steps(a, tens),
        *_partial_steps(a, units),
        f"{a * tens} + {a * units} = {a * b}",
    ]


def _partial_steps(a: int, b: int) -> list[str]:
    """`a` by a number with one digit that is not zero."""
    if a < 10 or a % 10 == 0:
        return [f"{a} × {b} = {a * b}"]
    tens, units = a - a % 10, a % 10
    return [f"{tens} × {b} = {tens * b}", f"{units} × {b} = {units * b}", f"{tens * b} + {units * b} = {a * b}"]


def _signed(number: int) -> str:
    return f"−{-number}" if number < 0 else str(number)


def _so(words: Words, equation: str) -> str:
    return words["so"][0].replace("{x}", equation)


def _of(words: Words, percent: int, base: int) -> str:
    return words["of"][0].replace("{p}", str(percent)).replace("{n}", str(base))


_DRAWERS: dict[str, Callable[[random.Random, Words], _Drawn]] = {
    "add": _addition,
    "subtract": _subtraction,
    "multiply": _multiplication,
    "percent": _percentage,
}
