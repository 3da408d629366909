"""Answers while they are made: server-sent events, and the watch for clients that hang up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tramontane.api.errors import HungUpError

T = TypeVar("T")

DONE = b"data: [DONE]\n\n"

_EVENT = {
    "type": "object",
    "title": "Event",
    "required": ["data"],
    "properties": {
        "data": {"type": "string", "description": "A chunk, as JSON; at the end of completions [DONE]."},
        "event": {"type": "string", "description": "Its name, where events have one."},
    },
}
STREAMED: dict[str, Any] = {"text/event-stream": {"schema": _EVENT}}
"""What an answer is when it comes as a stream; for the API's description."""


# Made once: `json.dumps` would make one for each event, a quarter of what the event takes to write.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_json(data: Any) -> bytes:
    """JSON as it is sent. Half a surrogate pair, which only a client can have brought, is escaped again."""
    try:
        return _encode(data).encode()
    except UnicodeEncodeError:
        return json.dumps(data, separators=(",", ":")).encode()


def json_response(data: Any) -> Response:
    """An answer in one piece."""
    return Response(to_json(data), media_type="application/json")


def event(data: dict[str, Any], name: str | None = None) -> bytes:
    """One server-sent event."""
    line = b"data: " + to_json(data) + b"\n\n"
    return line if name is None else b"event: " + name.encode() + b"\n" + line


class EventStreamResponse(Response):
    """Sends events as they come; `close` is called however it ends, at once when the client hangs up."""

    def __init__(self, events: AsyncIterator[bytes], close: Callable[[], Awaitable[None]] | None = None) -> None:
        # Exactly this type: some clients compare it as a string.
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.headers["content-type"] = "text/event-stream"
        self._events, self._close = events, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        sending = asyncio.ensure_future(self._send(send))
        hanging_up = asyncio.ensure_future(_hang_up(receive))
        try:
            await asyncio.wait((sending, hanging_up), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending  # raises what it raised
        finally:
            sending.cancel()
            hanging_up.cancel()
            if self._close is not None:
                await self._close()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._events:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up; then raises HungUpError."""
    working = asyncio.ensure_future(work)
    hanging_up = asyncio.ensure_future(_hang_up(request.receive))
    try:
        await asyncio.wait((working, hanging_up), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HungUpError
        return await working
    finally:
        hanging_up.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))  # what it holds is given back before anybody goes on


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
