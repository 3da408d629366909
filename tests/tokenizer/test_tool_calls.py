"""What a model writes is told apart by control tokens: round trips through every version's format, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.instruct.messages import AssistantMessage
from mistral_common.protocol.instruct.tool_calls import FunctionCall
from mistral_common.protocol.instruct.tool_calls import ToolCall as TheirToolCall
from mistral_common.tokens.tokenizers.instruct import InstructTokenizerV2

from tests.tokenizer.texts import characters
from tests.tokenizers import names_since
from tramontane.tokenizer.incremental import IncrementalDecoder
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.tokenizer.tool_call_ids import is_tool_call_id
from tramontane.tokenizer.tool_calls import OutputParser, Part, Text, Thinking, ToolCall

Load = Callable[[str], Tokenizer]


def ids_of(tokenizer: Tokenizer, written: Sequence[str]) -> list[int]:
    """Tokens of an answer: names of control tokens by id, everything else as text."""
    ids: list[int] = []
    for part in written:
        control = tokenizer.control_id(part)
        ids += tokenizer.encode(part) if control is None else [control]
    return ids


def parse(tokenizer: Tokenizer, ids: Sequence[int], *, in_thinking: bool = False) -> tuple[list[Part], OutputParser]:
    """The parts of an answer, neighbouring texts put together."""
    decoder, parser = IncrementalDecoder(tokenizer), OutputParser(tokenizer, in_thinking=in_thinking)
    parts = [part for token_id in ids for part in parser.feed(decoder.feed(token_id))]
    parts += parser.feed(decoder.flush()) + parser.finish()
    assert parser.finish() == []
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + part.text)
        elif isinstance(part, Thinking) and isinstance(last, Thinking):
            joined[-1] = Thinking(last.text + part.text)
        else:
            joined.append(part)
    return joined, parser


def said(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def calls(parts: Sequence[Part]) -> list[ToolCall]:
    return [part for part in parts if isinstance(part, ToolCall)]


_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(characters, max_size=10)
_arguments = st.dictionaries(st.text(characters, max_size=6), _scalars | st.lists(_scalars, max_size=3), max_size=4)
_names = st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True)
_ids = st.from_regex(r"[a-zA-Z0-9]{9}", fullmatch=True)


@pytest.mark.parametrize("name", names_since(2))
def test_what_mistral_common_writes_is_read_back(name: str, load: Load) -> None:
    """The history's encoding of a call is what the model was trained to write."""
    tokenizer = load(name)
    shows_ids = 3 <= tokenizer.version <= 11

    @given(st.lists(st.tuples(_names, _arguments, _ids), min_size=1, max_size=4, unique_by=lambda one: one[2]))
    @settings(deadline=None)
    def check(made: list[tuple[str, dict[str, object], str]]) -> None:
        theirs = [
            TheirToolCall(id=call_id, function=FunctionCall(name=function, arguments=json.dumps(arguments)))
            for function, arguments, call_id in made
        ]
        template = tokenizer.instruct
        assert isinstance(template, InstructTokenizerV2)
        ids = template.encode_assistant_message(AssistantMessage(tool_calls=theirs), False)
        parts, parser = parse(tokenizer, ids)
        assert not parser.malformed
        assert parts == calls(parts)
        assert [call.index for call in calls(parts)] == [*range(len(made))]
        assert [(call.name, json.loads(call.arguments)) for call in calls(parts)] == [(n, a) for n, a, _ in made]
        assert [call.id for call in calls(parts)] == [i for _, _, i in made] or not shows_ids
        assert all(is_tool_call_id(call.id) for call in calls(parts))
        assert len({call.id for call in calls(parts)}) == parser.num_tool_calls == len(made)

    check()


def test_text_then_calls_then_text(load: Load) -> None:
    one = '[{"name": "f", "arguments": {"a": 1.50}, "id": "abcDEF123"}]'
    parts, _ = parse(load("spm-v7"), ids_of(load("spm-v7"), ["Let me see.", "[TOOL_CALLS]", one, "</s>"]))
    assert parts == [Text("Let me see."), ToolCall(0, "abcDEF123", "f", '{"a": 1.50}')]
    written = ["Let me see.", "[TOOL_CALLS]", "f", "[ARGS]", '{"a": 1.50}', "[TOOL_CALLS]", "g", "[ARGS]", "", "</s>"]
    parts, parser = parse(load("tekken-v13"), ids_of(load("tekken-v13"), written))
    assert [(call.index, call.name, call.arguments) for call in calls(parts)] == [
        (0, "f", '{"a": 1.50}'),
        (1, "g", "{}"),
    ]
    assert said(parts) == "Let me see."
    assert not parser.malformed


def test_a_call_comes_when_the_next_one_begins(load: Load) -> None:
    tokenizer = load("tekken-v13")
    decoder, parser = IncrementalDecoder(tokenizer), OutputParser(tokenizer)
    first = ids_of(tokenizer, ["[TOOL_CALLS]", "f", "[ARGS]", "{}"])
    assert [part for token_id in first for part in parser.feed(decoder.feed(token_id))] == []
    (call,) = parser.feed(decoder.feed(ids_of(tokenizer, ["[TOOL_CALLS]"])[0]))
    assert isinstance(call, ToolCall)


def test_text_and_thinking_come_at_once(load: Load) -> None:
    tokenizer = load("tekken-v15")
    decoder, parser = IncrementalDecoder(tokenizer), OutputParser(tokenizer)
    for token_id in ids_of(tokenizer, ["[THINK]", "abc def"]):
        pieces = decoder.feed(token_id)
        assert parser.feed(pieces) == [Thinking(piece) for piece in pieces if isinstance(piece, str)]


def test_thinking_is_told_from_the_answer(load: Load) -> None:
    tokenizer = load("tekken-v13")
    written = ["[THINK]", "2 + 2", "[/THINK]", "4", "</s>"]
    assert parse(tokenizer, ids_of(tokenizer, written))[0] == [Thinking("2 + 2"), Text("4")]
    continued, parser = parse(tokenizer, ids_of(tokenizer, written[1:]), in_thinking=True)
    assert continued == [Thinking("2 + 2"), Text("4")]
    assert not parser.malformed


@pytest.mark.parametrize("name", names_since(1))
def test_what_only_looks_like_control_tokens_is_text(name: str, load: Load) -> None:
    text = '[TOOL_CALLS] [{"name": "f", "arguments": {}}] [ARGS] [THINK]x[/THINK] </s>'
    parts, parser = parse(load(name), load(name).encode(text))
    assert parts == [Text(text)]
    assert not parser.malformed


@pytest.mark.parametrize("name", names_since(2))
def test_made_ids_are_distinct_and_bad_ones_replaced(name: str, load: Load) -> None:
    tokenizer = load(name)
    one = '{"name": "f", "arguments": {}, "id": "%s"}'
    text = "[" + ", ".join(one % call_id for call_id in ("AAAAAAAAA", "AAAAAAAAA", "short", "call_123456")) + "]"
    parts, _ = parse(tokenizer, ids_of(tokenizer, ["[TOOL_CALLS]", text]))
    made = [call.id for call in calls(parts)]
    assert made[0] == "AAAAAAAAA"
    assert len(set(made)) == 4
    assert all(map(is_tool_call_id, made))


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"name": "f"}', "{}"),
        ('{"name": "f", "arguments": null}', "{}"),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', '{"a": 1}'),
        ('{"arguments": {"a": 12345678901234567890.10}, "name": "f"}', '{"a": 12345678901234567890.10}'),
        ('{"name": "f", "arguments": {"a": %s}}' % ("9" * 9999), '{"a": %s}' % ("9" * 9999)),
    ],
)
def test_arguments_are_json_text_as_it_was_written(written: str, arguments: str, load: Load) -> None:
    parts, parser = parse(load("spm-v3"), ids_of(load("spm-v3"), ["[TOOL_CALLS]", f"[{written}]"]))
    assert [call.arguments for call in calls(parts)] == [arguments]
    assert not parser.malformed


DEEP = "[" * 20_000


@pytest.mark.parametrize(
    "written",
    [
        "",
        "no JSON at all",
        '{"name": "f", "arguments": {}}',
        "[]",
        '["f"]',
        '[{"name": 5, "arguments": {}}]',
        '[{"name": "a b", "arguments": {}}]',
        '[{"name": "f", "arguments": [1]}]',
        '[{"name": "f", "arguments": "no JSON"}]',
        '[{"name": "f", "arguments": {"a": ',
        DEEP,
        '[{"name": "f", "arguments": {"a": ' + DEEP,
    ],
)
def test_a_malformed_list_comes_as_text(written: str, load: Load) -> None:
    for name in ("spm-v2", "spm-v3", "tekken-v7", "tekken-v13"):
        parts, parser = parse(load(name), ids_of(load(name), ["Hm.", "[TOOL_CALLS]", written, "</s>"]))
        assert said(parts).replace(" ", "") == ("Hm." + written).replace(" ", "")
        assert calls(parts) == []
        assert parser.malformed


@pytest.mark.parametrize(
    "written",
    [
        ["f", "[ARGS]", '{"a": '],
        ["f", "[ARGS]", "no JSON"],
        ["f", "[ARGS]", "[1]"],
        ["f", "[ARGS]", '{"a":' * 20_000],
        ["", "[ARGS]", "{}"],
        ["a b", "[ARGS]", "{}"],
        ["f", "[CALL_ID]", "123456789"],
        ["f"],
    ],
)
def test_a_malformed_call_comes_as_text(written: list[str], load: Load) -> None:
    for name in ("tekken-v11", "tekken-v13"):
        parts, parser = parse(load(name), ids_of(load(name), ["[TOOL_CALLS]", *written, "</s>"]))
        assert said(parts) == "".join(part for part in written if not part.startswith("[A") and part != "[CALL_ID]")
        assert calls(parts) == []
        assert parser.malformed


def test_whole_calls_before_a_cut_are_kept(load: Load) -> None:
    whole = '[{"name": "f", "arguments": {}}, '
    parts, parser = parse(load("spm-v3"), ids_of(load("spm-v3"), ["[TOOL_CALLS]", whole + '{"name": "g", "argu']))
    assert [call.name for call in calls(parts)] == ["f"]
    assert said(parts) == '{"name": "g", "argu'
    assert parser.malformed
    parts, parser = parse(
        load("tekken-v13"), ids_of(load("tekken-v13"), ["[TOOL_CALLS]", "f", "[ARGS]", "{} and text"])
    )
    assert [call.name for call in calls(parts)] == ["f"]
    assert said(parts) == " and text"
    assert parser.malformed


@pytest.mark.parametrize("name", names_since(1))
def test_any_tokens_are_survived_and_no_text_is_lost(name: str, load: Load) -> None:
    tokenizer = load(name)
    control_ids = [
        tokenizer.control_id(n) for n in ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]", "</s>")
    ]
    fragments = [
        tokenizer.encode(t) for t in ("[", '{"', "name", '": "', "f", '", "arguments": {}', "}", "]", " ", "é")
    ]
    hostile = st.lists(
        st.sampled_from(fragments)
        | st.sampled_from([[i] for i in control_ids if i is not None])
        | st.integers(0, tokenizer.vocab_size - 1).map(lambda token_id: [token_id]),
        max_size=25,
    ).map(lambda parts: [token_id for part in parts for token_id in part])

    @given(hostile)
    @settings(deadline=None)
    def check(ids: list[int]) -> None:
        parts, parser = parse(tokenizer, ids)
        assert parser.num_tool_calls == len(calls(parts))
        for call in calls(parts):
            assert isinstance(json.loads(call.arguments), dict)
        if not calls(parts):
            texts = "".join(part.text for part in parts if isinstance(part, Text | Thinking))
            assert texts == tokenizer.decode(ids)

    check()
