"""la Plateforme's own Python client against a live server: whatever it can ask, it is answered as it expects."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, MistralError
from mistralai.client.models import ChatCompletionResponse, CompletionEvent, ToolCall
from pydantic import BaseModel

from tests.api.live import LiveServer

# One model of each form of tool calls: a list of JSON, names and ids, names alone; and each of the two tokenizers.
CHAT_MODELS = ["small", "tekken", "v11", "v13", "v15"]
TOOL_MODELS = ["small", "v11", "v13", "v15"]  # calls of "tekken" look like those of "small", and take longer
QUESTION = [{"role": "user", "content": "Which wind blows today?"}]


class Wind(Enum):
    mistral = "mistral"
    tramontane = "tramontane"


class Forecast(BaseModel):
    """Random weights write it to its end: there is no free text in it."""

    wind: Wind
    strong: bool


def tool(name: str) -> dict[str, Any]:
    """A function whose arguments random weights write to their end."""
    parameters = {
        "type": "object",
        "properties": {"wind": {"enum": ["mistral", "marin"]}},
        "required": ["wind"],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": "Asks.", "parameters": parameters}}


TOOLS = [tool("get_speed"), tool("get_direction")]


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[Mistral]:
    with Mistral(api_key=server.key, server_url=server.url) as client:
        yield client


def text_of(events: list[CompletionEvent]) -> str:
    """What the deltas of a stream with one choice add up to."""
    return "".join(str(event.data.choices[0].delta.content or "") for event in events)


# ── chat ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_chat_is_answered_with_exact_usage(client: Mistral, model: str) -> None:
    reply = client.chat.complete(model=model, messages=QUESTION, max_tokens=8)
    assert reply.model == model
    assert reply.object == "chat.completion"
    assert len(reply.id) == 32
    assert reply.choices[0].message.role == "assistant"
    assert isinstance(reply.choices[0].message.content, str)
    assert reply.choices[0].message.tool_calls is None
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 8


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_stream_says_what_the_whole_answer_says(client: Mistral, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "messages": QUESTION, "max_tokens": 24, "temperature": 0}
    whole = client.chat.complete(**asked)
    with client.chat.stream(**asked) as stream:
        events = list(stream)
    assert text_of(events) == whole.choices[0].message.content
    assert events[-1].data.choices[0].finish_reason == whole.choices[0].finish_reason
    assert events[-1].data.usage.completion_tokens == whole.usage.completion_tokens


def test_the_async_client_gets_the_same_answers(server: LiveServer, client: Mistral) -> None:
    asked: dict[str, Any] = {"model": "v11", "messages": QUESTION, "max_tokens": 24, "temperature": 0}

    async def ask() -> tuple[Any, list[CompletionEvent]]:
        async with Mistral(api_key=server.key, server_url=server.url) as other:
            whole = await other.chat.complete_async(**asked)
            return whole, [event async for event in await other.chat.stream_async(**asked)]

    whole, events = asyncio.run(ask())
    expected = client.chat.complete(**asked).choices[0].message.content
    assert whole.choices[0].message.content == text_of(events) == expected


def test_the_same_random_seed_gives_the_same_answer(client: Mistral) -> None:
    def ask(seed: int) -> object:
        reply = client.chat.complete(model="small", messages=QUESTION, max_tokens=16, random_seed=seed, temperature=1)
        return reply.choices[0].message.content

    assert ask(7) == ask(7)
    assert ask(7) != ask(8)


def test_n_answers_are_n_choices_and_the_prompt_counts_once(client: Mistral) -> None:
    asked: dict[str, Any] = {"model": "small", "messages": QUESTION, "max_tokens": 12}
    one = client.chat.complete(**asked)
    three = client.chat.complete(**asked, n=3, random_seed=1, temperature=1)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in three.choices}) == 3
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 36


@pytest.mark.parametrize("as_list", [False, True])
def test_an_answer_ends_before_its_stop_string(client: Mistral, as_list: bool) -> None:
    asked: dict[str, Any] = {"model": "small", "messages": QUESTION, "max_tokens": 24, "temperature": 0}
    text = str(client.chat.complete(**asked).choices[0].message.content)
    stop = text[10:14]
    reply = client.chat.complete(**asked, stop=[stop, "never said"] if as_list else stop)
    assert reply.choices[0].message.content == text[: text.index(stop)]
    assert reply.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", ["small", "tekken", "v11"])
def test_logprobs_come_for_each_token_of_the_answer(client: Mistral, model: str) -> None:
    # JSON, since in free text random weights also write control tokens, which have a score and no text.
    reply = client.chat.complete(
        model=model,
        messages=QUESTION,
        max_tokens=6,
        logprobs=True,
        top_logprobs=3,
        response_format={"type": "json_object"},
    )
    scores = reply.choices[0].logprobs.content
    assert len(scores) == reply.usage.completion_tokens
    spelled = b"".join(bytes(score.bytes_) for score in scores).decode(errors="replace")
    assert spelled == reply.choices[0].message.content
    for score in scores:
        assert score.logprob <= 0
        assert len(score.top_logprobs) == 3
        best = [other.logprob for other in score.top_logprobs]
        assert best == sorted(best, reverse=True)
        assert best[0] >= score.logprob


def test_logprobs_without_top_ones_have_none(client: Mistral) -> None:
    reply = client.chat.complete(model="small", messages=QUESTION, max_tokens=3, logprobs=True)
    assert [score.top_logprobs or [] for score in reply.choices[0].logprobs.content] == [[], [], []]
    assert not client.chat.complete(model="small", messages=QUESTION, max_tokens=3).choices[0].logprobs


def test_prompt_logprobs_begin_with_the_second_token(client: Mistral) -> None:
    asked: dict[str, Any] = {"model": "small", "messages": QUESTION, "max_tokens": 2}
    reply = client.chat.complete(**asked, prompt_logprobs=True, top_prompt_logprobs=2)
    scores = reply.choices[0].prompt_logprobs.content
    assert len(scores) == reply.usage.prompt_tokens - 1
    assert all(math.isfinite(score.logprob) and len(score.top_logprobs) == 2 for score in scores)
    assert scores[0].token == "[INST]"
    assert scores[-1].token == "[/INST]"


def test_metadata_stands_in_the_log(server: LiveServer, client: Mistral) -> None:
    reply = client.chat.complete(model="small", messages=QUESTION, max_tokens=2, metadata={"team": "winds"})
    assert server.log_line_of(reply.id)["metadata"] == {"team": "winds"}


def test_a_prediction_changes_nothing_of_the_answer(client: Mistral) -> None:
    asked: dict[str, Any] = {"model": "small", "messages": QUESTION, "max_tokens": 12, "temperature": 0}
    predicted = client.chat.complete(**asked, prediction={"type": "content", "content": "Today the mistral blows."})
    assert predicted.choices[0].message.content == client.chat.complete(**asked).choices[0].message.content


def test_safe_prompt_puts_the_documented_sentences_first(client: Mistral) -> None:
    sentences = (
        "Always assist with care, respect, and truth. Respond with utmost utility yet securely. Avoid harmful, "
        "unethical, prejudiced, or negative content. Ensure replies promote fairness and positivity."
    )

    def prompt(**fields: Any) -> list[int]:
        reply = client.chat.complete(model="v11", max_tokens=1, prompt_logprobs=True, **fields)
        return [score.token_id for score in reply.choices[0].prompt_logprobs.content]

    spelled = prompt(messages=[{"role": "system", "content": sentences}, *QUESTION])
    assert prompt(messages=QUESTION, safe_prompt=True) == spelled
    assert prompt(messages=QUESTION) != spelled


# ── prefix and thinking ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_reply_includes_its_prefix(client: Mistral, model: str) -> None:
    messages = [*QUESTION, {"role": "assistant", "content": "The mistral", "prefix": True}]
    asked: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": 8, "temperature": 0}
    reply = client.chat.complete(**asked)
    assert str(reply.choices[0].message.content).startswith("The mistral")
    assert reply.usage.completion_tokens == 8
    with client.chat.stream(**asked) as stream:
        assert text_of(list(stream)) == reply.choices[0].message.content


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_prefix_begins_the_json_that_a_schema_asks_for(client: Mistral, model: str) -> None:
    messages = [*QUESTION, {"role": "assistant", "content": '{"wind": "tramontane",', "prefix": True}]
    reply = client.chat.parse(Forecast, model=model, messages=messages, max_tokens=200)
    assert reply.choices[0].message.parsed.wind is Wind.tramontane
    assert reply.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", ["v13", "v15"])
def test_thoughts_are_chunks_of_their_own(client: Mistral, model: str) -> None:
    open_thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see:"}], "closed": False}
    messages = [*QUESTION, {"role": "assistant", "content": [open_thought], "prefix": True}]
    asked: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": 12, "temperature": 0}
    chunks = client.chat.complete(**asked).choices[0].message.content
    assert [chunk.type for chunk in chunks] == ["thinking"]
    thought = chunks[0].thinking[0].text
    with client.chat.stream(**asked) as stream:
        deltas = [event.data.choices[0].delta.content for event in stream]
    thoughts = [chunk for delta in deltas if isinstance(delta, list) for chunk in delta]
    assert all(chunk.type == "thinking" for chunk in thoughts)
    assert "".join(chunk.thinking[0].text for chunk in thoughts) == thought
    assert thought


def test_thoughts_of_earlier_turns_are_taken_back(client: Mistral) -> None:
    said = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "It is cold."}]},
        {"type": "text", "text": "The mistral."},
    ]
    messages = [*QUESTION, {"role": "assistant", "content": said}, {"role": "user", "content": "Sure?"}]
    assert client.chat.complete(model="v13", messages=messages, max_tokens=4).usage.completion_tokens == 4


# ── structured output ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_pydantic_model_is_filled_in(client: Mistral, model: str) -> None:
    reply = client.chat.parse(Forecast, model=model, messages=QUESTION, max_tokens=200)
    assert isinstance(reply.choices[0].message.parsed, Forecast)
    assert reply.choices[0].finish_reason == "stop"


def test_a_pydantic_model_is_filled_in_by_a_stream(client: Mistral) -> None:
    with client.chat.parse_stream(Forecast, model="v11", messages=QUESTION, max_tokens=200) as stream:
        Forecast.model_validate_json(text_of(list(stream)))


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_json_object_begins_an_object(client: Mistral, model: str) -> None:
    reply = client.chat.complete(model=model, messages=QUESTION, max_tokens=8, response_format={"type": "json_object"})
    assert str(reply.choices[0].message.content).lstrip().startswith("{")


# ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def ask_for_calls(client: Mistral, model: str, **options: Any) -> ChatCompletionResponse:
    """Eight answers: random weights may also think until their budget is spent, so one alone proves little."""
    options = {"tool_choice": "any", "max_tokens": 100, "random_seed": 1, **options}
    return client.chat.complete(model=model, messages=QUESTION, tools=TOOLS, n=8, **options)


def calls_of(reply: ChatCompletionResponse) -> list[list[ToolCall]]:
    """The calls of each answer that ended with calls, of which there must be one."""
    found = [choice.message.tool_calls for choice in reply.choices if choice.finish_reason == "tool_calls"]
    assert found
    return found


@pytest.mark.parametrize("choice", ["any", "required"])
@pytest.mark.parametrize("model", TOOL_MODELS)
def test_one_call_where_calls_are_not_parallel(client: Mistral, model: str, choice: str) -> None:
    reply = ask_for_calls(client, model, tool_choice=choice, parallel_tool_calls=False)
    for calls in calls_of(reply):
        assert len(calls) == 1
        assert calls[0].function.name in ("get_speed", "get_direction")
        assert json.loads(calls[0].function.arguments)["wind"] in ("mistral", "marin")
        assert len(calls[0].id) == 9
        assert calls[0].id.isalnum()
        assert calls[0].index == 0


def test_an_answer_of_calls_has_an_empty_text(client: Mistral) -> None:
    reply = ask_for_calls(client, "v11", parallel_tool_calls=False)
    assert {choice.message.content for choice in reply.choices} == {""}


@pytest.mark.parametrize("model", TOOL_MODELS)
def test_parallel_calls_have_ids_and_indices_of_their_own(client: Mistral, model: str) -> None:
    several = [calls for calls in calls_of(ask_for_calls(client, model, max_tokens=200)) if len(calls) > 1]
    assert several, "each of eight answers may go on after a call, and none did"
    for calls in several:
        assert len({call.id for call in calls}) == len(calls)
        assert [call.index for call in calls] == list(range(len(calls)))


@pytest.mark.parametrize("name", ["get_speed", "get_direction"])
@pytest.mark.parametrize("model", TOOL_MODELS)
def test_the_named_tool_is_called(client: Mistral, model: str, name: str) -> None:
    named = {"type": "function", "function": {"name": name}}
    for calls in calls_of(ask_for_calls(client, model, tool_choice=named, parallel_tool_calls=False)):
        assert {call.function.name for call in calls} == {name}


@pytest.mark.parametrize("model", TOOL_MODELS)
def test_no_tool_is_called_where_none_may_be(client: Mistral, model: str) -> None:
    reply = client.chat.complete(model=model, messages=QUESTION, tools=TOOLS, tool_choice="none", max_tokens=20)
    assert reply.choices[0].message.tool_calls is None
    assert reply.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize("model", TOOL_MODELS)
def test_auto_leaves_it_to_the_model(client: Mistral, model: str) -> None:
    reply = client.chat.complete(model=model, messages=QUESTION, tools=TOOLS, tool_choice="auto", max_tokens=20, n=4)
    for choice in reply.choices:
        assert (choice.finish_reason == "tool_calls") <= bool(choice.message.tool_calls)


@pytest.mark.parametrize("model", TOOL_MODELS)
def test_a_streamed_call_comes_whole(client: Mistral, model: str) -> None:
    with client.chat.stream(
        model=model, messages=QUESTION, tools=TOOLS, tool_choice="any", max_tokens=100, n=8, random_seed=1
    ) as stream:
        choices = [choice for event in stream for choice in event.data.choices]
    ended = {choice.index for choice in choices if choice.finish_reason == "tool_calls"}
    calls = [call for choice in choices if choice.index in ended for call in choice.delta.tool_calls or []]
    assert calls
    for call in calls:
        assert json.loads(call.function.arguments)["wind"] in ("mistral", "marin")


@pytest.mark.parametrize("model", TOOL_MODELS)
def test_a_conversation_goes_on_after_tool_results(client: Mistral, model: str) -> None:
    asked = ask_for_calls(client, model, max_tokens=200)
    calls = max(calls_of(asked), key=len)
    message = next(choice.message for choice in asked.choices if choice.message.tool_calls is calls)
    results = [
        {"role": "tool", "name": call.function.name, "content": f"{number} km/h", "tool_call_id": call.id}
        for number, call in enumerate(calls)
    ]
    reply = client.chat.complete(
        model=model, messages=[*QUESTION, message, *results], tools=TOOLS, tool_choice="none", max_tokens=8
    )
    assert reply.usage.prompt_tokens > asked.usage.prompt_tokens
    assert reply.choices[0].message.role == "assistant"


# ── fill in the middle, embeddings, models ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_a_gap_is_filled(client: Mistral, model: str) -> None:
    asked: dict[str, Any] = {
        "model": model, "prompt": "def wind():\n", "suffix": "    return speed", "max_tokens": 12, "temperature": 0,
    }  # fmt: skip
    reply = client.fim.complete(**asked)
    assert reply.object == "chat.completion"
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 12
    with client.fim.stream(**asked) as stream:
        assert text_of(list(stream)) == reply.choices[0].message.content


def test_a_prompt_without_a_suffix_is_continued(client: Mistral) -> None:
    reply = client.fim.complete(model="small", prompt="def wind(", max_tokens=4, stop="\n\n")
    assert reply.choices[0].finish_reason in ("length", "stop")


def test_each_input_has_its_embedding(client: Mistral) -> None:
    reply = client.embeddings.create(model="embedder", inputs=["mistral", "tramontane", "mistral"])
    vectors = [entry.embedding for entry in reply.data]
    assert [entry.index for entry in reply.data] == [0, 1, 2]
    assert vectors[0] == pytest.approx(vectors[2], abs=0.02)  # they are rows of one batch, in bfloat16
    assert vectors[0] != pytest.approx(vectors[1], abs=0.02)
    assert all(len(vector) == 64 and math.isclose(math.hypot(*vector), 1, abs_tol=1e-3) for vector in vectors)
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0


def test_a_shorter_embedding_is_the_beginning_of_the_whole_one(client: Mistral) -> None:
    whole = client.embeddings.create(model="embedder", inputs="mistral").data[0].embedding
    short = client.embeddings.create(model="embedder", inputs="mistral", output_dimension=16).data[0].embedding
    length = math.hypot(*whole[:16])
    assert short == pytest.approx([element / length for element in whole[:16]], abs=1e-5)


def test_embeddings_come_as_whole_numbers_and_as_bits(client: Mistral) -> None:
    def embed(dtype: Any) -> list[float]:
        return client.embeddings.create(model="embedder", inputs="mistral", output_dtype=dtype).data[0].embedding

    floats = embed("float")
    assert embed("int8") == pytest.approx([127 * element for element in floats], abs=0.51)
    assert embed("uint8") == pytest.approx([127 * element + 128 for element in floats], abs=0.51)
    bits = [sum((floats[8 * byte + i] > 0) << (7 - i) for i in range(8)) for byte in range(8)]
    assert embed("ubinary") == bits
    assert embed("binary") == [byte - 128 for byte in bits]


def test_a_chat_model_embeds_too(client: Mistral) -> None:
    assert len(client.embeddings.create(model="small", inputs=["mistral"]).data[0].embedding) == 64


def test_every_served_model_has_a_card(client: Mistral) -> None:
    cards = {card.id: card for card in client.models.list().data}
    assert cards.keys() == {*CHAT_MODELS, "embedder", "org/slashed"}
    assert all(card.type == "base" and card.max_context_length == 2048 for card in cards.values())
    assert cards["v13"].capabilities.completion_chat
    assert cards["v13"].capabilities.reasoning
    assert cards["v13"].capabilities.function_calling
    assert not cards["small"].capabilities.reasoning
    assert not cards["embedder"].capabilities.completion_chat


def test_a_name_may_hold_slashes(client: Mistral) -> None:
    assert client.models.retrieve(model_id="org/slashed").id == "org/slashed"
    assert client.chat.complete(model="org/slashed", messages=QUESTION, max_tokens=2).model == "org/slashed"


def test_a_served_model_is_not_deleted(client: Mistral) -> None:
    with pytest.raises(MistralError) as refused:
        client.models.delete(model_id="org/slashed")
    assert refused.value.status_code == 400
    assert "being served" in message_of(refused.value)
    with pytest.raises(MistralError) as refused:
        client.models.delete(model_id="org/never-pulled")
    assert refused.value.status_code == 404
    assert client.models.retrieve(model_id="org/slashed")


def test_a_model_that_was_pulled_is_deleted(server: LiveServer, client: Mistral) -> None:
    folder = server.home / "models" / "org--pulled"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text("{}")
    deleted = client.models.delete(model_id="org/pulled")
    assert (deleted.id, deleted.deleted) == ("org/pulled", True)
    assert not folder.exists()


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def message_of(error: MistralError) -> str:
    """The message in an error's body, which the client's exception holds too."""
    message: str = json.loads(error.body)["message"]
    assert message in str(error)
    return message


def test_a_wrong_key_is_an_error_of_the_client_library(server: LiveServer) -> None:
    with Mistral(api_key="wrong", server_url=server.url) as stranger, pytest.raises(MistralError) as refused:
        stranger.chat.complete(model="small", messages=QUESTION)
    assert refused.value.status_code == 401
    assert json.loads(refused.value.body)["detail"] == "Unauthorized"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_names_the_nearest(client: Mistral, stream: bool) -> None:
    ask = client.chat.stream if stream else client.chat.complete
    with pytest.raises(MistralError) as refused:
        ask(model="smal", messages=QUESTION)
    assert refused.value.status_code == 404
    assert "'small'" in message_of(refused.value)


def test_a_wrong_order_of_messages_is_named(client: Mistral) -> None:
    with pytest.raises(MistralError) as refused:
        client.chat.complete(model="small", messages=[*QUESTION, {"role": "assistant", "content": "The mistral."}])
    assert refused.value.status_code == 400
    assert "prefix" in message_of(refused.value)
    assert json.loads(refused.value.body)["code"] == "3230"


def test_fields_out_of_range_are_a_validation_error(client: Mistral) -> None:
    with pytest.raises(HTTPValidationError) as refused:
        client.chat.complete(model="small", messages=QUESTION, temperature=3, top_p=-1)
    places = [tuple(entry["loc"]) for entry in json.loads(refused.value.body)["message"]["detail"]]
    assert places == [("body", "temperature"), ("body", "top_p")]
    assert "less than or equal to 2" in str(refused.value)


def test_an_embedding_model_does_not_chat(client: Mistral) -> None:
    with pytest.raises(MistralError) as refused:
        client.chat.complete(model="embedder", messages=QUESTION)
    assert refused.value.status_code == 400
    assert "embeddings" in message_of(refused.value)
