"""Answers in the shape of a chat completion, whole and streamed: for chat and for fill-in-the-middle.

The rules of the stream are not to be guessed; each was found by trying clients. Role only in a choice's first delta;
`finish_reason` in every chunk, null until the last; `usage` only in the last chunk, which has choices; a tool call
whole in one chunk; after an error the stream ends with the reason `error`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starlette.responses import Response

from tramontane.api.generation import created_now, logprobs_body, usage_body
from tramontane.api.streams import DONE, event, json_response
from tramontane.gateway.answers import Answer, Choice, Event, EventStream, Quote, joined
from tramontane.tokenizer.tool_calls import Part, Text, Thinking, ToolCall


@dataclass(frozen=True, slots=True)
class Shown:
    """What of an answer the client asked to see."""

    id: str
    model: str
    num_choices: int = 1
    logprobs: bool = False
    top_logprobs: bool = False
    top_prompt_logprobs: bool = False


def whole_chat(shown: Shown, answer: Answer) -> Response:
    """The answer in one piece."""
    body = {
        "id": shown.id,
        "object": "chat.completion",
        "created": created_now(),
        "model": shown.model,
        "choices": [_choice(shown, index, choice) for index, choice in enumerate(answer.choices)],
        "usage": usage_body(answer.usage),
    }
    return json_response(body)


def _choice(shown: Shown, index: int, choice: Choice) -> dict[str, Any]:
    calls = [_tool_call(call) for call in choice.tool_calls]
    message: dict[str, Any] = {"role": "assistant", "content": _content(choice.parts), "tool_calls": calls or None}
    if choice.quotes is not None:
        message["quotes"] = _quotes(choice.quotes)
    body = {"index": index, "message": message, "finish_reason": choice.finish_reason}
    if shown.logprobs:
        body["logprobs"] = logprobs_body(choice.scores, with_top=shown.top_logprobs)
    if choice.prompt_scores is not None:
        body["prompt_logprobs"] = logprobs_body(choice.prompt_scores, with_top=shown.top_prompt_logprobs)
    return body


def _content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    """A text; chunks where there are thoughts, which are no part of the answer."""
    said = [part for part in joined(list(parts)) if not isinstance(part, ToolCall)]
    if any(isinstance(part, Thinking) for part in said):
        return [_chunk(part) for part in said]
    return "".join(part.text for part in said)


def _chunk(part: Text | Thinking) -> dict[str, Any]:
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
    return {"type": "text", "text": part.text}


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function, "index": call.index}


def _quotes(quotes: Sequence[Quote]) -> list[dict[str, Any]]:
    return [asdict(quote) for quote in quotes]


# ── streamed ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def streamed_chat(shown: Shown, stream: EventStream) -> AsyncIterator[bytes]:
    """The answer as server-sent events."""
    chunks, answer = _Chunks(shown), Answer(shown.num_choices)
    for index in range(shown.num_choices):
        yield chunks.of(index, {"role": "assistant", "content": ""})
    left = shown.num_choices
    async for added in stream:
        answer.choices[added.index].usage = added.usage
        for delta in _deltas(added.parts):
            yield chunks.of(added.index, delta, added)
        if added.finish_reason is not None:
            left -= 1
            yield chunks.last(added, usage=None if left else usage_body(answer.usage))
        elif chunks.has_scores(added):  # of a token that completes no character yet
            yield chunks.of(added.index, {"content": ""}, added)
    yield DONE


def _deltas(parts: Sequence[Part]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    for part in joined(list(parts)):
        match part:
            case ToolCall():
                deltas.append({"content": "", "tool_calls": [_tool_call(part)]})
            case Thinking():
                deltas.append({"content": [_chunk(part)]})
            case Text():
                deltas.append({"content": part.text})
    return deltas


class _Chunks:
    """Writes the chunks of one stream."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._head = {
            "id": shown.id,
            "object": "chat.completion.chunk",
            "created": created_now(),
            "model": shown.model,
        }

    def of(self, index: int, delta: dict[str, Any], added: Event | None = None) -> bytes:
        """A chunk of one choice; scores go with the first chunk of their event."""
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": None}
        if added is not None:
            self._add_scores(choice, added)
        return event({**self._head, "choices": [choice]})

    def has_scores(self, added: Event) -> bool:
        """Whether scores of an event are still to be sent."""
        return bool(self._shown.logprobs and added.scores) or added.prompt_scores is not None

    def last(self, added: Event, usage: dict[str, Any] | None) -> bytes:
        """The last chunk of a choice, and of the stream where it has the usage."""
        delta: dict[str, Any] = {"content": ""}
        if added.quotes is not None:
            delta["quotes"] = _quotes(added.quotes)
        choice: dict[str, Any] = {"index": added.index, "delta": delta, "finish_reason": added.finish_reason}
        self._add_scores(choice, added)
        body = {**self._head, "choices": [choice]}
        return event(body if usage is None else {**body, "usage": usage})

    def _add_scores(self, choice: dict[str, Any], added: Event) -> None:
        if self._shown.logprobs and added.scores:
            choice["logprobs"] = logprobs_body(added.scores, with_top=self._shown.top_logprobs)
            added.scores = []
        if added.prompt_scores is not None:
            with_top = self._shown.top_prompt_logprobs
            choice["prompt_logprobs"] = logprobs_body(added.prompt_scores, with_top=with_top)
            added.prompt_scores = None
