"""The server process: how it listens, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tramontane.api.platform import Platform
from tramontane.errors import TramontaneError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KEEP_ALIVE_SECONDS = 75
_MOST_HEADER_BYTES, _HEADER_SECONDS = 64 * 1024, 30
_BACKLOG = 2048  # connections that wait to be accepted
# After the answers were cut there are last chunks to be sent.
_LAST_CHUNKS_SECONDS = 5


class _BoundedHeaders(HttpToolsProtocol):
    """Ends a connection whose headers are too long or too slow: before them nothing is known of who sends them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._num_header_bytes, self._in_headers = 0, True
        self._deadline = self.loop.call_later(_HEADER_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        if self._in_headers:
            self._num_header_bytes += len(data)
            if self._num_header_bytes > _MOST_HEADER_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._num_header_bytes, self._in_headers = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its headers are there."""
        self._in_headers = False
        self._deadline.cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._deadline.cancel()
        super().connection_lost(exc)


class DrainingServer(uvicorn.Server):
    """Ends in order: the first signal stops what is new and lets answers finish, until they are cut at a deadline.

    A second signal ends the process at once. Whoever was served then has no answer, but nothing that was committed is
    lost.
    """

    def __init__(self, app: ASGIApp, platform: Platform, *, drain_seconds: float, cut: Callable[[], None]) -> None:
        """`cut` ends all answers; it is called in a thread, since it waits for the engines' current steps."""
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=_BoundedHeaders,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(drain_seconds) + _LAST_CHUNKS_SECONDS,
        )
        super().__init__(config)
        self._platform, self._drain_seconds, self._cut = platform, drain_seconds, cut

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called for each signal."""
        if self.should_exit:
            os._exit(128 + sig)
        self._platform.draining = True
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike the library's own, a process that was asked to end, and did, has succeeded: the exit status is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in _SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to serve."""
        await super().startup(sockets)
        settle_memory()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for answers, and cuts those that are not done at the deadline."""
        loop = asyncio.get_running_loop()
        # In a thread of its own: the loop's may all be busy with what clients have asked for.
        cutting = loop.call_later(self._drain_seconds, lambda: threading.Thread(target=self._cut).start())
        try:
            await super().shutdown(sockets)
            await self._platform.answers.drained()  # also those that nobody follows; a cut ends them
        finally:
            cutting.cancel()


def settle_memory() -> None:
    """Takes what is there for good out of the garbage collector's rounds, which stop everything for up to 50 ms."""
    gc.collect()
    gc.freeze()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises TramontaneError where the address is taken or not ours. Port 0: any that is free."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Now: a bound address alone can be bound once more, and nobody is refused between here and the server's start.
        listening.listen(_BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TramontaneError(
            f"The server cannot listen on {host} port {port} ({reason}): choose another --host or --port."
        ) from error
    listening.set_inheritable(True)
    return listening


def url_of(listening: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"
