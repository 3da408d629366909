"""Servers of other makes answer through us as our own models do: streams, tools, counts, errors, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.billing.ready import sqlite_place
from tests.gateway.other_makes import CACHED_TOKENS, PROMPT_TOKENS, WORDS, Make, OtherMake, running
from tests.gateway.scene import PRICE, Scene, scene
from tramontane.billing.tables import Limit
from tramontane.errors import InvalidRequestError, RateLimitedError, UnavailableError
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.providers.openai_compatible.counting import bound
from tramontane.gateway.requests import AnswerFormat, Chat, Continuation, EmbeddingJob, Fim, Generation, Sampling
from tramontane.storage.base import new_id
from tramontane.storage.database import Database
from tramontane.tokenizer.documents import Document
from tramontane.tokenizer.tool_call_ids import is_tool_call_id

MAKES: tuple[Make, ...] = ("vllm", "llama.cpp", "plateforme")
SAID = "".join(WORDS)
CALLS = (("get_wind", '{"place": "Orange", "unit": "km/h"}'), ("get_wind", '{"place": "Sète"}'))
TOOLS = [{"type": "function", "function": {"name": "get_wind", "parameters": {"type": "object"}}}]

USER = {"role": "user", "content": "x"}

Act = Callable[[Scene, OtherMake], Awaitable[None]]


def play(home: Path, server: OtherMake, act: Act, **offer: Any) -> None:
    """A scenario with one server, which offers the model "m"."""

    async def main(db: Database) -> None:
        async with running(server), scene(db) as stage:
            await stage.offer(server, **offer)
            async with asyncio.timeout(30):
                await act(stage, server)

    sqlite_place(home).run(main, upgrade=False)


@pytest.mark.parametrize("make", MAKES)
def test_an_answer_is_read_counted_and_paid_as_its_server_says(make: Make, tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        answer, exchange = await stage.ask()
        assert answer.choices[0].text == SAID
        assert answer.choices[0].finish_reason == ("length" if make == "llama.cpp" else "stop")
        cached = 0 if make == "llama.cpp" else CACHED_TOKENS
        assert (answer.usage.prompt, answer.usage.cached, answer.usage.output) == (PROMPT_TOKENS, cached, len(WORDS))
        [row] = await stage.usage()
        assert (row.prompt_tokens, row.cached_tokens, row.output_tokens) == (PROMPT_TOKENS, cached, len(WORDS))
        assert (row.outcome, row.is_estimate) == ("done", False)
        assert exchange.completion_tokens == len(WORDS)
        assert exchange.prompt_tokens == PROMPT_TOKENS
        assert server.body["model"] == "upstream-name"

    play(tmp_path, OtherMake(make), act)


@pytest.mark.parametrize("make", MAKES)
def test_tool_calls_come_whole_with_ids_of_the_family(make: Make, tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        prompt = Chat([{"role": "user", "content": "How is the wind?"}], tools=TOOLS, tool_choice="required")
        answer, _ = await stage.ask(prompt)
        choice = answer.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert [(call.name, call.arguments) for call in choice.tool_calls] == list(CALLS)
        assert [call.index for call in choice.tool_calls] == [0, 1]
        assert len({call.id for call in choice.tool_calls}) == 2
        assert all(is_tool_call_id(call.id) for call in choice.tool_calls)
        assert server.body["tools"] == TOOLS
        assert server.body["tool_choice"] == "required"

    play(tmp_path, OtherMake(make, words=(), calls=CALLS), act)


@pytest.mark.parametrize("make", ["vllm", "plateforme"])
def test_thoughts_are_no_part_of_the_answer(make: Make, tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        answer, _ = await stage.ask()
        assert (answer.choices[0].thinking, answer.choices[0].text) == ("Beside it?", SAID)

    play(tmp_path, OtherMake(make, thoughts="Beside it?"), act)


def test_what_a_server_does_not_know_is_learnt_once(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        await stage.ask(seed=7)
        assert [sorted(set(body) & {"seed", "random_seed", "stream_options"}) for body in server.bodies] == [
            ["seed", "stream_options"],
            ["random_seed"],
        ]
        assert server.body["random_seed"] == 7
        await stage.ask(seed=8)
        assert len(server.bodies) == 3
        assert server.body["random_seed"] == 8

    play(tmp_path, OtherMake("plateforme"), act)


@pytest.mark.parametrize("make", ["vllm", "llama.cpp"])
def test_what_a_server_does_not_count_is_counted_here(make: Make, tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        answer, _ = await stage.ask()
        [row] = await stage.usage()
        assert row.is_estimate
        assert 6 <= row.output_tokens <= 9, "six words of a kind that every tokenizer knows"
        assert 8 <= row.prompt_tokens <= 20
        assert (answer.usage.prompt, answer.usage.output) == (row.prompt_tokens, row.output_tokens)

    play(tmp_path, OtherMake(make, usage=False), act)


def test_all_choices_are_paid_for_together(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        answer, _ = await stage.ask(n=3)
        assert [choice.text for choice in answer.choices] == [SAID] * 3
        assert (answer.usage.prompt, answer.usage.output) == (PROMPT_TOKENS, 3 * len(WORDS))
        [row] = await stage.usage()
        assert row.output_tokens == 3 * len(WORDS)

    play(tmp_path, OtherMake(), act)


def test_texts_are_continued_gaps_filled_and_vectors_made(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        answer, _ = await stage.ask(Continuation("Once "))
        assert answer.choices[0].text == SAID
        assert server.body["prompt"] == "Once "
        answer, _ = await stage.ask(Fim("def f(", "return x"))
        assert (answer.choices[0].text, server.body["suffix"]) == (SAID, "return x")
        job = EmbeddingJob(new_id(), ["a", "b", (1, 2)])
        made = await stage.platform.gateway.embed(stage.principal, "m", job, Exchange(job.id, "/v1/embeddings"))
        assert made.vectors == [[0.0, 0.5], [1.0, 0.5], [2.0, 0.5]]
        rows = {row.id: row for row in await stage.usage()}
        assert (rows[job.id].prompt_tokens, rows[job.id].output_tokens, rows[job.id].amount) == (9, 0, 18_000)

    play(tmp_path, OtherMake(), act)


LONG = "Which wind blows beside the mistral? " * 400


@pytest.mark.parametrize(
    "prompt",
    [
        Chat([USER], format=AnswerFormat("json", {"type": "object", "description": LONG})),
        Chat([USER], tools=[{"type": "function", "function": {"name": "f", "description": LONG}}]),
        Chat([{**USER, "name": LONG}]),
        Chat([{"role": "user", "content": [{"type": "image_url", "image_url": "https://a.b/c", "text": "x"}]}]),
    ],
    ids=["schema", "tools", "name", "image"],
)
def test_money_is_held_for_all_that_a_server_may_count_as_prompt(prompt: Chat, tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        server.stalls_after = 4
        stream, _ = await stage.begin(prompt, max_tokens=1)
        assert (await stage.money())[1] >= 3_000 * 2_000
        await stream.aclose()

    play(tmp_path, OtherMake(), act, max_context=None)


# ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_sent_in_the_terms_of_others(tmp_path: Path) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AA=="}]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Let me see."}],
            "tool_calls": [
                {"id": "call_of_a_client", "function": {"name": "get_wind", "arguments": {"place": "Orange"}}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_of_a_client", "content": "90 km/h", "name": "get_wind"},
        {"role": "user", "content": "So?"},
    ]
    schema = {"type": "object", "properties": {"kmh": {"type": "integer"}}}

    async def act(stage: Scene, server: OtherMake) -> None:
        prompt = Chat(messages, format=AnswerFormat("json", schema), documents=(Document("It blows.", title="Wind"),))
        await stage.ask(prompt, temperature=0.2, stop=("END",), top_p=0.9, presence_penalty=0.5)
        sent = server.body["messages"]
        assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "user"]
        assert sent[1]["content"][0]["image_url"] == {"url": "data:image/png;base64,AA=="}
        assert sent[2]["content"] == "Let me see."
        [call] = sent[2]["tool_calls"]
        assert call["function"] == {"name": "get_wind", "arguments": '{"place": "Orange"}'}
        assert call["id"] == sent[3]["tool_call_id"]
        assert is_tool_call_id(call["id"])
        assert sent[4]["content"] == "[1] # Wind\nIt blows.\n\nSo?"
        assert server.body["response_format"]["json_schema"]["schema"] == schema
        plain = {name: server.body[name] for name in ("temperature", "stop", "top_p", "presence_penalty", "max_tokens")}
        assert plain == {
            "temperature": 0.2, "stop": ["END"], "top_p": 0.9, "presence_penalty": 0.5, "max_tokens": 100,
        }  # fmt: skip
        assert not {"frequency_penalty", "n", "seed", "top_k", "logit_bias"} & set(server.body)

    play(tmp_path, OtherMake(), act)


@pytest.mark.parametrize(
    ("field", "prompt", "sampling"),
    [
        ("prediction", Chat([USER], prediction="y"), {}),
        ("response_format", Chat([{"role": "user", "content": "[1] x\n\ny"}], format=AnswerFormat("quotes")), {}),
        ("messages.1.prefix", Chat([USER, {"role": "assistant", "content": "y", "prefix": True}]), {}),
        ("logprobs", Continuation("x"), {"logprobs": 2}),
        ("messages.0.role", Chat([{"role": "<|im_start|>" * 99, "content": "x"}]), {}),
        ("messages.0.content", Chat([{"role": "user", "content": {"type": "text", "text": "x"}}]), {}),
        ("messages.0.content.0", Chat([{"role": "user", "content": [{"type": "text"}]}]), {}),
        ("messages.0.content.0", Chat([{"role": "user", "content": [{"type": ["text"], "text": "x"}]}]), {}),
        (
            "messages.0.content.1",
            Chat([{"role": "user", "content": ["x", {"type": "document_url", "document_url": "https://a.b/c"}]}]),
            {},
        ),
    ],
)  # fmt: skip
def test_what_others_cannot_do_is_refused_by_name_and_costs_nothing(
    field: str, prompt: Any, sampling: dict[str, Any], tmp_path: Path
) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        with pytest.raises(InvalidRequestError) as refused:
            await stage.ask(prompt, **sampling)
        assert refused.value.field == field
        assert not server.bodies
        assert not await stage.usage()

    play(tmp_path, OtherMake(), act)


@pytest.mark.parametrize(("header", "value"), [("authorization", "Bearer the-canary"), ("api-key", "the-canary")])
def test_keys_go_to_their_server_and_nowhere_else(
    header: str, value: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        await stage.ask()
        sent = {name.lower(): value for name, value in server.headers[-1].items()}
        assert sent[header] == value
        server.refuse = (401, {"error": {"message": "Incorrect API key provided: the-canary"}})
        exchange = Exchange(new_id())
        with pytest.raises(UnavailableError) as refused:
            await stage.begin()
        said = [str(refused.value), repr(exchange), caplog.text]
        said += [str(stage.platform.health.of(offering.id)) for offering in stage.platform.directory.all()]
        assert any("Incorrect API key" in text for text in said)
        assert not any("the-canary" in text for text in said)
        assert b"the-canary" not in (tmp_path / "tramontane.db").read_bytes()

    play(tmp_path, OtherMake(), act, key="the-canary", key_header=header)


# ── when it goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────


def test_who_asks_wrongly_is_told_in_the_servers_words(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        server.refuse = (
            400,
            {"error": {"message": "max_tokens is too large: 99. See https://x.y/z", "param": "max_tokens"}},
        )
        with pytest.raises(InvalidRequestError, match=r"max_tokens is too large: 99. See \(its address\)") as refused:
            await stage.ask()
        assert refused.value.field == "max_tokens"
        assert len(server.bodies) == 1
        assert stage.platform.health.of(stage.platform.directory.all()[0].id).failures == 0
        assert not await stage.usage()
        server.refuse = None
        await stage.ask()
        assert "max_tokens" in server.body

    play(tmp_path, OtherMake(), act)


def test_words_of_a_request_that_are_repeated_close_no_offering(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "get_api_key", "parameters": {"type": "wind"}}}

    async def act(stage: Scene, server: OtherMake) -> None:
        health, [offering] = stage.platform.health, stage.platform.directory.all()
        server.refuse = (400, {"error": {"message": "Invalid schema for function 'get_api_key'."}})
        with pytest.raises(InvalidRequestError, match="Invalid schema"):
            await stage.ask(Chat([USER], tools=[tool]))
        assert health.of(offering.id).failures == 0
        server.refuse = (400, {"error": {"message": "API key not valid. Please pass a valid API key."}})
        with pytest.raises(UnavailableError):
            await stage.ask()
        assert health.of(offering.id).failures == 1

    play(tmp_path, OtherMake(), act)


@pytest.mark.parametrize("make", ["vllm", "llama.cpp"])
@pytest.mark.parametrize("fault", ["dies_after", "errs_after"])
def test_an_answer_that_breaks_off_ends_with_an_error_and_what_came_is_paid(
    make: Make, fault: str, tmp_path: Path
) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        setattr(server, fault, 8 if make == "llama.cpp" else 4)
        answer, _ = await stage.ask()
        choice = answer.choices[0]
        assert choice.finish_reason == "error"
        assert SAID.startswith(choice.text)
        assert choice.text
        [row] = await stage.usage()
        assert (row.outcome, row.is_estimate) == ("failed", True)
        assert 0 < row.output_tokens < len(WORDS)
        assert row.prompt_tokens > 0
        assert stage.platform.health.of(row.offering_id).failures == 1

    play(tmp_path, OtherMake(make), act)


def test_who_hangs_up_stops_the_server_and_pays_for_what_came(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        server.stalls_after = 4
        stream, _ = await stage.begin()
        for _ in range(3):
            await stream.__anext__()
        assert (await stage.money())[1] > 0
        await stream.aclose()
        await server.hung_up.wait()
        [row] = await stage.usage()
        assert (row.outcome, row.is_estimate) == ("hung_up", True)
        assert 3 <= row.output_tokens <= 5, "three words, and a blank"
        assert row.amount == row.prompt_tokens * 2_000 + row.output_tokens * 6_000
        assert (await stage.money())[1] == 0

    play(tmp_path, OtherMake(), act)


def test_who_hangs_up_before_the_first_token_pays_nothing(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        server.silent = True
        asking = asyncio.create_task(stage.begin())
        await server.reached.wait()
        asking.cancel()
        await server.hung_up.wait()
        assert not await stage.usage()
        assert (await stage.money())[1] == 0

    play(tmp_path, OtherMake(), act)


def test_the_servers_end_interrupts_what_others_write(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        server.stalls_after = 4
        stream, _ = await stage.begin()
        reading = asyncio.create_task(_rest(stream))
        await server.reached.wait()
        stage.platform.expect_end()
        assert (await reading)[-1] == "error"
        [row] = await stage.usage()
        assert row.outcome == "interrupted"
        assert 3 <= row.output_tokens <= 5

    play(tmp_path, OtherMake(), act)


async def _rest(stream: Any) -> list[str | None]:
    return [event.finish_reason async for event in stream]


def test_less_money_makes_shorter_answers_and_says_so(tmp_path: Path) -> None:
    async def main(db: Database) -> None:
        server = OtherMake()
        async with running(server), scene(db, money=400_000) as stage:
            await stage.offer(server)
            _, exchange = await stage.ask()
            paid = int(exchange.headers["x-tramontane-paid-tokens"])
            assert 0 < paid < 100
            assert server.body["max_tokens"] == paid
            assert any(f"pays for {paid} tokens" in note for note in exchange.notes)

    sqlite_place(tmp_path).run(main, upgrade=False)


def test_a_server_that_goes_on_beyond_what_is_paid_for_is_cut_off(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        answer, _ = await stage.ask(max_tokens=10, n=2)
        assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
        await server.hung_up.wait()
        assert answer.usage.output == bound(20) + 1
        [row] = await stage.usage()
        assert (row.outcome, row.is_estimate) == ("done", True)

    play(tmp_path, OtherMake(words=[" wind"] * 100, stalls_after=150), act)


def test_the_prompts_of_one_request_are_one_request_of_the_limit(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        async with stage.db.write() as session:
            id_ = stage.tenant.organisation_id
            session.add(Limit(scope="organisation", scope_id=id_, organisation_id=id_, requests_per_second=1))
        await stage.platform.rates.refresh()
        exchange = Exchange(new_id(), "/v1/completions")
        for number in range(3):
            generation = Generation(f"{exchange.id}-{number}", Continuation("wind"), Sampling(max_tokens=8))
            stream = await stage.platform.gateway.generate(stage.principal, "m", generation, exchange)
            await stream.aclose()
        with pytest.raises(RateLimitedError):
            await stage.ask()

    play(tmp_path, OtherMake(), act)


def test_prices_are_in_nano_euros_for_a_million(tmp_path: Path) -> None:
    async def act(stage: Scene, server: OtherMake) -> None:
        await stage.ask()
        [row] = await stage.usage()
        uncached = PROMPT_TOKENS - CACHED_TOKENS
        cached_input = PRICE.cached_input or 0
        assert row.amount * 10**6 == uncached * PRICE.input + CACHED_TOKENS * cached_input + len(WORDS) * PRICE.output

    play(tmp_path, OtherMake(), act)
