"""Models that compute nothing: what the platform around an engine costs is measured with them."""

from __future__ import annotations

import asyncio
import queue
import threading
import time

from tramontane.errors import InvalidRequestError
from tramontane.gateway.answers import ChoiceUsage, Event, EventStream
from tramontane.gateway.cards import ModelCard
from tramontane.gateway.providers.base import Prepared, PreparedEmbedding
from tramontane.gateway.requests import EmbeddingJob, Generation, Prompt
from tramontane.tokenizer.tool_calls import Text

SLOW, AT_ONCE, STREAMS, LONG = "mock-slow", "mock-at-once", "mock-streams", "mock-long"
MODELS = (SLOW, AT_ONCE, STREAMS, LONG)
DELAY = 0.1  # seconds until the slow model answers, and until the long one begins
PROMPT_TOKENS, ANSWER_TOKENS = 200, 64
STREAM_TOKENS = 256  # unless fewer are asked for

_LONG_STEP = 0.02  # seconds
_ANSWER = " It blows from the north and from beyond the mountains, dry and cold, and clears the sky." * 4


class MockProvider:
    """Four models: one answers after `DELAY`, one at once, one streams tokens as fast as they are taken, one as slowly
    as an engine does.

    The slow one never answers early, and its answer begins with the seconds that it took: from the moment at which it
    was given the request to the moment at which the server had its answer. What is beyond `DELAY` there is the lateness
    of an alarm (tens of microseconds) and, where the server was busy with others, how long it let an answer lie.
    """

    def __init__(self) -> None:
        self._alarm = _Alarm()
        self._cards = [_card(name) for name in MODELS]

    def close(self) -> None:
        """Ends the alarm's thread."""
        self._alarm.close()

    def cards(self) -> list[ModelCard]:
        """The four."""
        return self._cards

    async def prepare(self, model: str, generation: Generation) -> Prepared:
        """Accepts everything."""
        return _Prepared(model, generation.sampling.max_tokens or STREAM_TOKENS, self._alarm)

    async def prepare_embedding(self, model: str, job: EmbeddingJob) -> PreparedEmbedding:
        """Refused."""
        raise InvalidRequestError("model", "A mock makes no embeddings.")

    async def tokenize(self, model: str, prompt: Prompt) -> list[int]:
        """Refused."""
        raise InvalidRequestError("model", "A mock has no tokenizer.")

    async def detokenize(self, model: str, tokens: list[int]) -> str:
        """Refused."""
        raise InvalidRequestError("model", "A mock has no tokenizer.")


class _Prepared:
    """An answer of one of the models, to be begun."""

    num_prompt_tokens = PROMPT_TOKENS
    max_output = 4096 - PROMPT_TOKENS

    def __init__(self, model: str, num_tokens: int, alarm: _Alarm) -> None:
        self._model, self._num_tokens, self._alarm = model, num_tokens, alarm

    async def generate(self, max_tokens: int | None = None) -> EventStream:
        """Begins at once."""
        if self._model == STREAMS:
            return _Tokens(self._num_tokens, 0.0, 0.0)
        if self._model == LONG:
            return _Tokens(self._num_tokens, DELAY, _LONG_STEP)
        return _Whole(self._alarm if self._model == SLOW else None)


class _Whole:
    """An answer in one event."""

    num_prompt_tokens = PROMPT_TOKENS

    def __init__(self, alarm: _Alarm | None) -> None:
        self.notes: list[str] = []
        self._alarm, self._began, self._given = alarm, time.perf_counter(), False

    def __aiter__(self) -> _Whole:
        return self

    async def __anext__(self) -> Event:
        if self._given:
            raise StopAsyncIteration
        self._given = True
        if self._alarm is not None:
            await self._alarm.wait_until(self._began + DELAY)
        text = Text(f"{time.perf_counter() - self._began:.6f}{_ANSWER}")
        usage = ChoiceUsage(PROMPT_TOKENS, 0, ANSWER_TOKENS)
        return Event(0, [text], num_tokens=ANSWER_TOKENS, finish_reason="length", usage=usage)

    async def aclose(self) -> None:
        self._given = True


class _Tokens:
    """A stream of tokens. Between two of them all other streams have their turn, as they have between an engine's
    steps: so each event is written by itself, and none gains by travelling with its neighbours.
    """

    num_prompt_tokens = PROMPT_TOKENS

    def __init__(self, num_tokens: int, delay: float, step: float) -> None:
        """Seconds before the first token, and before each other one."""
        self.notes: list[str] = []
        self._num_tokens = self._left = num_tokens
        self._pause, self._step = delay, step

    def __aiter__(self) -> _Tokens:
        return self

    async def __anext__(self) -> Event:
        if not self._left:
            raise StopAsyncIteration
        await asyncio.sleep(self._pause)
        self._pause = self._step
        self._left -= 1
        if self._left:
            return Event(0, [Text(" mountain")], num_tokens=1)
        usage = ChoiceUsage(PROMPT_TOKENS, 0, self._num_tokens)
        return Event(0, [Text(" sky.")], num_tokens=1, finish_reason="length", usage=usage)

    async def aclose(self) -> None:
        self._left = 0


class _Alarm:
    """Wakes waiters, who all wait equally long, from a thread: an event loop's own timers count whole milliseconds."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[float, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="alarm", daemon=True)
        self._thread.start()

    async def wait_until(self, moment: float) -> None:
        """Until a reading of `time.perf_counter`; never less."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put((moment, future))
        await future

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (entry := self._waiting.get()) is not None:
            moment, future = entry
            while (left := moment - time.perf_counter()) > 0:
                time.sleep(left)
            future.get_loop().call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _card(name: str) -> ModelCard:
    return ModelCard(
        name=name,
        created=0,
        owned_by="tramontane",
        description="Computes nothing, to measure what is around it.",
        max_context=4096,
        num_parameters=0,
        quantization="none",
        chat=True,
        fim=False,
        tools=False,
        thinking=False,
        pooling="none",
        tokenizer="none",
    )
