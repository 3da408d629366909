"""An HTTP client that costs as little as Python allows, so that a measurement is the server's and not its own.

It speaks what the measured server speaks: HTTP/1.1, kept alive, answers with a length or in chunks. Loopback only.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, cast

import httptools

from tramontane.errors import TramontaneError

OnBody = Callable[[bytes], None]

_MOST_OF_A_REFUSAL = 300
_IDLE_SECONDS = 30.0  # after which a connection is not used again; the server keeps it for longer


def post(path: str, key: str, body: dict[str, Any]) -> bytes:
    """A whole request, as bytes."""
    content = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Client:
    """As many connections as there are requests at once; each is used again once its answer is there."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()

    async def connect(self, number: int) -> None:
        """Opens connections before they are needed."""
        for connection in [await self._open() for _ in range(number)]:
            self._rest(connection)

    async def send(self, request: bytes, on_body: OnBody) -> None:
        """Sends a request and hands on the parts of its answer's body, until it is complete.

        Raises TramontaneError where the answer is not a success, ConnectionError where none comes.
        """
        connection = await self._take()
        try:
            await connection.exchange(request, on_body)
        except BaseException:
            self._hang_up(connection)
            raise
        self._rest(connection)

    async def leave(self, request: bytes, is_enough: Callable[[bytes], bool], seconds: float) -> bool:
        """Sends a request and hangs up once `is_enough`, called with each part of the answer's body, says so, or after
        so many seconds. Whether it was enough. Raises as `send` does.
        """
        connection, enough = await self._take(), asyncio.Event()

        def on_body(part: bytes) -> None:
            if is_enough(part):
                enough.set()

        waits = [asyncio.ensure_future(work) for work in (connection.exchange(request, on_body), enough.wait())]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if waits[0].done():
                await waits[0]  # raises what it raised
        finally:
            self._hang_up(connection)
            for waiting in waits:
                waiting.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return enough.is_set()

    def close(self) -> None:
        """Hangs up, also in the middle of answers."""
        for connection in self._all:
            connection.close()

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if time.monotonic() - connection.idle_since < _IDLE_SECONDS:
                return connection
            self._hang_up(connection)
        return await self._open()

    async def _open(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        self._all.add(connection)
        return connection

    def _rest(self, connection: _Connection) -> None:
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def _hang_up(self, connection: _Connection) -> None:
        connection.close()
        self._all.discard(connection)


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._complete: asyncio.Future[None] | None = None
        self._on_body: OnBody = drop
        self._refusal = b""

    async def exchange(self, request: bytes, on_body: OnBody) -> None:
        assert self._transport is not None
        self._complete, self._on_body = asyncio.get_running_loop().create_future(), on_body
        if self._transport.is_closing():
            raise ConnectionResetError("The server has hung up.")
        self._transport.write(request)
        await self._complete
        if self._refusal:
            status, body = self._parser.get_status_code(), self._refusal[:_MOST_OF_A_REFUSAL].decode(errors="replace")
            raise TramontaneError(f"The measured server answered {status}: {body}")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ── called by the event loop ────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._complete is not None and not self._complete.done():
            self._complete.set_exception(ConnectionResetError(f"The server has hung up: {exc or 'no reason given'}."))

    # ── called by the parser ────────────────────────────────────────────────────────────────────────────────────

    def on_body(self, body: bytes) -> None:
        if self._parser.get_status_code() == 200:
            self._on_body(body)
        else:
            self._refusal += body

    def on_message_complete(self) -> None:
        if self._complete is not None and not self._complete.done():
            self._complete.set_result(None)


def drop(part: bytes) -> None:
    """For whoever wants nothing of a body."""
