"""A stream that is paid for: counted as its events pass, and settled once, however it ends."""

from __future__ import annotations

from typing import Protocol

from tramontane.billing.meter import Metered
from tramontane.billing.rates import Admission
from tramontane.billing.tables import Outcome
from tramontane.gateway.answers import ChoiceUsage, Event, EventStream


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
        self._left = num_choices
        self._outputs = [0] * num_choices
        self._cached = 0
        self._first_usage: ChoiceUsage | None = None  # whose prompt is the request's: later choices find it computed
        self._is_estimate = not counts_itself
        self._problem = ""
        self._settled = False

    def __aiter__(self) -> MeteredStream:
        return self

    async def __anext__(self) -> Event:
        try:
            event = await self._stream.__anext__()
        except StopAsyncIteration:
            self._settle("failed")  # where choices were left
            raise
        except Exception as error:
            self._problem = type(error).__name__
            self._settle("failed")
            raise
        self._count(event)
        return event

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
        if self._left == 0:
            self._settle("failed" if self._problem else "done")

    def _finish(self, event: Event) -> None:
        self._left -= 1
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
