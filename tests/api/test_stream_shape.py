"""The stream that every client reads: each sentence of the reference, held against the bytes of live answers."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest

from tests.api.live import LiveServer
from tests.api.raw import CHAT, Reply, events_of, post

MODELS = ["small", "v11", "v13"]
QUESTION = [{"role": "user", "content": "Which wind blows?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_speed",
        "parameters": {
            "type": "object",
            "properties": {"wind": {"enum": ["mistral", "marin"]}},
            "required": ["wind"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {"strong": {"type": "boolean"}},
            "required": ["strong"],
            "additionalProperties": False,
        },
    },
}
# What the streams below ask for; each sentence is held against all of them.
ASKED: dict[str, dict[str, Any]] = {
    "text": {"max_tokens": 12},
    "an answer that ends": {"response_format": SCHEMA, "max_tokens": 200},
    "a length that cuts": {"max_tokens": 1},
    "two answers": {"n": 2, "max_tokens": 8},
    "logprobs": {"logprobs": True, "top_logprobs": 2, "prompt_logprobs": True, "max_tokens": 6},
    "calls": {"tools": [TOOL], "tool_choice": "any", "n": 8, "max_tokens": 200},
    "stream options": {"stream_options": {"include_usage": True}, "max_tokens": 4},
    "a prefix": {"max_tokens": 4, "messages": [*QUESTION, {"role": "assistant", "content": "The", "prefix": True}]},
}
THINKING_ASKED = {
    "max_tokens": 12,
    "messages": [
        *QUESTION,
        {
            "role": "assistant",
            "prefix": True,
            "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Well:"}], "closed": False}],
        },
    ],
}
Chunks = list[dict[str, Any]]


def ask(server: LiveServer, model: str, asked: dict[str, Any]) -> Reply:
    body = {"model": model, "messages": QUESTION, "random_seed": 5, **asked, "stream": True}
    reply = post(server, CHAT, body)
    assert reply.status == 200, reply.body
    return reply


@pytest.fixture(scope="module")
def replies(server: LiveServer) -> dict[tuple[str, str], Reply]:
    """Every stream, by model and what was asked."""
    streams = {(model, name): ask(server, model, asked) for model in MODELS for name, asked in ASKED.items()}
    return streams | {("v13", "thoughts"): ask(server, "v13", THINKING_ASKED)}


@pytest.fixture(params=[*((m, n) for m in MODELS for n in ASKED), ("v13", "thoughts")], ids=" ".join)
def reply(replies: dict[tuple[str, str], Reply], request: pytest.FixtureRequest) -> Reply:
    """One of the streams."""
    return replies[request.param]


@pytest.fixture
def chunks(reply: Reply) -> Chunks:
    """Its chunks."""
    return list(events_of(reply.body))


def by_choice(chunks: Chunks) -> list[list[dict[str, Any]]]:
    """The choices of the chunks, those of each answer by themselves."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return [[c for c in choices if c["index"] == i] for i in sorted({c["index"] for c in choices})]


def test_the_content_type_is_exactly_that_of_an_event_stream(reply: Reply) -> None:
    assert reply.headers["content-type"] == "text/event-stream"


def test_there_is_only_data_and_then_done(reply: Reply) -> None:
    assert list(events_of(reply.body))
    assert reply.body.count(b"[DONE]") == 1
    assert re.search(rb"^(event|id|retry|:)", reply.body, re.MULTILINE) is None


def test_every_chunk_says_whose_it_is(chunks: Chunks) -> None:
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len(chunks[0]["id"]) == 32
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)


def test_the_first_delta_has_the_role_and_an_empty_text(chunks: Chunks) -> None:
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    for choices in by_choice(chunks):
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}


def test_the_role_stands_nowhere_else(chunks: Chunks) -> None:
    for choices in by_choice(chunks):
        assert all("role" not in choice["delta"] for choice in choices[1:])


def test_finish_reason_is_in_every_chunk_and_null_until_the_last(chunks: Chunks) -> None:
    for choices in by_choice(chunks):
        assert all(choice["finish_reason"] is None for choice in choices[:-1])
        assert choices[-1]["finish_reason"] in ("stop", "length", "tool_calls")


def test_usage_is_absent_until_the_last_chunk(chunks: Chunks) -> None:
    assert all("usage" not in chunk for chunk in chunks[:-1])
    assert chunks[-1]["usage"].keys() >= {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_the_last_chunk_has_an_empty_text_the_reason_and_a_choice(chunks: Chunks) -> None:
    last = chunks[-1]["choices"]
    assert len(last) == 1
    assert last[0]["delta"]["content"] == ""
    assert last[0]["finish_reason"] is not None


def test_every_delta_has_a_content_that_is_no_null(chunks: Chunks) -> None:
    for chunk in chunks:
        assert isinstance(chunk["choices"][0]["delta"]["content"], str | list)
        assert chunk["choices"][0]["delta"].get("tool_calls", ()) is not None


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_call_goes_whole_in_one_chunk(replies: dict[tuple[str, str], Reply], model: str) -> None:
    answers = by_choice(list(events_of(replies[model, "calls"].body)))
    ended = [choices for choices in answers if choices[-1]["finish_reason"] == "tool_calls"]
    assert ended
    for choices in ended:
        calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
        assert [call["index"] for call in calls] == list(range(len(calls)))
        assert len({call["id"] for call in calls}) == len(calls)
        for call in calls:
            assert re.fullmatch("[a-zA-Z0-9]{9}", call["id"])
            assert call["type"] == "function"
            assert call["function"]["name"] == "get_speed"
            assert isinstance(call["function"]["arguments"], str)
            assert re.fullmatch(r'\{\s*"wind"\s*:\s*"(mistral|marin)"\s*\}', call["function"]["arguments"])


@pytest.mark.parametrize("model", MODELS)
def test_parallel_calls_go_in_chunks_of_their_own(server: LiveServer, model: str) -> None:
    answers = map(partial(two_calls, server, model), range(40))
    choices = next(filter(None, answers), None)
    assert choices is not None, "forty answers, and none with two calls"
    with_calls = [choice["delta"]["tool_calls"] for choice in choices if "tool_calls" in choice["delta"]]
    if model != "small":  # where each call has control tokens of its own, it is known to be whole before the next
        assert [len(calls) for calls in with_calls] == [1, 1]
    assert [call["index"] for calls in with_calls for call in calls] == [0, 1]
    assert choices[-1]["finish_reason"] == "tool_calls"


def two_calls(server: LiveServer, model: str, seed: int) -> list[dict[str, Any]] | None:
    """The choices of a stream that holds exactly two calls, else None: how many there are is up to the weights."""
    asked = {"tools": [TOOL], "tool_choice": "any", "max_tokens": 100, "random_seed": seed}
    choices = [chunk["choices"][0] for chunk in events_of(ask(server, model, asked).body)]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    return choices if len(calls) == 2 and choices[-1]["finish_reason"] == "tool_calls" else None


def test_thoughts_are_lists_of_thinking_chunks(replies: dict[tuple[str, str], Reply]) -> None:
    deltas = [chunk["choices"][0]["delta"]["content"] for chunk in events_of(replies["v13", "thoughts"].body)]
    thoughts = [delta for delta in deltas if isinstance(delta, list)]
    assert thoughts
    for delta in thoughts:
        (chunk,) = delta
        assert chunk.keys() == {"type", "thinking"}
        assert chunk["type"] == "thinking"
        ((kind, text),) = [tuple(part.values()) for part in chunk["thinking"]]
        assert kind == "text"
        assert text


@pytest.mark.parametrize("model", MODELS)
def test_scores_come_with_their_text(replies: dict[tuple[str, str], Reply], model: str) -> None:
    chunks = list(events_of(replies[model, "logprobs"].body))
    scores = [s for chunk in chunks for s in chunk["choices"][0].get("logprobs", {"content": []})["content"]]
    assert len(scores) == 6
    assert all(len(score["top_logprobs"]) == 2 for score in scores)
    of_prompt = [c["choices"][0]["prompt_logprobs"] for c in chunks if "prompt_logprobs" in c["choices"][0]]
    assert len(of_prompt) == 1
    assert len(of_prompt[0]["content"]) == chunks[-1]["usage"]["prompt_tokens"] - 1


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_that_is_cut_says_so(replies: dict[tuple[str, str], Reply], model: str) -> None:
    chunks = list(events_of(replies[model, "a length that cuts"].body))
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize("model", MODELS)
def test_of_two_answers_only_the_last_chunk_has_the_usage_of_both(
    replies: dict[tuple[str, str], Reply], model: str
) -> None:
    chunks = list(events_of(replies[model, "two answers"].body))
    assert {chunk["choices"][0]["index"] for chunk in chunks} == {0, 1}
    assert chunks[-1]["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize("model", MODELS)
def test_fill_in_the_middle_streams_alike(server: LiveServer, model: str) -> None:
    words = {"prompt": "def f(", "suffix": "return", "max_tokens": 4, "min_tokens": 4}
    body = {"model": model, **words, "stream": True}
    chunks = list(events_of(post(server, "/v1/fim/completions", body).body))
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 4
