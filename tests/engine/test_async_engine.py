"""The engine behind asyncio: any number of clients and loops, each served as if alone, and nobody left waiting."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

from tests.tiny import Answers, add_outputs, greedy, greedy_tokens, is_empty, make_config, tiny_model, tokens_of
from tramontane.engine.async_engine import AsyncEngine
from tramontane.engine.engine import Engine
from tramontane.engine.request import Output, Request, SamplingParams
from tramontane.errors import InvalidRequestError, QueueFullError, TramontaneError
from tramontane.model.pooling import Pooling

T = TypeVar("T")
PATIENCE = 60  # seconds; nothing here takes one
LONG = greedy(200)


@pytest.fixture
def engine() -> Iterator[AsyncEngine]:
    model = tiny_model()
    served = AsyncEngine(Engine(model, config=make_config(model, max_sequences=6, max_queue=3)))
    yield served
    served.close()
    assert is_empty(served._engine)
    served._engine.check()


def play(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


def ask(engine: AsyncEngine, question: Callable[[], T]) -> T:
    """Asks in the engine's own thread, between two steps, after all that was wanted before."""
    answer: concurrent.futures.Future[T] = concurrent.futures.Future()
    assert engine._send(lambda: answer.set_result(question()))
    return answer.result(PATIENCE)


def nothing_is_served(engine: AsyncEngine) -> bool:
    return ask(engine, lambda: is_empty(engine._engine) and not engine._engine.has_work and not engine._listeners)


class Halt:
    """Keeps the engine's thread from its next step until told to go on."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine, self._reached, self._go = engine, threading.Event(), threading.Event()

    def __enter__(self) -> Halt:
        assert self._engine._send(self._halt)
        assert self._reached.wait(PATIENCE)
        return self

    def _halt(self) -> None:
        self._reached.set()
        self._go.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._go.set()


def listen(engine: AsyncEngine, request: Request) -> AsyncGenerator[Output, None]:
    stream = engine.generate(request)
    assert isinstance(stream, AsyncGenerator)
    return stream


async def all_of(engine: AsyncEngine, request: Request) -> Answers:
    answers: Answers = {}
    async for output in engine.generate(request):
        add_outputs(answers, [output])
    return answers


async def tokens(engine: AsyncEngine, request: Request) -> list[int]:
    return (await all_of(engine, request))[request.id, 0].tokens


def test_each_client_gets_what_it_would_get_alone(engine: AsyncEngine) -> None:
    prompts = {str(number): tokens_of(number, 3 + number) for number in range(6)}

    async def main() -> list[list[int]]:
        return await asyncio.gather(*(tokens(engine, Request(n, p, greedy(15))) for n, p in prompts.items()))

    assert play(main()) == [greedy_tokens(tiny_model(), prompt, 15) for prompt in prompts.values()]
    assert engine.metrics.generation_tokens == 6 * 15
    assert nothing_is_served(engine)


def test_outputs_come_as_they_are_made(engine: AsyncEngine) -> None:
    async def main() -> list[int]:
        return [len(output.token_ids) async for output in engine.generate(Request("r", [1, 2], greedy(5)))]

    assert play(main()) == [1] * 5


def test_all_choices_and_embeddings_are_heard_to_their_end(engine: AsyncEngine) -> None:
    async def main() -> tuple[Answers, Answers]:
        several = Request("several", [1, 2], SamplingParams(n=3, seed=1, max_tokens=4))
        return await asyncio.gather(
            all_of(engine, several), all_of(engine, Request("vector", [1, 2], pooling=Pooling("mean", True)))
        )

    several, vector = play(main())
    assert {key: (len(got.tokens), got.reason) for key, got in several.items()} == {
        ("several", index): (4, "length") for index in range(3)
    }
    assert vector["vector", 0].last is not None
    assert vector["vector", 0].last.embedding is not None


@pytest.mark.parametrize("heard", [1, 3])
def test_who_stops_listening_frees_the_blocks(engine: AsyncEngine, heard: int) -> None:
    async def main() -> None:
        async with aclosing(listen(engine, Request("r", tokens_of(1, 20), LONG))) as stream:
            for _ in range(heard):
                await anext(stream)

    play(main())
    assert nothing_is_served(engine)
    assert engine.metrics.generation_tokens < 200


@pytest.mark.parametrize("accepted", [False, True])
def test_a_client_that_is_cancelled_cancels_its_request(engine: AsyncEngine, accepted: bool) -> None:
    """Also one that goes before it hears whether the request was accepted."""

    async def main() -> None:
        started = asyncio.Event()

        async def client() -> None:
            async for _ in engine.generate(Request("r", [1, 2], LONG)):
                started.set()

        with Halt(engine) as halt:
            task = asyncio.create_task(client())
            while engine._commands.empty():
                await asyncio.sleep(0)  # until its wish is queued
            if accepted:
                halt.__exit__()
                await started.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    play(main())
    assert nothing_is_served(engine)


def test_errors_come_before_the_first_output(engine: AsyncEngine) -> None:
    async def main() -> None:
        with pytest.raises(InvalidRequestError) as caught:
            await all_of(engine, Request("bad", [1], SamplingParams(temperature=-1)))
        assert caught.value.field == "temperature"
        with pytest.raises(InvalidRequestError) as caught:
            await all_of(engine, Request("bad", [], greedy()))
        assert caught.value.field == "prompt"

    play(main())
    assert nothing_is_served(engine)


def test_a_full_queue_is_told_at_once_and_the_others_are_served(engine: AsyncEngine) -> None:
    async def main() -> list[list[int] | BaseException]:
        with Halt(engine):  # all of them come between two steps
            clients = [asyncio.create_task(tokens(engine, Request(str(n), [1, 2], greedy(4)))) for n in range(12)]
            while engine._commands.qsize() < 12:
                await asyncio.sleep(0)
        return await asyncio.gather(*clients, return_exceptions=True)

    got = play(main())
    refused = [one for one in got if isinstance(one, QueueFullError)]
    assert len(refused) == 3  # six are computed, three wait
    assert [one for one in got if one not in refused] == [greedy_tokens(tiny_model(), [1, 2], 4)] * 9
    assert nothing_is_served(engine)


@pytest.mark.parametrize("impatient", [False, True])
def test_an_id_in_use_is_refused_and_its_owner_goes_on(engine: AsyncEngine, impatient: bool) -> None:
    """Also where the second client is gone before it hears so: what it gives up was never its own."""

    async def main() -> list[int]:
        stream = listen(engine, Request("r", [1, 2], greedy(40)))
        heard = (await anext(stream)).token_ids
        with Halt(engine):
            second = asyncio.create_task(tokens(engine, Request("r", [5], greedy(3))))
            while engine._commands.empty():
                await asyncio.sleep(0)
            if impatient:
                second.cancel()
                await asyncio.gather(second, return_exceptions=True)
        if not impatient:
            with pytest.raises(InvalidRequestError):
                await second
        return heard + [token async for output in stream for token in output.token_ids]

    assert play(main()) == greedy_tokens(tiny_model(), [1, 2], 40)


def test_two_loops_at_once(engine: AsyncEngine) -> None:
    prompts = [tokens_of(1, 9), tokens_of(2, 4)]

    def client(number: int) -> list[int]:
        return play(tokens(engine, Request(str(number), prompts[number], greedy(30))))

    with concurrent.futures.ThreadPoolExecutor() as threads:
        assert list(threads.map(client, range(2))) == [greedy_tokens(tiny_model(), prompt, 30) for prompt in prompts]


def test_a_loop_that_is_gone_is_no_matter(engine: AsyncEngine) -> None:
    """Its request is given up, the thread lives, and others are served."""
    loop = asyncio.new_event_loop()
    stream = listen(engine, Request("gone", [1, 2], LONG))
    with_first = loop.run_until_complete(asyncio.wait_for(anext(stream), PATIENCE))
    assert with_first.token_ids
    with Halt(engine):
        loop.close()
    assert play(tokens(engine, Request("r", [1, 2], greedy(5)))) == greedy_tokens(tiny_model(), [1, 2], 5)
    assert nothing_is_served(engine)
    assert engine.metrics.generation_tokens < 200


def test_closing_ends_who_listens(engine: AsyncEngine) -> None:
    async def main() -> Answers:
        several = SamplingParams(temperature=0, n=2, max_tokens=200)
        stream, answers = listen(engine, Request("r", [1, 2], several)), Answers()
        add_outputs(answers, [await anext(stream)])
        await asyncio.to_thread(engine.close)
        async for output in stream:
            add_outputs(answers, [output])
        return answers

    answers = play(main())
    assert {key: got.reason for key, got in answers.items()} == {("r", 0): "cancelled", ("r", 1): "cancelled"}
    assert not engine._thread.is_alive()
    assert is_empty(engine._engine)


def test_after_closing_requests_are_refused(engine: AsyncEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(TramontaneError, match="closed"):
        play(all_of(engine, Request("r", [1], greedy())))


def test_a_request_that_meets_the_closing_is_refused_too(engine: AsyncEngine) -> None:
    """Behind the wish to stop no other is queued, which nobody would fulfil."""
    with Halt(engine):
        closing = threading.Thread(target=engine.close)
        closing.start()
        while not engine._closed:
            closing.join(0)
        with pytest.raises(TramontaneError, match="closed"):
            play(all_of(engine, Request("r", [1], greedy())))
    closing.join(PATIENCE)
    assert not closing.is_alive()


def test_who_stops_listening_after_the_closing_meets_no_error(engine: AsyncEngine) -> None:
    async def main() -> None:
        async with aclosing(listen(engine, Request("r", [1, 2], LONG))) as stream:
            await anext(stream)
            await asyncio.to_thread(engine.close)

    play(main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_leaves_nobody_waiting() -> None:
    broken = False

    def clock() -> float:
        if broken:
            raise RuntimeError("time is out of joint")
        return 0.0

    model = tiny_model()
    engine = AsyncEngine(Engine(model, config=make_config(model), clock=clock))

    async def main() -> list[Output]:
        nonlocal broken
        stream = listen(engine, Request("r", [1, 2], LONG))
        await anext(stream)
        broken = True
        return [output async for output in stream]

    assert play(main())[-1].finish_reason == "cancelled"
    with pytest.raises(TramontaneError, match="closed"):
        play(all_of(engine, Request("r", [1], greedy())))
    engine.close()
