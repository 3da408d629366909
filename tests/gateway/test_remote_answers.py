"""Whatever another server sends, in whatever pieces: an answer, or an end that says what is wrong. Never a surprise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tramontane.gateway.answers import Answer
from tramontane.gateway.errors import OfferingFailedError
from tramontane.gateway.providers.openai_compatible.answering import RemoteAnswer
from tramontane.gateway.providers.openai_compatible.counting import Counter, RunningCount
from tramontane.gateway.providers.openai_compatible.events import EventReader
from tramontane.outbound.client import Response
from tramontane.tokenizer.tool_call_ids import is_tool_call_id


class Sent:
    """A response that was recorded."""

    status = 200

    def __init__(self, pieces: Sequence[bytes], content_type: str = "text/event-stream") -> None:
        self._pieces, self.headers = list(pieces), {"content-type": content_type}

    async def next_bytes(self, seconds: float = 0) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def read(self, most: int = 0) -> bytes:
        return b"".join(self._pieces)

    def close(self) -> None:
        self._pieces = []


def read(response: Sent, num_choices: int = 1) -> Answer:
    """The answer; each choice ends exactly once."""

    async def main() -> Answer:
        stream = RemoteAnswer(cast(Response, response), Counter(), num_choices, 5, lambda text: text)
        answer, ends = Answer(num_choices), 0
        await stream.begin()
        async for event in stream:
            ends += event.finish_reason is not None
            answer.add(event)
        assert ends == num_choices
        return answer

    return asyncio.run(main())


def streamed(*deltas: dict[str, Any], reason: str | None = "stop", done: bool = True) -> Sent:
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if reason is not None:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    events = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    return Sent([*events, b"data: [DONE]\n\n"] if done else events)


@pytest.fixture(scope="module", autouse=True)
def _tokenizer() -> None:
    """Read before anybody looks at the clock."""
    Counter().text("")


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────

WRITTEN = "\ufeffevent: x\n: comment\ndata: é\n\ndata:{1\ndata: 2}\n\nid: 3\nretry: 9\n\ndata: \n\ndata: last"


@settings(deadline=None)
@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 120), max_size=12))
def test_events_are_the_same_however_they_are_cut(line_end: str, cuts: list[int]) -> None:
    whole = WRITTEN.replace("\n", line_end).encode()
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    reader, events = EventReader(), list[str]()
    for start, end in pairwise(places):
        events += reader.feed(whole[start:end])
    events += reader.end()
    assert events == ["é", "{1\n2}", "", "last"]


@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b'data: {"choices": [{"index": 99, "delta": {"content": 7, "tool_calls": [[]]}}]}\n\n')
@example(b'data: {"choices": {"delta": null}, "usage": {"prompt_tokens": -1}}\n\ndata: [DONE]\n\n')
@example(b"data: " + b"[" * 100_000)
def test_garbage_fails_the_offering_and_nothing_else(garbage: bytes) -> None:
    with pytest.raises(OfferingFailedError):
        read(Sent([garbage]))


NAMES = (
    *("index", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "id", "text", "type"),
    *("finish_reason", "thinking", "usage", "prompt_tokens", "completion_tokens", "error", "object"),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "stop", "x", "{}", "thinking", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"choices": st.lists(json_values, max_size=3), "usage": json_values}), max_size=5)
)
def test_chunks_of_any_shape_make_an_answer_or_fail_the_offering(chunks: list[dict[str, Any]]) -> None:
    events = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    try:
        answer = read(Sent([*events, b"data: [DONE]\n\n"]))
    except OfferingFailedError:
        return
    assert answer.choices[0].finish_reason is not None
    assert all(is_tool_call_id(call.id) for call in answer.choices[0].tool_calls)


# ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "done", "expected"),
    [
        ("stop", False, "stop"),
        (None, True, "stop"),
        (None, False, "error"),
        ("max_tokens", True, "length"),
        ("content_filter", True, "stop"),
        ("something new", True, "stop"),
        ("error", True, "error"),
    ],
)
def test_ends_are_told_in_our_words(reason: str | None, done: bool, expected: str) -> None:
    answer = read(streamed({"content": "x"}, reason=reason, done=done))
    assert answer.choices[0].finish_reason == expected


def test_a_server_that_does_not_stream_answers_all_the_same() -> None:
    call = {"id": "call_1", "function": {"name": "f", "arguments": {"a": 1}}}
    message = {"role": "assistant", "content": "Hm.", "tool_calls": [call]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 3}}
    choice = read(Sent([json.dumps(body).encode()], "application/json; charset=utf-8")).choices[0]
    assert (choice.text, choice.finish_reason) == ("Hm.", "tool_calls")
    assert [(made.name, made.arguments) for made in choice.tool_calls] == [("f", '{"a": 1}')]


# ── tool calls ──────────────────────────────────────────────────────────────────────────────────────────────────────


def fragment(index: Any = 0, id_: Any = None, name: Any = None, arguments: Any = None) -> dict[str, Any]:
    given = {"index": index, "id": id_, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [{key: value for key, value in given.items() if value is not None}]}


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(
            [fragment(0, "a", "f", "{}"), fragment(1, "b", "g", '{"x":'), fragment(1, None, None, "1}")], id="by index"
        ),
        pytest.param([fragment(0, "a", "f", "{}"), fragment(0, "b", "g", '{"x":1}')], id="all of index 0"),
        pytest.param([fragment(None, "a", "f", "{}"), fragment(None, "b", "g", '{"x":1}')], id="without index"),
        pytest.param([fragment(0, "", "f", "{}"), fragment(0, "", "g", '{"x":1}')], id="without ids"),
        pytest.param(
            [fragment(0, "a", "f", "{}"), fragment(1, "b", "g", '{"x"'), fragment(1, "b", "g", ":1}")],
            id="ids and names in each fragment",
        ),
        pytest.param(
            [
                fragment(1, "b", "g", ""),
                fragment(0, "a", "f", "{"),
                fragment(1, arguments='{"x":1}'),
                fragment(0, arguments="}"),
            ],
            id="in turns",
        ),
    ],
)  # fmt: skip
def test_calls_are_told_apart(deltas: list[dict[str, Any]]) -> None:
    choice = read(streamed(*deltas)).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert sorted((call.name, call.arguments) for call in choice.tool_calls) == [("f", "{}"), ("g", '{"x":1}')]
    assert len({call.id for call in choice.tool_calls}) == 2


# ── counts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_where_no_blank_comes_a_piece_is_not_counted_with_all_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counter, texts = Counter(), list[str]()
    count = counter.text

    def text(given: str) -> int:
        texts.append(given)
        return count(given)

    monkeypatch.setattr(counter, "text", text)
    running = RunningCount(counter)
    written = "西北风沿着罗讷河谷吹来，" * 300
    for at in range(0, len(written), 2):
        running.add(written[at : at + 2])
    assert sum(map(len, texts)) < 300 * len(texts)
    whole = count(written)
    assert whole <= running.total <= 1.05 * whole


def test_while_choices_end_their_sum_is_what_the_server_counted() -> None:
    """Whoever hangs up between two ends pays for no token twice."""

    async def main() -> None:
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": i, "delta": {"content": "wind"}, "finish_reason": "stop"}]} for i in range(3)
        ]
        chunks.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 30}})
        events = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
        response = cast(Response, Sent([*events, b"data: [DONE]\n\n"]))
        stream = RemoteAnswer(response, Counter(), 3, 5, lambda text: text)
        await stream.begin()
        outputs, sums = [0, 0, 0], []
        async for event in stream:
            outputs[event.index] += event.num_tokens
            if event.usage is not None:
                outputs[event.index] = event.usage.output
                sums.append(sum(outputs))
        assert sums == [30, 30, 30]

    asyncio.run(main())


@settings(deadline=None)
@given(st.lists(st.sampled_from(["The ", "mistral", " blows", "\n", "é", "日本", " " * 9, "north-west"]), max_size=60))
def test_a_text_in_pieces_counts_about_as_much_as_in_one(pieces: list[str]) -> None:
    counter = Counter()
    running = RunningCount(counter)
    added = [running.add(piece) for piece in pieces]
    whole = counter.text("".join(pieces))
    assert all(more >= 0 for more in added)
    assert sum(added) == running.total
    assert whole <= running.total + 1
    assert running.total <= 1.2 * whole + 3
