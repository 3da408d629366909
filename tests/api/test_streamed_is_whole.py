"""A streamed answer, put together again, is the whole answer to the same request: for any request."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.live import LiveServer, serve, write_spm_model, write_tekken_model
from tests.api.raw import CHAT, events_of, post

#: What an answer says in order: ("text" or "thinking", what).
Said = list[tuple[str, str]]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"wind": {"enum": ["mistral", "marin"]}, "strong": {"type": "boolean"}},
                "required": required,
                "additionalProperties": False,
            },
        },
    }
    for name, required in (("get_speed", ["wind"]), ("get_direction", []))
]
SCHEMA = {
    "type": "object",
    "properties": {"wind": {"enum": ["mistral", "marin"]}, "gusts": {"type": "array", "items": {"type": "boolean"}}},
    "required": ["wind", "gusts"],
    "additionalProperties": False,
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
documents = st.lists(st.fixed_dictionaries({"text": st.just("The mistral blows. ") | texts}), min_size=1, max_size=3)
formats = st.sampled_from(
    [{"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}]
)
thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Well:"}], "closed": False}


@st.composite
def conversations(draw: st.DrawFn, model: str) -> list[dict[str, Any]]:
    """A user's messages, and perhaps the beginning of the answer."""
    asked = draw(st.lists(texts, min_size=1, max_size=2))
    messages: list[dict[str, Any]] = [{"role": "user", "content": text} for text in asked]
    beginnings = [None, "The wind", *([[thought]] if model == "v13" else [])]
    begun = draw(st.sampled_from(beginnings))
    return messages if begun is None else [*messages, {"role": "assistant", "content": begun, "prefix": True}]


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Any request that is answered, in a time that a test can wait for, in the same way each time."""
    model = draw(st.sampled_from(["small", "v11", "v13"]))
    body: dict[str, Any] = {"model": model, "max_tokens": draw(st.integers(1, 30))}
    body |= draw(st.just({"temperature": 0}) | st.builds(lambda seed: {"random_seed": seed}, st.integers(0, 2**40)))
    kind = draw(st.sampled_from(["free", "format", "tools", "quotes"]))
    # A prefix that a grammar does not allow is refused: free answers alone have one.
    body["messages"] = draw(conversations(model)) if kind == "free" else [{"role": "user", "content": draw(texts)}]
    if kind == "format":
        body["response_format"] = draw(formats)
    if kind == "tools":
        body["tools"], body["tool_choice"] = TOOLS, draw(st.sampled_from(["auto", "any", "none"]))
        body["parallel_tool_calls"] = draw(st.booleans())
    if kind == "quotes":
        body["response_format"] = {"type": "quotes", "free_text": draw(st.booleans())}
        body["documents"] = draw(documents)
    body["n"] = draw(st.integers(1, 2))
    if kind in ("free", "tools"):  # where else a grammar says where the answer ends, they have no effect
        body["stop"] = draw(st.lists(st.sampled_from(["e", "th", " ", "\n", '"']), max_size=2))
    body["logprobs"], body["prompt_logprobs"] = draw(st.booleans()), draw(st.booleans())
    return body | ({"top_logprobs": 2} if body["logprobs"] else {})


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """In int8 a token does not depend on how the engine cuts the same prompts into steps; in bfloat16 it may."""
    folder = tmp_path_factory.mktemp("models")
    models = {"small": write_spm_model(folder / "small")}
    models |= {name: write_tekken_model(folder / name, int(name[1:])) for name in ("v11", "v13")}
    arguments = [f"--model={name}={place}" for name, place in models.items()]
    with serve(*arguments, "--kv-memory=128MiB", "--quantization=int8", home=tmp_path_factory.mktemp("home")) as live:
        yield live


@given(body=requests())
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_streamed_answer_is_the_whole_answer(exact: LiveServer, body: dict[str, Any]) -> None:
    ask_both_ways(exact, body)


def ask_both_ways(server: LiveServer, body: dict[str, Any]) -> None:
    """Asks for the whole answer and for its stream, and compares all there is to compare."""
    whole = post(server, CHAT, body)
    streamed = post(server, CHAT, {**body, "stream": True})
    assert whole.status == streamed.status == 200, (whole.body, streamed.body)
    chunks = list(events_of(streamed.body))
    for choice in whole.json["choices"]:
        of_choice = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == choice["index"]]
        assert_same(choice, of_choice)
    for count in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert chunks[-1]["usage"][count] == whole.json["usage"][count]


def assert_same(whole: dict[str, Any], streamed: list[dict[str, Any]]) -> None:
    """One choice of both: ids of tool calls may differ, and probabilities in what the hardware rounds."""
    message = whole["message"]
    assert said([message["content"]]) == said([choice["delta"]["content"] for choice in streamed])
    calls = [call for choice in streamed for call in choice["delta"].get("tool_calls", [])]
    assert without_ids(calls) == without_ids(message["tool_calls"] or [])
    assert streamed[-1]["finish_reason"] == whole["finish_reason"]
    assert streamed[-1]["delta"].get("quotes") == message.get("quotes")
    for name in ("logprobs", "prompt_logprobs"):
        scores = [score for choice in streamed for score in choice.get(name, {"content": []})["content"]]
        assert_same_scores(whole.get(name, {"content": []})["content"], scores)


def said(contents: list[Any]) -> Said:
    """What contents, or deltas of one, say, neighbours of one kind joined."""
    chunks = [chunk for content in contents for chunk in ([content] if isinstance(content, str) else content)]
    pieces = [("text", chunk) if isinstance(chunk, str) else piece_of(chunk) for chunk in chunks]
    said_something = [(kind, text) for kind, text in pieces if text]
    by_kind = groupby(said_something, lambda piece: piece[0])
    return [(kind, "".join(text for _, text in group)) for kind, group in by_kind]


def piece_of(chunk: dict[str, Any]) -> tuple[str, str]:
    if chunk["type"] == "thinking":
        return "thinking", "".join(part["text"] for part in chunk["thinking"])
    return "text", chunk["text"]


def without_ids(calls: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    return [(call["index"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


def assert_same_scores(whole: list[dict[str, Any]], streamed: list[dict[str, Any]]) -> None:
    for field in ("token", "token_id", "bytes"):
        assert [score[field] for score in streamed] == [score[field] for score in whole]
    numbers = [score["logprob"] for score in whole]
    assert [score["logprob"] for score in streamed] == pytest.approx(numbers, abs=0.05)
