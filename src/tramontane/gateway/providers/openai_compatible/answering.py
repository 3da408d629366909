"""What another server streams, as our events: text, thoughts, whole tool calls, counts; and what broke off.

Servers differ. Usage comes in a chunk of its own, with the last one, or never; tool calls in fragments by index, or
whole; content may be null or a list; `[DONE]` may be missing; an error may come as an object in the middle.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tramontane.gateway.answers import ChoiceUsage, Event, FinishReason
from tramontane.gateway.errors import OfferingFailedError
from tramontane.gateway.providers.openai_compatible.counting import Counter, RunningCount
from tramontane.gateway.providers.openai_compatible.events import EventReader, EventTooLongError
from tramontane.gateway.providers.openai_compatible.refusals import message_of
from tramontane.outbound.client import FIRST_BYTE_SECONDS, NEXT_BYTE_SECONDS, Response
from tramontane.outbound.errors import OutboundError
from tramontane.tokenizer.tool_call_ids import new_tool_call_id, rehash_tool_call_id
from tramontane.tokenizer.tool_calls import Part, Text, Thinking, ToolCall

_USAGE_SECONDS = 5.0  # that the counts are waited for, once every choice has ended

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "content_filter": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "model_length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


Clean = Callable[[str], str]
"""Takes out of another server's words what nobody else may read."""


@dataclass(frozen=True, slots=True)
class _Usage:
    prompt: int
    cached: int
    output: int


class RemoteAnswer:
    """The events of one request that another server answers. `begin` has to come first."""

    def __init__(
        self, response: Response, counter: Counter, num_choices: int, estimated_prompt: int, clean: Clean
    ) -> None:
        self.num_prompt_tokens = estimated_prompt
        self.notes: list[str] = []
        self._response, self._clean = response, clean
        self._patience = FIRST_BYTE_SECONDS
        self._choices = [_Choice(index, counter) for index in range(num_choices)]
        self._reader = EventReader()
        self._ready: deque[Event] = deque()
        self._usage: _Usage | None = None
        self._problem: str | None = None
        self._is_done = self._ended = False

    async def begin(self) -> None:
        """Waits for the first event. Raises OfferingFailedError where none comes."""
        if self._response.headers.get("content-type", "").startswith("application/json"):
            await self._read_whole()
        while not self._ready and not self._ended:
            await self._read()
        if self._problem is not None and not any(event.parts or event.num_tokens for event in self._ready):
            raise OfferingFailedError(self._problem)
        self._patience = NEXT_BYTE_SECONDS
        if self._usage is not None:  # so far as it is known now: some tell it with each chunk
            self.num_prompt_tokens = self._usage.prompt

    def __aiter__(self) -> RemoteAnswer:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            await self._read()
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Closes the connection, so that the other server stops."""
        self._ended = True
        self._ready.clear()
        self._response.close()

    def cut(self) -> None:
        """Breaks the answer off; whoever reads it is told."""
        self._response.close()

    async def _read_whole(self) -> None:
        """An answer in one piece, of a server that does not stream."""
        try:
            self._take((await self._response.read()).decode("utf-8", "replace"))
        except OutboundError as error:
            self._problem = str(error)
        self._is_done = True
        self._end()

    async def _read(self) -> None:
        """Takes in what comes next."""
        all_ended = all(choice.reason is not None for choice in self._choices)
        try:
            received = await self._response.next_bytes(_USAGE_SECONDS if all_ended else self._patience)
            for data in self._reader.feed(received) if received else self._reader.end():
                self._take(data.strip())
        except (OutboundError, EventTooLongError) as error:
            if not all_ended:  # what is missing then is the counts alone
                self._problem = self._problem or str(error) or "The answer has an event without an end."
            self._end()
        else:
            if not received or self._problem is not None:
                self._end()

    def _take(self, data: str) -> None:
        if self._ended or self._problem is not None or not data:
            return
        if data == "[DONE]":
            self._is_done = True
            self._end()
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            self._problem = "The answer holds something that is not JSON."
            return
        if not isinstance(chunk, Mapping):
            return
        if chunk.get("error") or chunk.get("object") == "error":
            self._problem = f"The answer broke off with an error: {self._clean(message_of(chunk))}"
            return
        self._usage = _usage(chunk) or self._usage
        for choice in _mappings(chunk.get("choices")):
            index = choice.get("index") or 0
            if isinstance(index, int) and 0 <= index < len(self._choices):
                event = self._choices[index].read(choice)
                if event is not None:
                    self._ready.append(event)

    def _end(self) -> None:
        """The last event of each choice, with what it took."""
        if self._ended:
            return
        self._ended = True
        for choice in self._choices:
            if choice.reason is None and not (self._is_done and choice.has_begun):
                self._problem = self._problem or "The answer ended too early."
        for choice in self._choices:
            self._ready.append(choice.finish(self._problem, self._count(choice)))
        self._response.close()

    def _count(self, choice: _Choice) -> ChoiceUsage:
        """Servers count all choices together: the others have what was counted here, and the first one the rest.

        So the sum is the server's at any time, also where the client hangs up between two choices' ends.
        """
        if self._usage is not None:
            return ChoiceUsage(self._usage.prompt, self._usage.cached, self._share(choice, self._usage.output))
        return ChoiceUsage(self.num_prompt_tokens, 0, choice.count.total, is_estimate=True)

    def _share(self, choice: _Choice, output: int) -> int:
        left = output
        for other in self._choices[:0:-1]:
            share = min(other.count.total, left)
            if other is choice:
                return share
            left -= share
        return left


class _Choice:
    """Reads the chunks of one choice."""

    def __init__(self, index: int, counter: Counter) -> None:
        self.index = index
        self.reason: FinishReason | None = None
        self.has_begun = False
        self._detail: str | None = None
        self.count = RunningCount(counter)
        self._calls: list[_Call] = []
        self._num_calls = 0

    def read(self, choice: Mapping[str, Any]) -> Event | None:
        """What a chunk adds, None for nothing."""
        delta = choice.get("delta") or choice.get("message") or {}
        parts, written = _parts(choice.get("text")), []
        if isinstance(delta, Mapping):
            thoughts = delta.get("reasoning_content") or delta.get("reasoning")
            parts += [Thinking(thoughts)] if isinstance(thoughts, str) else []
            parts += _parts(delta.get("content"))
            written = [self._take_call(call) for call in _mappings(delta.get("tool_calls"))]
        written = [text for text in [part.text for part in parts if not isinstance(part, ToolCall)] + written if text]
        num_tokens = sum(self.count.add(text) for text in written)
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            parts += self._finish_calls()
            self.reason = _REASONS.get(reason, "error" if reason == "error" else "stop")
            self._detail = reason if reason in ("content_filter", "error") else None
        self.has_begun |= bool(parts or written or reason)
        return Event(self.index, parts, num_tokens) if parts or num_tokens else None

    def finish(self, problem: str | None, usage: ChoiceUsage) -> Event:
        """Its last event."""
        parts = self._finish_calls() if problem is None else []
        reason: FinishReason = self.reason or ("error" if problem is not None else "stop")
        if reason == "stop" and self._num_calls:
            reason = "tool_calls"
        return Event(self.index, parts, finish_reason=reason, detail=problem or self._detail, usage=usage)

    # ── tool calls ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_call(self, fragment: Mapping[str, Any]) -> str:
        """Adds a fragment to its call; returns what is written in it. A call is whole when the choice ends."""
        function = fragment.get("function")
        function = function if isinstance(function, Mapping) else {}
        name, given = str(function.get("name") or ""), function.get("arguments")
        arguments = given if isinstance(given, str) else "" if given is None else json.dumps(given)
        call = self._call_of(fragment.get("index"), str(fragment.get("id") or ""), bool(name))
        written = arguments if call.name else name + arguments
        call.name = call.name or name
        call.arguments += arguments
        return written

    def _call_of(self, index: Any, id_: str, is_named: bool) -> _Call:
        """Calls are told apart by index. Where all have the same, or none, another id or a name again begins one."""
        same = [call for call in self._calls if call.index == index]
        if same and id_ and (known := next((call for call in same if call.id == id_), None)):
            return known
        if same and not is_named:
            return same[-1]
        if same and not id_ and not same[-1].is_whole:
            return same[-1]
        self._calls.append(_Call(index, id_))
        return self._calls[-1]

    def _finish_calls(self) -> list[Part]:
        calls, self._calls = self._calls, []
        parts: list[Part] = []
        for call in calls:
            id_ = rehash_tool_call_id(call.id) if call.id else new_tool_call_id()
            parts.append(ToolCall(self._num_calls, id_, call.name, call.arguments or "{}"))
            self._num_calls += 1
        return parts


@dataclass(slots=True)
class _Call:
    """A tool call that is being put together."""

    index: Any
    id: str
    name: str = ""
    arguments: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are there: then a name begins another call."""
        try:
            json.loads(self.arguments)
        except ValueError:
            return False
        return True


def _parts(content: Any) -> list[Part]:
    """A text; or chunks of text and thoughts, as la Plateforme has them."""
    if isinstance(content, str):
        return [Text(content)] if content else []
    parts: list[Part] = []
    for chunk in _mappings(content):
        match chunk.get("type"):
            case "thinking":
                parts += [Thinking(str(inner.get("text") or "")) for inner in _mappings(chunk.get("thinking"))]
            case "text":
                parts.append(Text(str(chunk.get("text") or "")))
    return parts


def _usage(chunk: Mapping[str, Any]) -> _Usage | None:
    usage = chunk.get("usage")
    if not isinstance(usage, Mapping) or not isinstance(usage.get("prompt_tokens"), int):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else usage.get("num_cached_tokens")
    counts = (usage["prompt_tokens"], cached, usage.get("completion_tokens"))
    return _Usage(*(max(0, count) if isinstance(count, int) else 0 for count in counts))


def _mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
