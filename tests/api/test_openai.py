"""OpenAI's own Python client against a live server: chat, tools, embeddings, completions and responses."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from openai import AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError, OpenAI, UnprocessableEntityError
from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseFunctionToolCall
from pydantic import BaseModel, ConfigDict

from tests.api.live import LiveServer
from tests.api.raw import CHAT, post

CHAT_MODELS = ["small", "tekken", "v11", "v13"]
QUESTION: list[Any] = [{"role": "user", "content": "Which wind blows today?"}]


class Forecast(BaseModel):
    """Random weights write it to its end: there is no free text in it, and no member beside these."""

    model_config = ConfigDict(extra="forbid")
    wind: Literal["mistral", "tramontane"]
    strong: bool


PARAMETERS = {
    "type": "object",
    "properties": {"wind": {"type": "string", "enum": ["mistral", "marin"]}},
    "required": ["wind"],
    "additionalProperties": False,
}


def tool(name: str) -> Any:
    function = {"name": name, "description": "Asks.", "strict": True, "parameters": PARAMETERS}
    return {"type": "function", "function": function}


TOOLS = [tool("get_speed"), tool("get_direction")]
RESPONSE_TOOLS: list[Any] = [{"type": "function", **tool["function"]} for tool in TOOLS]


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(api_key=server.key, base_url=f"{server.url}/v1", max_retries=0, timeout=60) as client:
        yield client


# ── chat ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_stream_says_what_the_whole_answer_says(client: OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "messages": QUESTION, "max_completion_tokens": 20, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens <= 20


def test_the_async_client_gets_the_same_answer(server: LiveServer, client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "v11", "messages": QUESTION, "max_tokens": 12, "temperature": 0}

    async def ask() -> str:
        async with AsyncOpenAI(api_key=server.key, base_url=f"{server.url}/v1", max_retries=0) as other:
            stream = await other.chat.completions.create(**asked, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(ask()) == client.chat.completions.create(**asked).choices[0].message.content


def test_the_stream_helper_gathers_text_and_usage(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "small", "messages": QUESTION, "max_tokens": 24, "seed": 4}
    text = client.chat.completions.create(**asked).choices[0].message.content or ""
    asked["stop"] = text[8:12]  # the helper raises for an answer that was cut
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        gathered = stream.get_final_completion()
    assert "content.delta" in kinds
    whole = client.chat.completions.create(**asked)
    assert gathered.choices[0].message.content == whole.choices[0].message.content
    assert gathered.usage == whole.usage


def test_the_stream_helper_gathers_tool_calls(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="v11",
        messages=QUESTION,
        tools=TOOLS,
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=200,
    ) as stream:
        kinds = [event.type for event in stream]
        gathered = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    (call,) = gathered.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments["wind"] in ("mistral", "marin")


@pytest.mark.parametrize("model", ["small", "tekken", "v11"])
def test_a_pydantic_model_is_filled_in(client: OpenAI, model: str) -> None:
    reply = client.chat.completions.parse(
        model=model, messages=QUESTION, response_format=Forecast, max_completion_tokens=200
    )
    assert isinstance(reply.choices[0].message.parsed, Forecast)


def test_the_same_seed_gives_the_same_answer(client: OpenAI) -> None:
    def ask(seed: int) -> str | None:
        reply = client.chat.completions.create(model="small", messages=QUESTION, max_tokens=12, seed=seed)
        return reply.choices[0].message.content

    assert ask(1) == ask(1) != ask(2)


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_logit_bias_forces_a_token(server: LiveServer, client: OpenAI, model: str) -> None:
    token = post(server, "/tokenize", {"model": model, "prompt": "x"}).json["tokens"][-1]
    reply = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=5, logit_bias={str(token): 100}, temperature=0
    )
    assert (reply.choices[0].message.content or "").replace(" ", "") == "xxxxx"


def test_logit_bias_forbids_a_token(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "small", "messages": QUESTION, "max_tokens": 1, "temperature": 0}
    scored = client.chat.completions.create(**asked, logprobs=True).choices[0]
    assert scored.logprobs is not None
    chosen = scored.logprobs.content[0].token_id  # type: ignore[index, attr-defined]
    other = client.chat.completions.create(**asked, logit_bias={str(chosen): -100}).choices[0]
    assert other.message.content != scored.message.content


def test_logprobs_are_read(client: OpenAI) -> None:
    reply = client.chat.completions.create(
        model="small", messages=QUESTION, max_tokens=4, logprobs=True, top_logprobs=2
    )
    assert reply.choices[0].logprobs is not None
    scores = reply.choices[0].logprobs.content or []
    assert len(scores) == 4
    assert all(len(score.top_logprobs) == 2 and score.logprob <= 0 for score in scores)


# ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def call_of(reply: ChatCompletion) -> Any:
    """The first call of an answer that ended with calls."""
    ended = [choice for choice in reply.choices if choice.finish_reason == "tool_calls"]
    assert ended, "random weights may think instead, but not in all of four answers"
    assert ended[0].message.tool_calls
    return ended[0].message.tool_calls[0]


@pytest.mark.parametrize("model", ["small", "v11", "v13"])
def test_the_named_tool_is_called(client: OpenAI, model: str) -> None:
    named: Any = {"type": "function", "function": {"name": "get_direction"}}
    reply = client.chat.completions.create(
        model=model, messages=QUESTION, tools=TOOLS, tool_choice=named, parallel_tool_calls=False, n=4, max_tokens=100
    )
    call = call_of(reply)
    assert call.type == "function"
    assert call.function.name == "get_direction"
    assert json.loads(call.function.arguments)["wind"] in ("mistral", "marin")


# Clients make ids of their own, and bring those of other servers.
IDS = ["call_62136354", "7f7a2b1e-0f4a-4a9e-8a53-9d3f51f5a0c1", "abcdefghi", "x", "chatcmpl-tool-" + "0" * 64, "ü 1"]


@pytest.mark.parametrize("call_id", IDS)
@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_tool_call_id_may_have_any_shape(client: OpenAI, model: str, call_id: str) -> None:
    call = {"id": call_id, "type": "function", "function": {"name": "get_speed", "arguments": '{"wind": "marin"}'}}
    messages: list[Any] = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "7 km/h"},
    ]
    reply = client.chat.completions.create(model=model, messages=messages, tools=TOOLS, max_tokens=2)
    assert reply.usage is not None
    assert reply.usage.completion_tokens <= 2


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_parallel_calls_with_foreign_ids_find_their_results(client: OpenAI, model: str) -> None:
    ids = IDS[:3]
    calls = [
        {"id": call_id, "type": "function", "function": {"name": "get_speed", "arguments": "{}"}} for call_id in ids
    ]
    results = [{"role": "tool", "tool_call_id": call_id, "content": "7"} for call_id in reversed(ids)]
    messages: list[Any] = [*QUESTION, {"role": "assistant", "tool_calls": calls}, *results]
    assert client.chat.completions.create(model=model, messages=messages, tools=TOOLS, max_tokens=2).choices


# ── what clients' suites send ───────────────────────────────────────────────────────────────────────────────────────

CALLED: dict[str, Any] = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "get_speed", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "7"}
CONVERSATIONS: dict[str, list[Any]] = {
    "two system messages": [{"role": "system", "content": "A."}, {"role": "system", "content": "B."}, *QUESTION],
    "two user messages": [*QUESTION, *QUESTION],
    "two assistant messages": [*QUESTION, *[{"role": "assistant", "content": "Yes."}] * 2, *QUESTION],
    "user after tool": [*QUESTION, CALLED, RESULT, *QUESTION],
    "system last": [*QUESTION, {"role": "system", "content": "Be brief."}],
    "developer": [{"role": "developer", "content": "Be brief."}, *QUESTION],
    "empty lists": [{"role": "user", "content": []}, {"role": "assistant", "content": []}, *QUESTION],
    "empty text": [{"role": "user", "content": ""}],
    "chunks": [{"role": "user", "content": [{"type": "text", "text": "Which"}, {"type": "text", "text": " wind?"}]}],
    "assistant first": [{"role": "assistant", "content": "Hello."}, *QUESTION],
    "calls of null content": [*QUESTION, {**CALLED, "content": None}, RESULT],
    "a result in chunks": [*QUESTION, CALLED, {**RESULT, "content": [{"type": "text", "text": "7"}]}],
    "names": [{"role": "user", "name": "ada", "content": "Hi"}],
    "nulls": [{"role": "user", "content": "Hi", "name": None, "tool_calls": None, "tool_call_id": None}],
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("model", CHAT_MODELS)
def test_conversations_of_any_shape_are_answered(client: OpenAI, model: str, messages: list[Any]) -> None:
    reply = client.chat.completions.create(model=model, messages=messages, max_tokens=2)
    assert reply.choices[0].message.role == "assistant"


CHAT_FIELDS = [
    "temperature", "top_p", "top_k", "max_tokens", "min_tokens", "stop", "random_seed", "seed", "n", "presence_penalty",
    "frequency_penalty", "repetition_penalty", "logit_bias", "stream", "metadata", "max_completion_tokens", "logprobs",
    "top_logprobs", "prompt_logprobs", "top_prompt_logprobs", "response_format", "tools", "tool_choice",
    "parallel_tool_calls", "documents", "prediction", "reasoning_effort", "prompt_mode", "safe_prompt", "guardrails",
    "stream_options", "user", "store", "service_tier", "prompt_cache_key",
]  # fmt: skip


def test_null_means_that_a_field_is_absent(server: LiveServer) -> None:
    body: dict[str, Any] = {"model": "v11", "messages": QUESTION, **dict.fromkeys(CHAT_FIELDS)}
    # Only so many tokens, so that the test is over soon; then each of the others alone, and that one too.
    reply = post(server, CHAT, {**body, "max_tokens": 2})
    assert reply.status == 200, reply.body
    assert "ignored_fields" not in server.log_line_of(reply.headers["mistral-correlation-id"])
    assert post(server, CHAT, {**body, "max_completion_tokens": 2}).json["usage"]["completion_tokens"] <= 2


def test_nulls_deep_in_a_request_are_absent_too(server: LiveServer) -> None:
    tool_with_nulls = {"type": "function", "function": {"name": "f", "description": None, "parameters": None}}
    body: dict[str, Any] = {"model": "v11", "messages": QUESTION, "max_tokens": 2, "tools": [tool_with_nulls]}
    schema = {"name": "a", "schema": {"type": "object"}, "description": None, "strict": None}
    formats = ({"type": "text", "json_schema": None}, {"type": "json_schema", "json_schema": schema})
    for response_format in formats:
        reply = post(server, CHAT, {**body, "response_format": response_format})
        assert reply.status == 200, reply.body


# ── embeddings and models ───────────────────────────────────────────────────────────────────────────────────────────


def test_embeddings_in_base64_are_the_same_floats(client: OpenAI, server: LiveServer) -> None:
    asked: dict[str, Any] = {"model": "embedder", "input": ["mistral", "marin"]}
    unpacked = [entry.embedding for entry in client.embeddings.create(**asked).data]  # base64, unless asked
    floats = [entry.embedding for entry in client.embeddings.create(**asked, encoding_format="float").data]
    assert unpacked == [pytest.approx(vector, abs=1e-6) for vector in floats]
    encoded = post(server, "/v1/embeddings", {**asked, "encoding_format": "base64"}).json["data"][0]["embedding"]
    assert list(struct.unpack("<64f", base64.b64decode(encoded))) == pytest.approx(floats[0], abs=1e-6)


def test_dimensions_shorten_embeddings(client: OpenAI) -> None:
    vector = client.embeddings.create(model="embedder", input="mistral", dimensions=8).data[0].embedding
    assert len(vector) == 8
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)


def test_tokens_are_embedded_like_their_text(client: OpenAI, server: LiveServer) -> None:
    tokens = post(server, "/tokenize", {"model": "small", "prompt": "mistral"}).json["tokens"]
    by_text = client.embeddings.create(model="small", input="mistral").data[0].embedding
    assert client.embeddings.create(model="small", input=tokens).data[0].embedding == pytest.approx(by_text, abs=1e-3)
    assert len(client.embeddings.create(model="small", input=[tokens, tokens]).data) == 2


def test_models_are_listed_and_found(client: OpenAI) -> None:
    listed = {model.id for model in client.models.list()}
    assert {"small", "v11", "embedder", "org/slashed"} <= listed
    found = client.models.retrieve("org/slashed")
    assert (found.id, found.object, found.owned_by) == ("org/slashed", "model", "tramontane")
    assert found.created > 0


def test_a_card_says_how_embeddings_are_made(client: OpenAI) -> None:
    cards = {model.id: model.to_dict() for model in client.models.list()}
    assert "mean" in str(cards["small"]["embedding_pooling"])
    assert "last token" in str(cards["embedder"]["embedding_pooling"])


# ── completions, the older form ─────────────────────────────────────────────────────────────────────────────────────

TEXT_MODELS = ["small", "tekken", "v11"]


@pytest.mark.parametrize("model", TEXT_MODELS)
def test_a_text_is_continued_and_echoed(client: OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "prompt": "The wind blows", "max_tokens": 6, "temperature": 0}
    plain = client.completions.create(**asked)
    assert plain.object == "text_completion"
    assert plain.usage is not None
    assert plain.usage.completion_tokens <= 6
    echoed = client.completions.create(**asked, echo=True)
    assert echoed.choices[0].text == "The wind blows" + plain.choices[0].text


@pytest.mark.parametrize("model", TEXT_MODELS)
def test_logprobs_say_where_each_token_stands(client: OpenAI, model: str) -> None:
    for echo in (False, True):
        choice = client.completions.create(
            model=model, prompt="The wind blows", max_tokens=4, logprobs=2, echo=echo, seed=3
        ).choices[0]
        scores = choice.logprobs
        assert scores is not None
        assert scores.tokens
        assert len(scores.tokens) == len(scores.token_logprobs or []) == len(scores.text_offset or [])
        assert len(scores.top_logprobs or []) == len(scores.tokens)
        assert all(len(top) == 2 for top in scores.top_logprobs or [] if top is not None)
        if echo:
            assert "".join(scores.tokens).startswith("The wind blows")
            assert scores.text_offset is not None
            assert scores.text_offset[0] == 0


@pytest.mark.parametrize("model", TEXT_MODELS)
def test_a_prompt_may_be_tokens(client: OpenAI, server: LiveServer, model: str) -> None:
    tokens = post(server, "/tokenize", {"model": model, "prompt": "The wind"}).json["tokens"]
    asked: dict[str, Any] = {"model": model, "max_tokens": 6, "temperature": 0}
    by_tokens = client.completions.create(**asked, prompt=tokens)
    assert by_tokens.choices[0].text == client.completions.create(**asked, prompt="The wind").choices[0].text
    assert len(client.completions.create(**asked, prompt=[tokens, tokens]).choices) == 2


def test_several_prompts_have_n_choices_each(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "v11", "prompt": ["The wind", "A storm"], "max_tokens": 3, "n": 2, "echo": True}
    whole = client.completions.create(**asked)
    chunks = list(client.completions.create(**asked, stream=True))
    for index, prompt in enumerate(["The wind", "The wind", "A storm", "A storm"]):
        assert whole.choices[index].index == index
        assert whole.choices[index].text.startswith(prompt)
        pieces = [chunk.choices[0].text for chunk in chunks if chunk.choices[0].index == index]
        assert "".join(pieces).startswith(prompt)
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == chunks[-1].usage.prompt_tokens  # type: ignore[union-attr]


def test_a_later_prompt_that_is_refused_fails_in_its_stream(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "small", "max_tokens": 2, "seed": 1, "stream": True}
    good, too_long = [100, 101], [100] * 5000
    chunks = list(client.completions.create(**asked, prompt=[good, too_long, good]))
    ends = {chunk.choices[0].index: chunk.choices[0].finish_reason for chunk in chunks}
    assert ends[0] in ("length", "stop")
    assert (ends[1], ends[2]) == ("error", "error")
    with pytest.raises(BadRequestError):
        client.completions.create(**asked, prompt=[too_long, good])


@pytest.mark.parametrize("echo", [False, True])
def test_streamed_continuations_add_up(client: OpenAI, echo: bool) -> None:
    asked: dict[str, Any] = {
        "model": "small", "prompt": "The wind", "max_tokens": 6, "temperature": 0, "echo": echo, "logprobs": 1,
    }  # fmt: skip
    whole = client.completions.create(**asked)
    chunks = list(client.completions.create(**asked, stream=True))
    choice, pieces = whole.choices[0], [chunk.choices[0] for chunk in chunks]
    assert "".join(piece.text for piece in pieces) == choice.text
    assert pieces[-1].finish_reason == choice.finish_reason
    tokens = [token for piece in pieces if piece.logprobs for token in piece.logprobs.tokens or []]
    offsets = [place for piece in pieces if piece.logprobs for place in piece.logprobs.text_offset or []]
    assert choice.logprobs is not None
    assert tokens == choice.logprobs.tokens
    assert offsets == choice.logprobs.text_offset
    assert chunks[-1].usage == whole.usage


def test_a_suffix_makes_it_fill_in_the_middle(client: OpenAI) -> None:
    reply = client.completions.create(model="small", prompt="def f(", suffix="return", max_tokens=4)
    assert reply.choices[0].finish_reason in ("length", "stop")


# ── responses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_response_is_a_message(client: OpenAI) -> None:
    response = client.responses.create(model="small", input="Which wind?", max_output_tokens=6, instructions="Brief.")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].type == "message"
    assert response.output_text
    assert response.usage is not None
    assert response.usage.output_tokens == 6
    assert response.usage.total_tokens == response.usage.input_tokens + 6


def without_ids(response: Response) -> Any:
    """What a response says, without ids and moments."""
    output = [item.model_dump(exclude={"id", "call_id"}) for item in response.output]
    return output, response.usage and response.usage.output_tokens, response.status, response.incomplete_details


@pytest.mark.parametrize("model", ["small", "v11"])
def test_events_add_up_to_the_response(client: OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "input": "Which wind?", "max_output_tokens": 12, "temperature": 0}
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == last.response.output_text
    assert without_ids(last.response) == without_ids(client.responses.create(**asked))


def test_the_stream_helper_gathers_a_response(client: OpenAI) -> None:
    format_: Any = {"type": "json_schema", "name": "forecast", "schema": Forecast.model_json_schema(), "strict": True}
    with client.responses.stream(
        model="v11", input="Which wind?", text={"format": format_}, max_output_tokens=400
    ) as stream:
        kinds = [event.type for event in stream]
        gathered = stream.get_final_response()
    assert kinds[-1] == "response.completed"
    Forecast.model_validate_json(gathered.output_text)


def test_a_response_is_parsed(client: OpenAI) -> None:
    response = client.responses.parse(
        model="small", input=[{"role": "user", "content": "Wind?"}], text_format=Forecast, max_output_tokens=200
    )
    assert isinstance(response.output_parsed, Forecast)


@pytest.mark.parametrize("model", ["small", "v11"])
def test_function_calls_and_their_outputs_go_round(client: OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "tools": RESPONSE_TOOLS, "max_output_tokens": 200}
    talk: list[Any] = [{"role": "user", "content": "How fast?"}]
    first = client.responses.create(**asked, input=talk, tool_choice="required", parallel_tool_calls=False)
    (call,) = first.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert json.loads(call.arguments)["wind"] in ("mistral", "marin")
    assert first.status == "completed"
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "7 km/h"}
    asked["max_output_tokens"] = 4
    second = client.responses.create(**asked, input=[*talk, *first.output, output], tool_choice="none")
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_named_function_is_called_and_streamed_whole(client: OpenAI) -> None:
    events = list(
        client.responses.create(
            model="v11",
            input="How fast?",
            tools=RESPONSE_TOOLS,
            tool_choice={"type": "function", "name": "get_speed"},
            parallel_tool_calls=False,
            max_output_tokens=200,
            stream=True,
        )
    )
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(done) == 1
    assert done[0].name == "get_speed"
    assert "".join(deltas) == done[0].arguments
    assert events[-1].type == "response.completed"


def test_the_responses_api_keeps_nothing(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="keeps no responses"):
        client.responses.create(model="small", input="And then?", previous_response_id="resp_1")


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_errors_are_those_of_the_client_library(server: LiveServer, client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="'small'") as unknown:
        client.chat.completions.create(model="smal", messages=QUESTION)
    assert unknown.value.code == "1500"
    assert unknown.value.param == "model"
    with pytest.raises(UnprocessableEntityError) as invalid:
        client.chat.completions.create(model="small", messages=QUESTION, temperature=3)
    body: Any = invalid.value.body
    assert body["message"]["detail"][0]["loc"] == ["body", "temperature"]
    named: Any = {"type": "function", "function": {"name": "none_such"}}
    with pytest.raises(BadRequestError, match="no tool called 'none_such'"):
        client.chat.completions.create(model="small", messages=QUESTION, tools=TOOLS, tool_choice=named)
    stranger = OpenAI(api_key="wrong", base_url=f"{server.url}/v1", max_retries=0)
    with stranger, pytest.raises(AuthenticationError):
        stranger.models.list()
