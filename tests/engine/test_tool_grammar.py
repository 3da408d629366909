"""Tool calls: what mistral-common writes into a chat history is what the grammar lets through, and nothing looser."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from mistral_common.protocol.instruct.messages import AssistantMessage
from mistral_common.protocol.instruct.tool_calls import FunctionCall, ToolCall

from tests.engine.grammar_walks import TOKENIZERS, accepts, allowed, compiler, finished, walk
from tramontane.engine.tool_grammar import ToolGrammar
from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.tokenizer import Tokenizer

WEATHER = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "maximum": 9}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"city": {"type": "string", "maxLength": 9}},
}
LIST = {"type": "object", "properties": {"k": {"type": "array", "items": {"type": "number"}, "maxItems": 2}}}
PARAMETERS: dict[str, Any] = {"get_weather": WEATHER, "get": LIST, "now": None, "any": {}}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, **({} if schema is None else {"parameters": schema})}}
    for name, schema in PARAMETERS.items()
]
SINCE_V11 = ["written-v11", "written-v13", "written-v15"]


def encoded(tokenizer: Tokenizer, *calls: tuple[str, Any], content: str | None = None) -> list[int]:
    """An assistant message of these calls as mistral-common encodes it, without the end of sequence."""
    tool_calls = [
        ToolCall(id=f"call{i:05d}", function=FunctionCall(name=name, arguments=json.dumps(arguments)))
        for i, (name, arguments) in enumerate(calls)
    ]
    tokens = tokenizer.instruct.encode_assistant_message(
        AssistantMessage(content=content, tool_calls=tool_calls), False
    )
    assert tokens.pop() == tokenizer.eos_id
    return list(tokens)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("choice", ["auto", "any", "required"])
def test_what_mistral_common_encodes_is_let_through(name: str, choice: str) -> None:
    tokenizer, _ = compiler(name)
    one = encoded(tokenizer, ("get_weather", {"city": 'Zür "☺"', "days": 3}))
    assert accepts(name, ToolGrammar(TOOLS, choice), one)
    assert accepts(name, ToolGrammar(TOOLS, choice, parallel=False), one)
    several = encoded(tokenizer, ("now", {}), ("get", {"k": [1.5, -2]}), ("get", {}), ("any", {"x": [None, {"y": 1}]}))
    assert accepts(name, ToolGrammar(TOOLS, choice), several)
    assert not accepts(name, ToolGrammar(TOOLS, choice, parallel=False), several)
    assert not accepts(name, ToolGrammar(TOOLS, "none"), one)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    "call", [("get_weather", {"days": 3}), ("get_weather", {"city": "x", "days": 10}), ("now", {"x": 1}), ("gets", {})]
)
def test_calls_that_break_their_schema(name: str, call: tuple[str, Any]) -> None:
    tokenizer, _ = compiler(name)
    assert not accepts(name, ToolGrammar(TOOLS, "auto"), encoded(tokenizer, call))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_named_tool_is_the_only_one(name: str) -> None:
    tokenizer, _ = compiler(name)
    named = ToolGrammar(TOOLS, "now")
    assert accepts(name, named, encoded(tokenizer, ("now", {})))
    assert not accepts(name, named, encoded(tokenizer, ("get", {})))
    assert not accepts(name, named, tokenizer.encode("It is late."))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_text_where_the_choice_allows_it(name: str) -> None:
    tokenizer, _ = compiler(name)
    text = tokenizer.encode('Ja.\n[{"name": "now"}] [TOOL_CALLS]now[ARGS]{} ☺')
    for choice, wanted in {"auto": True, "none": True, "any": False, "required": False}.items():
        assert accepts(name, ToolGrammar(TOOLS, choice), text) == wanted


@pytest.mark.parametrize("name", TOKENIZERS)
def test_text_before_a_call_is_for_templates_that_have_it(name: str) -> None:
    tokenizer, _ = compiler(name)
    if tokenizer.version < 7:
        tokens = [*tokenizer.encode("Let me look."), *encoded(tokenizer, ("now", {}))]
        assert not accepts(name, ToolGrammar(TOOLS), tokens)
    else:
        assert accepts(name, ToolGrammar(TOOLS), encoded(tokenizer, ("now", {}), content="Let me look."))


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("choice", ["auto", "any", "none", "get"])
def test_only_the_control_tokens_of_the_form_are_reachable(name: str, choice: str) -> None:
    tokenizer, grammars = compiler(name)
    compiled = grammars.compile(ToolGrammar(TOOLS, choice))
    form = {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"} if choice != "none" else set()
    thinking = {"[THINK]", "[/THINK]"} if tokenizer.version >= 13 else set()
    seen = set()
    for seed in range(6):
        state = compiled.start()
        for token in [None, *walk(compiled, tokenizer, seed, steps=40)]:
            if token is not None:
                state.accept(token)
            seen |= {tokenizer.control_name(int(i)) for i in allowed(state, tokenizer)} - {None}
    assert seen - {tokenizer.control_name(tokenizer.eos_id)} <= form | thinking
    assert ("[TOOL_CALLS]" in seen) == (choice != "none")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_random_calls_parse_and_follow_their_schemas(name: str) -> None:
    tokenizer, grammars = compiler(name)
    compiled = grammars.compile(ToolGrammar(TOOLS[:3], "required"))
    calls = []
    for seed in range(12):
        tokens = walk(compiled, tokenizer, seed, steps=400)
        if finished(compiled, tokens):
            calls += parsed(tokenizer, tokens)
    assert len(calls) >= 6
    for function, arguments in calls:
        jsonschema.validate(arguments, PARAMETERS[function] or {"maxProperties": 0})


def parsed(tokenizer: Tokenizer, tokens: list[int]) -> list[tuple[str, Any]]:
    """The calls of an answer, read with nothing but the description of the format."""
    if (end := tokenizer.control_id("[/THINK]")) in tokens:
        tokens = tokens[tokens.index(end) + 1 :]
    names = {i: name for i in tokens if (name := tokenizer.control_name(i)) is not None}
    text = "".join(f"\0{names[i]}\0" if i in names else tokenizer.token_bytes(i).decode("latin-1") for i in tokens)
    text = text.encode("latin-1").decode()
    head, *calls = text.split("\0[TOOL_CALLS]\0")
    assert head == ""
    if tokenizer.version < 11:
        assert len(calls) == 1
        listed = json.loads(calls[0])
        keys = ["name", "arguments"] + (["id"] if tokenizer.version >= 3 else [])
        assert all(list(call) == keys for call in listed)
        assert all(re.fullmatch("[a-zA-Z0-9]{9}", call["id"]) for call in listed if "id" in call)
        return [(call["name"], call["arguments"]) for call in listed]
    form = (
        r"([a-z_]+)(?:\0\[CALL_ID]\0[a-zA-Z0-9]{9})?\0\[ARGS]\0(.*)"
        if tokenizer.version == 11
        else r"([a-z_]+)\0\[ARGS]\0(.*)"
    )
    matches = [re.fullmatch(form, call, re.DOTALL) for call in calls]
    assert all(matches)
    return [(match[1], json.loads(match[2])) for match in matches if match]


@pytest.mark.parametrize("name", SINCE_V11)
def test_thinking_comes_first_where_the_template_has_it(name: str) -> None:
    tokenizer, _ = compiler(name)
    think, end = tokenizer.control_id("[THINK]"), tokenizer.control_id("[/THINK]")
    assert (think is None) == (tokenizer.version < 13)
    if think is None or end is None:
        return
    thoughts = [think, *tokenizer.encode("Hm.\n"), end]
    for choice in ("auto", "any", "now"):
        assert accepts(name, ToolGrammar(TOOLS, choice), [*thoughts, *encoded(tokenizer, ("now", {}))])
    assert accepts(name, ToolGrammar(TOOLS, "none"), [*thoughts, *tokenizer.encode("Yes.")])
    assert not accepts(name, ToolGrammar(TOOLS, "any"), [think, *encoded(tokenizer, ("now", {}))])
    assert not accepts(name, ToolGrammar(TOOLS, "auto"), [*tokenizer.encode("Yes."), *thoughts])


def test_calls_are_bounded() -> None:
    tokenizer, _ = compiler("written-v13")
    assert accepts("written-v13", ToolGrammar(TOOLS), encoded(tokenizer, *[("now", {})] * 32))
    assert not accepts("written-v13", ToolGrammar(TOOLS), encoded(tokenizer, *[("now", {})] * 33))


@pytest.mark.parametrize(
    ("tools", "choice", "field"),
    [
        ([], "auto", "tool_choice"),
        (TOOLS, "unknown", "tool_choice"),
        ([{"type": "function", "function": {"name": 'a" | "b'}}], "auto", "tools"),
        ([{"type": "function", "function": {"name": "a\n"}}], "auto", "tools"),
        ([{"type": "function", "function": {"name": ""}}], "auto", "tools"),
        ([{"type": "function", "function": {"name": "a", "parameters": {"type": "string"}}}], "any", "tools"),
        ([{"type": "function", "function": {"name": "a", "parameters": {"$ref": "https://x"}}}], "any", "tools"),
    ],
)
def test_impossible_tools(tools: list[dict[str, Any]], choice: str, field: str) -> None:
    _, grammars = compiler("spm-v3")
    with pytest.raises(InvalidRequestError) as refusal:
        grammars.compile(ToolGrammar(tools, choice))
    assert refusal.value.field == field


def test_v1_has_no_tool_calls() -> None:
    tokenizer, grammars = compiler("spm-v1")
    with pytest.raises(InvalidRequestError, match="no form for tool calls"):
        grammars.compile(ToolGrammar(TOOLS))
    assert accepts("spm-v1", ToolGrammar(TOOLS, "none"), tokenizer.encode("text"))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_with_a_schema_an_answer_is_a_call_or_json_that_follows_it(name: str) -> None:
    tokenizer, _ = compiler(name)
    grammar = ToolGrammar(TOOLS, "auto", schema=LIST)
    assert accepts(name, grammar, encoded(tokenizer, ("now", {})))
    assert accepts(name, grammar, '{"k": [1, 2]}')
    assert not accepts(name, grammar, '{"k": "one"}')
    assert not accepts(name, grammar, "It is late.")
    assert not grammar.has_free_text
    alone = ToolGrammar(TOOLS, "none", schema=LIST)
    assert accepts(name, alone, '{"k": []}')
    assert not accepts(name, alone, encoded(tokenizer, ("now", {})))
