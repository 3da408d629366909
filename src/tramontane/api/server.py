"""The server process: how it listens, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from tramontane.api.platform import Platform
from tramontane.errors import TramontaneError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KEEP_ALIVE_SECONDS = 75
# After the answers were cut there are last chunks to be sent.
_LAST_CHUNKS_SECONDS = 5


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
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for answers, and cuts those that are not done at the deadline."""
        loop = asyncio.get_running_loop()
        cutting = loop.call_later(self._drain_seconds, lambda: loop.run_in_executor(None, self._cut))
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises TramontaneError where the address is taken or not ours. Port 0: any that is free."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
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
