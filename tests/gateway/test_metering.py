"""Answers of this machine's own engine are paid for by what was delivered: whole, cut, hung up on, or interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.billing.ready import sqlite_place
from tests.gateway.scene import EURO, Scene, scene
from tramontane.billing.lots import create_lot
from tramontane.billing.tables import UsageRow
from tramontane.errors import InvalidRequestError, PaymentRequiredError
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.providers.local.provider import LocalProvider
from tramontane.gateway.requests import Chat, Continuation, EmbeddingJob
from tramontane.storage.base import new_id
from tramontane.storage.database import Database

Act = Callable[[Scene], Awaitable[None]]

LONG = Chat([{"role": "user", "content": "Which wind blows beside the mistral? " * 6}])
INPUT, CACHED, OUTPUT = 2_000, 500, 6_000  # nano-euros for a token


def play(home: Path, provider: LocalProvider, act: Act, money: int = EURO) -> None:
    async def main(db: Database) -> None:
        async with scene(db, money=money, local={"m": provider}) as stage, asyncio.timeout(30):
            await stage.price_local()
            await act(stage)

    sqlite_place(home).run(main, upgrade=False)


def cost(row: UsageRow) -> int:
    return (row.prompt_tokens - row.cached_tokens) * INPUT + row.cached_tokens * CACHED + row.output_tokens * OUTPUT


def test_what_the_client_is_told_is_what_is_billed(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        told = [(await stage.ask(LONG, max_tokens=9, seed=1, n=n))[0].usage for n in (1, 1, 3)]
        rows = await stage.usage()
        assert [(u.prompt, u.cached, u.output) for u in told] == [
            (row.prompt_tokens, row.cached_tokens, row.output_tokens) for row in rows
        ]
        assert rows[0].cached_tokens == 0 < rows[1].cached_tokens, "the second one found the prompt computed"
        assert all(row.amount == cost(row) and row.outcome == "done" and not row.is_estimate for row in rows)
        assert await stage.money() == (EURO - sum(row.amount for row in rows), 0)

    play(tmp_path, provider, act)


def test_who_hangs_up_pays_for_what_was_delivered_at_the_price_of_what_was_cached(
    provider: LocalProvider, tmp_path: Path
) -> None:
    async def act(stage: Scene) -> None:
        await stage.ask(LONG, max_tokens=2)
        stream, _ = await stage.begin(LONG, max_tokens=1000, min_tokens=1000)
        delivered = 0
        while delivered < 5:
            delivered += (await stream.__anext__()).num_tokens
        await stream.aclose()
        await stream.aclose()
        row = (await stage.usage())[-1]
        assert (row.outcome, row.output_tokens, row.is_estimate) == ("hung_up", delivered, False)
        assert row.prompt_tokens == stream.num_prompt_tokens > row.cached_tokens > 0
        assert row.amount == cost(row)

    play(tmp_path, provider, act)


def test_a_task_that_is_cancelled_pays_as_well(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        reading = asyncio.create_task(stage.ask(LONG, max_tokens=1500, min_tokens=1500))
        while not (await stage.money())[1]:
            await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        [row] = await stage.usage()
        assert row.outcome == "hung_up"
        assert row.amount == cost(row)
        assert (await stage.money())[1] == 0

    play(tmp_path, provider, act)


def test_the_end_of_the_server_interrupts(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        stream, _ = await stage.begin(max_tokens=1000, min_tokens=1000)
        await stream.__anext__()
        stage.platform.expect_end()
        await stream.aclose()
        [row] = await stage.usage()
        assert row.outcome == "interrupted"
        assert row.output_tokens > 0

    play(tmp_path, provider, act)


def test_little_money_makes_short_answers_and_none_makes_none(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        answer, exchange = await stage.ask(max_tokens=400, min_tokens=400)
        paid = int(exchange.headers["x-tramontane-paid-tokens"])
        assert (answer.choices[0].finish_reason, answer.usage.output) == ("length", paid)
        assert 1 <= paid < 400
        with pytest.raises(PaymentRequiredError) as refused:
            await stage.ask(max_tokens=400)
        assert refused.value.kind == "no_money"
        assert 0 <= (await stage.money())[0] < OUTPUT + 40 * INPUT
        async with stage.db.write() as session:
            await create_lot(
                session, organisation_id=stage.tenant.organisation_id, kind="credit", name="more", amount=EURO
            )
        answer, exchange = await stage.ask(max_tokens=40, min_tokens=40)
        assert answer.usage.output == 40
        assert "x-tramontane-paid-tokens" not in exchange.headers

    play(tmp_path, provider, act, money=40 * INPUT + 30 * OUTPUT)


def test_embeddings_cost_their_input_and_counting_costs_nothing(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        gateway, exchange = stage.platform.gateway, Exchange(new_id(), "/v1/embeddings")
        made = await gateway.embed(stage.principal, "m", EmbeddingJob(exchange.id, ["wind", "a wind"]), exchange)
        tokens = await gateway.tokenize(stage.principal, "m", Continuation("wind"), Exchange(new_id()))
        assert await gateway.detokenize(stage.principal, "m", tokens, Exchange(new_id()))
        assert await gateway.count(stage.principal, "m", Continuation("wind"), Exchange(new_id())) == len(tokens)
        [row] = await stage.usage()
        assert (row.prompt_tokens, row.output_tokens) == (made.num_tokens, 0)
        assert row.amount == made.num_tokens * INPUT

    play(tmp_path, provider, act)


def test_what_is_refused_costs_nothing(provider: LocalProvider, tmp_path: Path) -> None:
    async def act(stage: Scene) -> None:
        with pytest.raises(InvalidRequestError):
            await stage.ask(Continuation("wind " * 3000))
        with pytest.raises(InvalidRequestError):
            await stage.ask(temperature=-1)
        job = EmbeddingJob(new_id(), ["wind"], dimensions=1_000_000)
        with pytest.raises(InvalidRequestError, match="elements: ask for at most so many"):
            await stage.platform.gateway.embed(stage.principal, "m", job, Exchange(job.id, "/v1/embeddings"))
        assert not await stage.usage()
        assert await stage.money() == (EURO, 0)

    play(tmp_path, provider, act)
