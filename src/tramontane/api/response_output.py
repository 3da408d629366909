"""An answer as the items and events of OpenAI's responses. Whole answers are what the events add up to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tramontane.api.generation import created_now
from tramontane.api.schemas.responses import ResponseRequest
from tramontane.gateway.answers import Event
from tramontane.tokenizer.tool_calls import Part, Thinking, ToolCall

# (name, body) of a server-sent event
Named = tuple[str, dict[str, Any]]

_INCOMPLETE = {"length": "max_output_tokens", "model_length": "max_output_tokens"}


class ResponseWriter:
    """Writes one response: feed it the events of an answer, send on what it yields; `response` is the whole so far."""

    def __init__(self, response_id: str, body: ResponseRequest) -> None:
        self._id = response_id
        self._sequence = 0
        self._item: dict[str, Any] | None = None  # the message or thoughts that are being written
        self._text: list[str] = []
        self._reasoning_tokens = 0
        self.response = _new_response(response_id, body)

    def begin(self) -> Iterator[Named]:
        """The first events."""
        yield self._event("response.created", response=dict(self.response))
        yield self._event("response.in_progress", response=dict(self.response))

    def add(self, added: Event) -> Iterator[Named]:
        """What one event of the answer adds; its last ends the response."""
        if any(isinstance(part, Thinking) for part in added.parts):
            self._reasoning_tokens += added.num_tokens
        for part in added.parts:
            yield from self._add_part(part)
        if added.finish_reason is not None:
            yield from self._close_item("incomplete" if added.finish_reason in _INCOMPLETE else "completed")
            yield self._finish(added)

    def write(self, added: Event) -> None:
        """Takes an event in, where nobody asks for what it adds."""
        for _ in self.add(added):
            pass

    def _add_part(self, part: Part) -> Iterator[Named]:
        if isinstance(part, ToolCall):
            yield from self._close_item()
            yield from self._call(part)
            return
        kind = "reasoning" if isinstance(part, Thinking) else "message"
        if self._item is None or self._item["type"] != kind:
            yield from self._close_item()
            yield from self._open_item(kind)
        self._text.append(part.text)
        name = "response.reasoning_text.delta" if kind == "reasoning" else "response.output_text.delta"
        extra: dict[str, Any] = {} if kind == "reasoning" else {"logprobs": []}
        yield self._event(name, **self._place(), content_index=0, delta=part.text, **extra)

    def _open_item(self, kind: str) -> Iterator[Named]:
        number = len(self.response["output"])
        if kind == "message":
            self._item = {"id": f"msg_{self._id}_{number}", "type": kind, "role": "assistant", "content": []}
        else:
            self._item = {"id": f"rs_{self._id}_{number}", "type": kind, "summary": [], "content": []}
        self._item["status"] = "in_progress"
        self._text = []
        yield self._event("response.output_item.added", output_index=number, item=dict(self._item))
        yield self._event("response.content_part.added", **self._place(), content_index=0, part=self._part(""))

    def _close_item(self, status: str = "completed") -> Iterator[Named]:
        if self._item is None:
            return
        text, place = "".join(self._text), self._place()
        if self._item["type"] == "message":
            yield self._event("response.output_text.done", **place, content_index=0, text=text, logprobs=[])
        else:
            yield self._event("response.reasoning_text.done", **place, content_index=0, text=text)
        yield self._event("response.content_part.done", **place, content_index=0, part=self._part(text))
        item, self._item = {**self._item, "status": status, "content": [self._part(text)]}, None
        yield self._event("response.output_item.done", output_index=place["output_index"], item=item)
        self.response["output"].append(item)

    def _call(self, call: ToolCall) -> Iterator[Named]:
        number = len(self.response["output"])
        item = {
            "id": f"fc_{self._id}_{number}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        place = {"item_id": item["id"], "output_index": number}
        begun = {**item, "arguments": "", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=number, item=begun)
        yield self._event("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self._event("response.function_call_arguments.done", **place, name=call.name, arguments=call.arguments)
        yield self._event("response.output_item.done", output_index=number, item=item)
        self.response["output"].append(item)

    def _finish(self, added: Event) -> Named:
        reason = added.finish_reason
        status = "failed" if reason == "error" else "incomplete" if reason in _INCOMPLETE else "completed"
        self.response["status"] = status
        if status == "incomplete":
            self.response["incomplete_details"] = {"reason": _INCOMPLETE[str(reason)]}
        if status == "failed":
            message = "The server failed to finish this answer; its log tells why."
            self.response["error"] = {"code": "server_error", "message": message}
        if added.usage is not None:
            self.response["usage"] = {
                "input_tokens": added.usage.prompt,
                "input_tokens_details": {"cached_tokens": added.usage.cached},
                "output_tokens": added.usage.output,
                "output_tokens_details": {"reasoning_tokens": self._reasoning_tokens},
                "total_tokens": added.usage.prompt + added.usage.output,
            }
        return self._event(f"response.{status}", response=self.response)

    def _place(self) -> dict[str, Any]:
        assert self._item is not None
        return {"item_id": self._item["id"], "output_index": len(self.response["output"])}

    def _part(self, text: str) -> dict[str, Any]:
        assert self._item is not None
        if self._item["type"] == "reasoning":
            return {"type": "reasoning_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _event(self, kind: str, **fields: Any) -> Named:
        number, self._sequence = self._sequence, self._sequence + 1
        return kind, {"type": kind, "sequence_number": number, **fields}


def _new_response(response_id: str, body: ResponseRequest) -> dict[str, Any]:
    asked = body.model_dump(by_alias=True, exclude_none=True)
    return {
        "id": f"resp_{response_id}",
        "object": "response",
        "created_at": created_now(),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "model": body.model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": asked.get("reasoning", {"effort": None}),
        "store": False,
        "temperature": body.temperature,
        "text": asked.get("text", {"format": {"type": "text"}}),
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools", []),
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": None,
        "metadata": asked.get("metadata", {}),
    }
