"""What the own engine promises of models that are loaded and removed while others serve."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace

import pytest
import torch

from tests.api.live import write_tekken_model
from tramontane.engine.async_engine import AsyncEngine
from tramontane.errors import ConflictError, ModelNotReadyError
from tramontane.gateway.answers import Answer, EventStream
from tramontane.gateway.providers.local.memory import left_for_models
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import Source, open_folder
from tramontane.gateway.requests import Chat, Generation, Sampling

MIB = 2**20
TOTAL = 8 * MIB


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_folder("first", write_tekken_model(tmp_path_factory.mktemp("model"), 13))


async def begin(provider: LocalProvider, model: str, tokens: int) -> EventStream:
    sampling = Sampling(max_tokens=tokens, min_tokens=tokens)
    generation = Generation(f"{model}-{tokens}", Chat([{"role": "user", "content": "Which wind?"}]), sampling)
    return await (await provider.prepare(model, generation)).generate()


async def read(stream: EventStream) -> Answer:
    answer = Answer(1)
    async for event in stream:
        answer.add(event)
    return answer


def engine_of(provider: LocalProvider, name: str) -> AsyncEngine:
    engine = provider._models[name].engine
    assert engine is not None
    return engine


def test_a_removed_model_finishes_its_answers_and_leaves_no_memory(source: Source) -> None:
    provider = LocalProvider([source], LocalOptions(kv_memory_bytes=TOTAL))
    provider.load()

    async def scenario() -> None:
        provider.add(replace(source, name="second"), "int8")
        assert [card.state for card in provider.cards()] == ["ready", "loading"]
        with pytest.raises(ConflictError, match="second"):
            provider.add(replace(source, name="second"), "none")
        with pytest.raises(ModelNotReadyError):
            await begin(provider, "second", 4)
        await asyncio.to_thread(provider.load_one, "second")
        assert set(provider.memory()) == {"first", "second"}
        held = weakref.ref(engine_of(provider, "second")._engine.model)

        stream = await begin(provider, "second", 100)
        removing = asyncio.create_task(provider.remove("second", 60.0))
        await asyncio.sleep(0)
        assert [card.name for card in provider.cards()] == ["first"]
        assert set(provider.memory()) == {"first", "second"}  # until it has gone
        with pytest.raises(ConflictError, match="stop it"):
            provider.add(replace(source, name="second"), "none")
        answer = await read(stream)
        assert (answer.choices[0].finish_reason, answer.usage.output) == ("length", 100)
        await removing
        assert set(provider.memory()) == {"first"}
        del stream, answer
        gc.collect()
        assert held() is None
        other = await read(await begin(provider, "first", 4))
        assert other.usage.output == 4

    asyncio.run(scenario())
    provider.close()


def test_patience_with_a_removed_model_has_an_end(source: Source) -> None:
    provider = LocalProvider([source], LocalOptions(kv_memory_bytes=TOTAL))
    provider.load()

    async def scenario() -> None:
        stream = await begin(provider, "first", 1800)
        await provider.remove("first", 0.0)
        answer = await read(stream)
        assert answer.choices[0].finish_reason == "error"
        assert provider.cards() == []

    asyncio.run(scenario())
    provider.close()


def test_who_comes_later_gets_what_is_left_and_a_quarter_at_least(source: Source) -> None:
    few = LocalProvider([source], LocalOptions(kv_memory_bytes=TOTAL))
    few.load()
    assert few.memory()["first"] > TOTAL  # with its weights: the first one took it all
    assert abs(few.kv_share(source) - TOTAL // 4) <= 1
    few.close()
    plenty = LocalProvider([source], LocalOptions(kv_memory_bytes=512 * MIB, max_context=64))
    plenty.load()
    most = plenty._models["first"].kv_memory_bytes
    assert most < 256 * MIB
    assert plenty.kv_share(source) == most  # no more than it can use
    plenty.close()


def test_what_is_left_of_this_machine(source: Source) -> None:
    provider = LocalProvider([source], LocalOptions(kv_memory_bytes=TOTAL))
    before = provider.machine()
    assert 0 < before.available < before.total
    assert provider.needed(10**9, "none") > provider.needed(10**9, "int8") > 10**9
    # What was promised to a model counts, touched or not.
    assert left_for_models(torch.device("cpu"), before.total - MIB).available <= MIB
    assert provider.kv_share(source) <= TOTAL
