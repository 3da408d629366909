"""All kinds: the same state gives the same sample, arguments follow their schemas, sums are right, code compiles."""

from __future__ import annotations

import ast
import json
import random
import re

import jsonschema
import pytest

from tramontane.evaluation.held_out import DATA
from tramontane.training.generators import GENERATORS
from tramontane.training.generators.arithmetic import draw_sum, training_words
from tramontane.training.generators.code import draw_gap, snippets
from tramontane.training.generators.families import read_lists
from tramontane.training.generators.material import LANGUAGES, training_material
from tramontane.training.generators.small_talk import training_talk
from tramontane.training.generators.tools import training_tools


@pytest.mark.parametrize("kind", GENERATORS)
def test_the_same_state_gives_the_same_sample(kind: str) -> None:
    generate = GENERATORS[kind]
    first, second = random.Random(5), random.Random(5)
    for _ in range(5):
        assert generate(first) == generate(second)
    assert generate(random.Random(5)) != generate(random.Random(6))


@pytest.mark.parametrize("kind", GENERATORS)
def test_samples_are_conversations_that_end_with_the_assistant(kind: str) -> None:
    for seed in range(10):
        sample = GENERATORS[kind](random.Random(seed))
        assert sample.messages[-1]["role"] == "assistant"
        assert sample.kind == kind.split("-")[0]
        assert sample.language in (*LANGUAGES, "code", "none")


@pytest.mark.parametrize("language", LANGUAGES)
def test_tool_calls_follow_the_schemas_and_copy_the_request(language: str) -> None:
    for seed in range(300):
        sample = GENERATORS[f"tools-{language}"](random.Random(seed))
        (call,) = sample.messages[-1]["tool_calls"]
        assert sample.tools is not None
        assert 1 <= len(sample.tools) <= 4
        tool = next(t["function"] for t in sample.tools if t["function"]["name"] == call["function"]["name"])
        arguments = json.loads(call["function"]["arguments"])
        jsonschema.validate(arguments, tool["parameters"], format_checker=jsonschema.FormatChecker())
        for name, value in arguments.items():
            schema = tool["parameters"]["properties"][name]
            if schema == {"type": "string"}:
                assert value in sample.messages[0]["content"]
            if schema["type"] == "integer":
                assert str(value) in sample.messages[0]["content"]


def test_all_languages_have_the_same_families_tools_and_topics() -> None:
    def shape(language: str) -> object:
        families = training_material(language).families.values()
        return (
            [(f.name, f.identity, f.in_rows, [(a.name, a.kind) for a in f.attributes.values()]) for f in families],
            [(tool.name, tool.kinds) for tool in training_tools(language).tools.values()],
            list(training_talk(language)),
            sorted(training_material(language).words),
        )

    assert all(shape(language) == shape("fr") for language in LANGUAGES)
    assert len(training_material("fr").families) >= 12


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_step_of_a_sum_is_right(language: str) -> None:
    rng = random.Random(language)
    for _ in range(800):
        task = draw_sum(rng, training_material(language), training_words(language))
        lines = task.answer.split("\n")
        assert re.sub("−", "-", lines[-1]).rstrip(".").endswith(f"= {task.result}")
        for line in lines:
            equation = re.fullmatch(r"(?:[^\d=]+ )??([−\d +×]+) = ([−\d ×]+?)(?:[.,] ?\D*(?:1\D*)?)?", line)
            assert equation or "%" in line or line == training_words(language)["swap"][0], line
            if equation:
                assert _value(equation[1]) == _value(equation[2]), line


def _value(text: str) -> int:
    result: int = eval(text.replace("−", "-").replace("×", "*"))
    return result


def test_percentages_are_right() -> None:
    rng = random.Random(3)
    for _ in range(300):
        task = draw_sum(rng, training_material("en"), training_words("en"), "percent")
        found = re.search(r"So (\d+)% of (\d+) = (\d+)\.", task.answer)
        assert found is not None
        percent, base, result = map(int, found.groups())
        assert percent * base == 100 * result


def test_code_compiles_and_gaps_fit() -> None:
    rng = random.Random(9)
    for snippet in snippets():
        assert set(snippet.returns) == set(LANGUAGES)
        for _ in range(20):
            ast.parse(snippet.draw(rng)[1])
    for _ in range(300):
        before, gap, after = draw_gap(rng)
        assert gap
        ast.parse(before + gap + after)


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_wordings_of_sums_are_in_no_template_of_training(language: str) -> None:
    learnt = [text for texts in training_words(language).values() for text in texts]
    for texts in read_lists(DATA / language / "arithmetic.txt").values():
        assert not [text for text in texts if any(text in one for one in learnt)]
