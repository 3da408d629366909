"""Requests become the tokens that mistral-common writes, and what it refuses but clients send is accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy

from tests.tokenizer.conversations import Json, assistant, call, result, user
from tests.tokenizers import TheirTokenizer, names_since, write_tekken
from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.chat import Rendered, render_chat
from tramontane.tokenizer.incremental import IncrementalDecoder
from tramontane.tokenizer.tokenizer import Tokenizer

Load = Callable[[str], Tokenizer]
LoadTheirs = Callable[[str], TheirTokenizer]

TOOL: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Météo d'une ville",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def shown(tokenizer: Tokenizer, rendered: Rendered) -> str:
    """The prompt with its control tokens spelled out."""
    return tokenizer.instruct.decode(rendered.tokens, special_token_policy=SpecialTokenPolicy.KEEP).replace("▁", " ")


SYSTEM: Json = {"role": "system", "content": "Answer in one sentence."}
PLAIN = [user("Hello ☺"), assistant("Hi!\r\n"), user("  Who are you? [INST] </s>")]
TOOL_CHAT = [
    user("How warm is it in Nîmes?"),
    assistant(tool_calls=[call("abcDEF123")]),
    result("abcDEF123"),
    assistant("21 °C."),
    user("And now?"),
    assistant(tool_calls=[call("123456789", '{"city": "Nîmes", "at": [1.50, 1e3]}')]),
    result("123456789", "no JSON, only text"),
]
TWO_CALLS = [
    user("Nîmes and Arles?"),
    assistant(tool_calls=[call("AAAAAAAAA"), call("BBBBBBBBB", '{"city": "Arles"}')]),
    result("BBBBBBBBB", "19"),
    result("AAAAAAAAA", "21"),
]


@pytest.mark.parametrize(
    ("since", "messages", "tools"),
    [
        (1, PLAIN, None),
        (1, [SYSTEM, *PLAIN], None),
        (1, [SYSTEM, SYSTEM, user("a"), user("b"), assistant("c"), assistant("d"), user("e")], None),
        (1, [user([{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"}])], None),
        (1, [SYSTEM], None),
        (2, PLAIN, [TOOL]),
        (2, TOOL_CHAT, [TOOL, TOOL]),
        (3, TWO_CALLS, [TOOL]),
        (3, [*TOOL_CHAT, user("thanks")], [TOOL]),
        (7, [SYSTEM, user("a"), SYSTEM, user("b")], [TOOL]),
        (7, [user("a"), assistant("Let me see.", tool_calls=[call("AAAAAAAAA")]), result("AAAAAAAAA")], [TOOL]),
    ],
)
def test_parity_with_mistral_common(
    since: int, messages: list[Json], tools: list[Json] | None, load: Load, load_theirs: LoadTheirs
) -> None:
    for name in names_since(since):
        theirs = load_theirs(name).encode_chat_completion(ChatCompletionRequest.from_openai(messages, tools))
        rendered = render_chat(load(name), messages, tools=tools)
        assert rendered.tokens == theirs.tokens, name
        assert (rendered.prefix, rendered.notes) == (None, [])


def test_parity_of_thinking_and_prefix(load: Load, load_theirs: LoadTheirs) -> None:
    thought = {"type": "thinking", "thinking": "2 + 2", "closed": True}
    messages = [user("2 + 2?"), assistant([thought, {"type": "text", "text": "4"}]), user("3?"), assistant("It is ")]
    request = ChatCompletionRequest.from_openai(messages, continue_final_message=True)
    messages[-1]["prefix"] = True
    for name in ("tekken-v13", "tekken-v15"):
        rendered = render_chat(load(name), messages)
        assert rendered.tokens == load_theirs(name).encode_chat_completion(request).tokens
        assert rendered.prefix == "It is"


# ── what clients' standard suites send and mistral-common refuses ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("since", "messages"),
    [
        (1, [user(None)]),
        (1, [user([])]),
        (1, [user("a"), assistant(None), assistant(""), assistant([]), user("b")]),
        (1, [user("a"), assistant("b"), {"role": "developer", "content": "c"}, user("d")]),
        (1, [user("a"), assistant("b", tool_calls=[], refusal=None, name="x", audio=None), user("c")]),
        (1, [user("a"), assistant("b", prefix=False, tool_calls=None), SYSTEM]),
        (2, [user("a"), assistant("", tool_calls=[call("call_1", None)]), result("call_1", None), user("b")]),
        (2, [user("a"), assistant([], tool_calls=[call("call_1", {"city": "Nîmes"})]), result("call_1", [])]),
        (2, [user("a"), assistant("text", tool_calls=[call("call_1")]), result("call_1")]),
        (2, [user("a"), assistant("text"), assistant(tool_calls=[call("call_1")]), result("call_1")]),
        (2, [user("a"), assistant(tool_calls=[call(None)]), result(None)]),
        (3, [user("a"), assistant(tool_calls=[call("x"), call("x")]), result("x"), result("x"), user("b"), user("c")]),
        (
            3,
            [user("a"), assistant(tool_calls=[call("x")]), assistant(tool_calls=[call("y")]), result("y"), result("x")],
        ),
    ],
)
def test_what_clients_send_is_accepted(since: int, messages: list[Json], load: Load) -> None:
    for name in names_since(since):
        rendered = render_chat(load(name), messages, tools=None if name == "spm-v1" else [TOOL])
        assert rendered.tokens[0] == load(name).bos_id
        assert rendered.prefix is None


@pytest.mark.parametrize("name", ["spm-v3", "tekken-v3", "spm-v7", "tekken-v11"])
def test_a_call_and_its_result_keep_one_id_of_nine_characters(name: str, load: Load) -> None:
    tokenizer, uuid = load(name), "0b0f8a5e-7d0b-4c3e-9a53-6d1f0e9b1c11"
    messages = [user("a"), assistant(tool_calls=[call(uuid)]), result(uuid)]
    prompt = shown(tokenizer, render_chat(tokenizer, messages))
    assert uuid not in prompt
    again = [*messages, user("b"), assistant(tool_calls=[call("call_2")]), result("call_2")]
    nine = (
        prompt.split('"call_id": "')[1][:9] if tokenizer.version == 3 else prompt.split("[TOOL_RESULTS]")[1].strip()[:9]
    )
    assert nine.isalnum()
    assert prompt.count(nine) == 2
    assert shown(tokenizer, render_chat(tokenizer, again)).count(nine) == 2


def test_results_without_ids_belong_to_the_calls_in_order(load: Load) -> None:
    named = [
        user("a"),
        assistant(tool_calls=[call("place1"), call("place2")]),
        result("place1", "1"),
        result("place2", "2"),
    ]
    unnamed = [user("a"), assistant(tool_calls=[call(None), call("")]), result(None, "1"), result("", "2")]
    tokenizer = load("tekken-v13")  # which shows no ids, but sorts results by them
    assert render_chat(tokenizer, named).tokens == render_chat(tokenizer, unnamed).tokens


def test_v2_results_are_given_the_name_of_the_function_called(load: Load) -> None:
    messages = [user("a"), assistant(tool_calls=[call("x")]), {"role": "tool", "tool_call_id": "x", "content": "1"}]
    assert '[{"name": "get_weather", "content": 1}]' in shown(load("spm-v2"), render_chat(load("spm-v2"), messages))


def test_thinking_is_folded_away_where_the_template_has_no_place_for_it(template: Tokenizer) -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]}
    history = [user("a"), assistant([thought, {"type": "text", "text": "b"}]), user("c")]
    rendered = render_chat(template, history)
    reasoning = render_chat(template, [user("a"), assistant("b", reasoning_content="hmm"), user("c")])
    assert reasoning.tokens == rendered.tokens
    if template.version >= 13:
        assert "[THINK]hmm[/THINK]b" in shown(template, rendered)
        assert rendered.notes == []
    else:
        assert rendered.tokens == render_chat(template, [user("a"), assistant("b"), user("c")]).tokens
        assert len(rendered.notes) == 1
        assert "messages.1.content" in rendered.notes[0]


@pytest.mark.parametrize(("version", "think"), [(11, "[THINK]"), (13, "<SPECIAL_34>")])
def test_thinking_needs_both_the_template_and_the_token(version: int, think: str, tmp_path: Path) -> None:
    path = write_tekken(tmp_path, version, think=False)
    path.write_text(path.read_text().replace("<SPECIAL_31>", "[THINK]") if think == "[THINK]" else path.read_text())
    tokenizer = Tokenizer.from_file(path)
    assert tokenizer.control_id(think) is not None
    rendered = render_chat(tokenizer, [user("a"), assistant("b", reasoning_content="hmm"), user("c")])
    assert len(rendered.notes) == 1
    assert "hmm" not in shown(tokenizer, rendered)


def test_thinking_in_a_system_message_is_shown_to_v13_alone(load: Load) -> None:
    content = [{"type": "text", "text": "Write"}, {"type": "thinking", "thinking": "here", "closed": False}]
    messages = [{"role": "system", "content": content}, user("a")]
    assert "Write[THINK]here[/SYSTEM_PROMPT]" in shown(load("tekken-v13"), render_chat(load("tekken-v13"), messages))
    v15 = render_chat(load("tekken-v15"), messages)
    assert "[THINK]" not in shown(load("tekken-v15"), v15)
    assert len(v15.notes) == 1


def test_text_beside_tool_calls_is_left_out_with_a_note_up_to_v3(load: Load) -> None:
    beside = [user("a"), assistant("Let me see."), assistant("So:", tool_calls=[call("x")]), result("x")]
    alone = [user("a"), assistant(tool_calls=[call("x")]), result("x")]
    for name in ("spm-v2", "spm-v3"):
        rendered = render_chat(load(name), beside)
        assert rendered.tokens == render_chat(load(name), alone).tokens
        assert len(rendered.notes) == 1
    assert "So:[TOOL_CALLS]" in shown(load("tekken-v7"), render_chat(load("tekken-v7"), beside))


# ── prefixes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_prefix_is_the_end_of_the_prompt_and_is_returned(template: Tokenizer) -> None:
    rendered = render_chat(template, [user("a"), assistant("The answer is", prefix=True)])
    assert rendered.prefix == "The answer is"
    assert template.decode(rendered.tokens).endswith("The answer is")
    assert rendered.tokens[-1] != template.eos_id


def test_the_prefix_returned_is_the_one_the_model_sees(template: Tokenizer) -> None:
    messages = [user("a"), assistant("Before"), assistant([{"type": "text", "text": "It is  "}], prefix=True)]
    rendered = render_chat(template, messages)
    assert rendered.prefix is not None
    assert template.decode(rendered.tokens).endswith(rendered.prefix)
    assert rendered.prefix == ("It is  " if template.version == 1 else "It is")


def test_prefix_and_what_follows_are_one_text(template: Tokenizer) -> None:
    rendered = render_chat(template, [user("a"), assistant("The answer is", prefix=True)])
    decoder = IncrementalDecoder(template, continues=True)
    generated = [*template.encode("The answer is 42 ☺")[len(template.encode("The answer is")) :], template.eos_id]
    pieces = [piece for token_id in generated for piece in decoder.feed(token_id)]
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    assert (rendered.prefix or "") + text == "The answer is 42 ☺"


def test_an_empty_prefix_is_no_prefix(template: Tokenizer) -> None:
    rendered = render_chat(template, [user("a"), assistant(None, prefix=True)])
    assert rendered.tokens == render_chat(template, [user("a")]).tokens
    assert rendered.prefix == ""


def test_a_prefix_may_end_inside_thinking(load: Load) -> None:
    thought = {"type": "thinking", "thinking": "First,", "closed": False}
    rendered = render_chat(load("tekken-v13"), [user("a"), assistant([thought], prefix=True)])
    assert (rendered.prefix, rendered.in_thinking) == ("", True)
    assert shown(load("tekken-v13"), rendered).endswith("[THINK]First,")


# ── reasoning effort and formats (v15) ────────────────────────────────────────────────────────────────────────────────


def test_the_reasoning_effort_is_shown_to_v15(load: Load) -> None:
    tokenizer = load("tekken-v15")
    high = render_chat(tokenizer, [user("a")], reasoning_effort="high")
    assert '[MODEL_SETTINGS]{"reasoning_effort": "high"}[/MODEL_SETTINGS][INST]a' in shown(tokenizer, high)
    assert '"reasoning_effort": "none"' in shown(tokenizer, render_chat(tokenizer, [user("a")]))
    with pytest.raises(InvalidRequestError, match="it can be none, high") as refused:
        render_chat(tokenizer, [user("a")], reasoning_effort="low")
    assert refused.value.field == "reasoning_effort"


def test_the_answers_schema_is_shown_to_v15(load: Load) -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    tokenizer = load("tekken-v15")
    assert f'"json_schema": {json.dumps(schema)}' in shown(
        tokenizer, render_chat(tokenizer, [user("a")], response_format=asked)
    )
    with pytest.raises(InvalidRequestError) as refused:
        render_chat(tokenizer, [user("a")], response_format={"type": "json_schema"})
    assert refused.value.field == "response_format"
    v13 = load("tekken-v13")
    assert render_chat(v13, [user("a")], response_format=asked).tokens == render_chat(v13, [user("a")]).tokens


def test_models_without_reasoning_can_be_asked_for_none(template: Tokenizer) -> None:
    if template.version < 15:
        render_chat(template, [user("a")], reasoning_effort="none")
        with pytest.raises(InvalidRequestError, match="this model has none to choose"):
            render_chat(template, [user("a")], reasoning_effort="high")


# ── what no template can hold, and what none may let through ──────────────────────────────────────────────────────────


def test_what_a_template_cannot_hold_is_refused(load: Load) -> None:
    with pytest.raises(InvalidRequestError, match="cannot call tools") as refused:
        render_chat(load("spm-v1"), [user("a")], tools=[TOOL])
    assert refused.value.field == "tools"
    with pytest.raises(InvalidRequestError, match="cannot call tools") as refused:
        render_chat(load("spm-v1"), TOOL_CHAT)
    assert refused.value.field == "messages.1.tool_calls"
    with pytest.raises(InvalidRequestError, match="multiple tool results"):
        render_chat(load("spm-v2"), TWO_CALLS)
    with pytest.raises(InvalidRequestError, match="beside a user's message"):
        render_chat(load("spm-v7"), [SYSTEM], tools=[TOOL])


def test_no_text_becomes_a_control_token(template: Tokenizer) -> None:
    hostile = " ".join(template.control_names.values())

    def controls(text: str) -> list[int]:
        messages = [SYSTEM | {"content": text}, user(text), assistant(text), user(text)]
        if template.version > 1:
            messages += [assistant(tool_calls=[call("x", '{"a": "' + text + '"}')]), result("x", text)]
        return [token_id for token_id in render_chat(template, messages).tokens if template.is_control(token_id)]

    assert controls(hostile) == controls("a")
