"""Messages are read or refused by the path of their field; no JSON gets further than that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizer.conversations import assistant, call, result, user
from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.chat import render_chat
from tramontane.tokenizer.messages import MessageReader
from tramontane.tokenizer.tokenizer import Tokenizer

Load = Callable[[str], Tokenizer]

DEEP = "[" * 50_000


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        ([assistant("")], "messages.0.role"),
        (["text"], "messages.0"),
        ([{"content": "a"}], "messages.0.role"),
        ([{"role": "function", "content": "a"}], "messages.0.role"),
        ([{"role": ["user"], "content": "a"}], "messages.0.role"),
        ([user(5)], "messages.0.content"),
        ([user({"type": "text"})], "messages.0.content"),
        ([user(["a"])], "messages.0.content.0"),
        ([user("\ud800")], "messages.0.content"),
        ([user([{"type": "text"}])], "messages.0.content.0"),
        ([user("a"), user([{"type": "image_url", "image_url": "data:,"}])], "messages.1.content.0"),
        ([user([{"type": "text", "text": "a"}, {"type": "input_audio", "input_audio": {}}])], "messages.0.content.1"),
        ([user([{"type": "thinking", "thinking": "a"}])], "messages.0.content.0"),
        ([user("a"), assistant("b")], "messages.1.role"),
        ([assistant("b", prefix=True), user("a")], "messages.0.prefix"),
        ([user("a") | {"prefix": True}], "messages.0.prefix"),
        ([user("a"), assistant(tool_calls=[call("x")], prefix=True)], "messages.1.prefix"),
        ([user("a"), assistant(tool_calls=[call("x")])], "messages.1"),
        ([user("a"), assistant(tool_calls=[call("x")]), user("b")], "messages.2"),
        ([user("a"), assistant(tool_calls=[call("x")]), result("y")], "messages.2.tool_call_id"),
        ([user("a"), assistant(tool_calls=[call("x")]), result("x"), result("x")], "messages.3.tool_call_id"),
        ([user("a"), assistant(tool_calls=[call("x")]), result(7)], "messages.2.tool_call_id"),
        ([result("x")], "messages.0.tool_call_id"),
        ([user("a"), assistant(tool_calls="x")], "messages.1.tool_calls"),
        ([user("a"), assistant(tool_calls=[{}])], "messages.1.tool_calls.0"),
        ([user("a"), assistant(tool_calls=[call("x", name="a b")])], "messages.1.tool_calls.0.function.name"),
        ([user("a"), assistant(tool_calls=[call("x", name="a\n")])], "messages.1.tool_calls.0.function.name"),
        ([user("a"), assistant(tool_calls=[call("x", [1])])], "messages.1.tool_calls.0.function.arguments"),
        ([user("a"), assistant(tool_calls=[call("x", DEEP)])], "messages.1.tool_calls.0.function.arguments"),
        ([user("a"), assistant(tool_calls=[call("x", "9" * 9999)])], "messages.1.tool_calls.0.function.arguments"),
    ],
)
def test_wrong_messages_are_refused_by_field(messages: list[Any], field: str, load: Load) -> None:
    for name in ("spm-v3", "tekken-v13"):
        with pytest.raises(InvalidRequestError) as refused:
            MessageReader(load(name)).read(messages)
        assert refused.value.field == field


def test_a_result_that_cannot_be_parsed_is_refused_only_where_it_is_parsed(load: Load) -> None:
    messages = [user("a"), assistant(tool_calls=[call("x")]), result("x", DEEP)]
    with pytest.raises(InvalidRequestError) as refused:
        MessageReader(load("spm-v3")).read(messages)
    assert refused.value.field == "messages.2.content"
    assert render_chat(load("spm-v7"), messages).tokens


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_chunks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "reference", "x"])},
    optional={"text": _json_values, "thinking": _json_values},
)
_calls = st.builds(lambda call_id, arguments: call(call_id, arguments, "f"), _json_values, _json_values)
_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", 3, None])},
    optional={
        "content": _json_values | st.lists(_chunks, max_size=3),
        "tool_calls": st.lists(_calls | _json_values, max_size=2),
        "tool_call_id": _json_values,
        "prefix": st.booleans(),
        "reasoning": _json_values,
    },
)


def test_any_json_is_rendered_or_refused_by_field(template: Tokenizer) -> None:
    @given(st.lists(_messages | _json_values, max_size=5))
    @settings(deadline=None, max_examples=150)
    def check(messages: list[Any]) -> None:
        try:
            tokens = render_chat(template, messages).tokens
        except InvalidRequestError as error:
            tokens, refused = [], error.field.startswith("messages") and str(error)
        else:
            refused = ""
        assert bool(tokens) != bool(refused)
        assert all(0 <= token_id < template.vocab_size for token_id in tokens)

    check()
