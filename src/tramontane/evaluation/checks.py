"""When a reply is right."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from tramontane.evaluation.asking import Check, Reply
from tramontane.evaluation.languages import language_of
from tramontane.training.generators.quotes import QuoteQuestion, is_refusal

_CITED = re.compile(r"\[(\d+)\]")
_RESULT = re.compile(r"=\s*([−-]?\d+)\D*$")


def quotation(question: QuoteQuestion, also: Collection[str] = ()) -> Check:
    """The span, or one of `also`, with its document's number; or the refusal where there is no answer."""
    if question.span is None:
        return lambda reply: _abstention(reply.text.strip(), question.answer)
    right = {question.with_span(span).answer for span in (question.span, *also)}

    def check(reply: Reply) -> dict[str, bool]:
        text = reply.text.strip()
        cited = _CITED.findall(text)
        return {
            "exact": text in right,
            "citation": cited[:1] == [str(question.number)],
            "answers": not is_refusal(text),
        }

    return check


def _abstention(text: str, expected: str) -> dict[str, bool]:
    if not is_refusal(text):
        return {"abstains": False}
    return {"abstains": True, "language": text == expected}


def call(name: str, arguments: dict[str, Any]) -> Check:
    """One call of the function with just these arguments."""

    def check(reply: Reply) -> dict[str, bool]:
        right = len(reply.calls) == 1 and reply.calls[0][0] == name
        return {"function": right, "call": right and _loads(reply.calls[0][1]) == arguments}

    return check


def result(language: str, number: int) -> Check:
    """The result at the end, in the language."""

    def check(reply: Reply) -> dict[str, bool]:
        found = _RESULT.search(reply.text)
        right = found is not None and int(found[1].replace("−", "-")) == number
        return {"result": right, "language": language_of(reply.text) == language}

    return check


def talk(language: str) -> Check:
    """The language alone: what a good answer is, people must judge."""
    return lambda reply: {"language": language_of(reply.text) == language}


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
