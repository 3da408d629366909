"""A stream that is paid for: counted as its events pass, and settled once, however it ends."""

from __future__ import annotations

from typing import Protocol

from tramontane.billing.meter import Metered
from tramontane.billing.rates import Admission
from tramontane.billing.tables import Outcome
from tramontane.gateway.answers import ChoiceUsage, Event, EventStream
from tramontane.gateway.providers.openai_compatible.counting import bound


class Watcher(Protocol):
    """Who is told how an answer fares."""

    @property
    def is_ending(self) -> bool:
        """Whether the server ends: then what breaks off was interrupted."""

    def begun(self) -> None:
        """The first token has come."""

    def ended(self, outcome: Outcome, problem: str) -> None:
        """It has ended; `problem` is of one that failed."""


class MeteredStream:
    """The events of a stream. What has been delivered is owed, whether the client stays or hangs up.

    The prompt is owed from the first token on: who leaves before it, or is failed before it, has been given nothing.
    A server that goes on beyond what it was told is cut off: nobody has paid for the rest.
    """

    def __init__(
        self,
        stream: EventStream,
        num_choices: int,
        metered: Metered,
        admission: Admission,
        watcher: Watcher,
        *,
        counts_itself: bool,
    ) -> None:
        """`counts_itself`: the events' tokens are the provider's own count, not our estimate of it."""
        self.num_prompt_tokens, self.notes = stream.num_prompt_tokens, stream.notes
        self._stream, self._metered, self._admission, self._watcher = stream, metered, admission, watcher
        self._unfinished = set(range(num_choices))
        self._outputs = [0] * num_choices
        self._cached = 0
        self._first_usage: ChoiceUsage | None = None  # whose prompt is the request's: later choices find it computed
        self._is_estimate = not counts_itself
        # Of an estimate that is above what is held it is not certain that it is too much.
        self._most = None if counts_itself else bound(metered.max_output)
        self._is_cut = False
        self._problem = ""
        self._settled = False

    def __aiter__(self) -> MeteredStream:
        return self

    async def __anext__(self) -> Event:
        event = self._cut_end() if self._is_cut else await self._next()
        self._count(event)
        # The last events of an answer that is all there tell its counts: nothing is left to be cut.
        if self._most is not None and event.finish_reason is None and sum(self._outputs) > self._most:
            self._is_cut = True
            await self._stream.aclose()
        return event

    async def _next(self) -> Event:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._settle("failed")  # where choices were left
            raise
        except Exception as error:
            self._problem = type(error).__name__
            self._settle("failed")
            raise

    def _cut_end(self) -> Event:
        """The last event of a choice that was cut off."""
        if not self._unfinished:
            raise StopAsyncIteration
        index = min(self._unfinished)
        usage = ChoiceUsage(self.num_prompt_tokens, self._cached, self._outputs[index], is_estimate=True)
        return Event(index, finish_reason="length", usage=usage)

    async def aclose(self) -> None:
        """Cancels the request, unless every choice has ended; what was delivered is paid for."""
        try:
            await self._stream.aclose()
        finally:
            self._settle("hung_up")

    def _count(self, event: Event) -> None:
        if event.num_tokens and not any(self._outputs):
            self._watcher.begun()
        self._outputs[event.index] += event.num_tokens
        if event.cached is not None and event.index == 0:
            self._cached = event.cached
        if event.finish_reason is not None:
            self._finish(event)
        if any(self._outputs):
            self._metered.count(*self._totals())
        if not self._unfinished:
            self._settle("failed" if self._problem else "done")

    def _finish(self, event: Event) -> None:
        self._unfinished.discard(event.index)
        if event.finish_reason == "error":
            self._problem = event.detail or "The answer ended with an error."
        if event.usage is not None:
            self._outputs[event.index] = event.usage.output
            self._is_estimate = event.usage.is_estimate
            if event.index == 0:
                self._first_usage = event.usage

    def _totals(self) -> tuple[int, int, int]:
        """Prompt, cached and output tokens so far; when all choices have ended, as the client is told them."""
        first = self._first_usage
        prompt, cached = (self.num_prompt_tokens, self._cached) if first is None else (first.prompt, first.cached)
        return prompt, cached, sum(self._outputs)

    def _settle(self, outcome: Outcome) -> None:
        if self._settled:
            return
        self._settled = True
        if outcome != "done" and self._watcher.is_ending:
            outcome = "interrupted"
        prompt, cached, output = self._totals() if outcome == "done" or any(self._outputs) else (0, 0, 0)
        self._metered.count(prompt, cached, output)
        self._admission.correct(prompt + output)
        self._metered.settle(outcome, is_estimate=self._is_estimate)
        self._watcher.ended(outcome, self._problem)
