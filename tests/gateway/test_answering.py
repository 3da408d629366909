"""The engine's outputs as events: what is a call in a chat is text outside one, and a call that was cut is none."""

from __future__ import annotations

import pytest

from tests.tokenizers import write_tekken
from tramontane.engine.request import Output, Usage
from tramontane.gateway.providers.local.answering import _ChoiceReader
from tramontane.gateway.providers.local.rendering import RenderedPrompt
from tramontane.tokenizer.incremental import Control
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.tokenizer.tool_calls import Text, ToolCall


@pytest.fixture(scope="module")
def v11(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_file(write_tekken(tmp_path_factory.mktemp("v11"), 11))


def control(tokenizer: Tokenizer, name: str) -> Control:
    token = tokenizer.control_id(name)
    assert token is not None
    return Control(token, name)


def call(tokenizer: Tokenizer, *arguments: str) -> list[str | Control]:
    return [control(tokenizer, "[TOOL_CALLS]"), "now", control(tokenizer, "[ARGS]"), *arguments]


def test_outside_a_chat_nothing_is_a_call(v11: Tokenizer) -> None:
    reader = _ChoiceReader(0, v11, RenderedPrompt([1], is_chat=False))
    event = reader.read(Output("r", 0, [9, 8], call(v11, "{}"), finish_reason="stop", usage=Usage(1, 0, 2)))
    assert event.parts == [Text("now{}")]
    assert event.finish_reason == "stop"


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_call_without_arguments_is_one_only_where_the_answer_ended_by_itself(v11: Tokenizer, reason: str) -> None:
    reader = _ChoiceReader(0, v11, RenderedPrompt([1]))
    event = reader.read(Output("r", 0, [9, 8], call(v11), finish_reason=reason))  # type: ignore[arg-type]
    if reason == "stop":
        assert [type(part) for part in event.parts] == [ToolCall]
        assert event.finish_reason == "tool_calls"
    else:
        assert event.parts == [Text("now")]
        assert event.finish_reason == "length"


def test_an_answer_that_was_begun_begins_with_its_prefix(v11: Tokenizer) -> None:
    reader = _ChoiceReader(0, v11, RenderedPrompt([1], prefix="The "))
    assert reader.read(Output("r", 0, [5], ["wind"])).parts == [Text("The "), Text("wind")]
    assert reader.read(Output("r", 0, [5], ["s"])).parts == [Text("s")]
