"""What the first lessons ask can be told from what they say, and only in one way."""

from __future__ import annotations

import random

import pytest

from tramontane.training.copying import look_back
from tramontane.training.generators.which_tool import which_tool_sample

SEEDS = range(100)


@pytest.mark.parametrize("seed", SEEDS)
def test_some_words_of_a_line_stand_in_no_other_and_the_answer_is_its_key(seed: int) -> None:
    messages = look_back(random.Random(seed)).messages
    text, _, first = messages[0]["content"].partition("\n\n")
    lines = dict(line.split(": ") for line in text.split("\n"))
    assert len(messages) == 2 * len(lines) >= 2
    assert all(key not in words.split() for key in lines for words in lines.values())
    questions = [first, *(message["content"] for message in messages[2::2])]
    answers = [message["content"] for message in messages[1::2]]
    assert sorted(answers) == sorted(lines)
    for question, answer in zip(questions, answers, strict=True):
        asked = set(question.removesuffix("?").split())
        assert [key for key, words in lines.items() if asked & set(words.split())] == [answer]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tool_that_is_called_is_the_one_whose_words_are_said(seed: int) -> None:
    sample = which_tool_sample(random.Random(seed), "which_tool")
    said = set(sample.messages[0]["content"].split())
    functions = [tool["function"] for tool in sample.tools or []]
    assert len({function["name"] for function in functions}) == len(functions) >= 1
    told = [function["name"] for function in functions if said & set(function["description"].split())]
    [call] = sample.messages[1]["tool_calls"]
    names = {function["name"] for function in functions}
    assert names.isdisjoint(word.lower() for word in said)
    assert told == [call["function"]["name"]]
