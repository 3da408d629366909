"""`tramontane serve`: the platform, listening."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import typer
import uvloop

from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.first_start import FirstStart, prepare_accounts
from tramontane.accounts.secrets import Secret
from tramontane.api.app import create_app
from tramontane.api.logs import LogFormat, configure_logs
from tramontane.api.platform import Platform
from tramontane.api.server import DrainingServer, listen, settle_memory, url_of
from tramontane.catalogue.bundled import BUNDLED_MODEL
from tramontane.catalogue.running import announce
from tramontane.catalogue.store import ModelStore
from tramontane.cli.model_options import find_device, find_model, parse_quantization, parse_size
from tramontane.cli.models_loading import loading_bars, open_sources
from tramontane.cli.terminal import notes, tell
from tramontane.errors import TramontaneError
from tramontane.gateway.deployments import Deployments
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import Source
from tramontane.storage.database import Database
from tramontane.storage.home import home_folder

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 30.0
_LOOPBACK = ("127.", "::1", "localhost")


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Folder, name=folder, owner/name, short name, or random:SHAPE; may be repeated. Else {BUNDLED_MODEL}."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    quantization: Annotated[str, typer.Option(help="none, int8 or int4.")] = "none",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    max_context: Annotated[int | None, typer.Option(min=16, help="Tokens of prompt and answer at most.")] = None,
    kv_memory: Annotated[str, typer.Option(help="Memory for keys and values, of all models together.")] = "4GiB",
    max_queue: Annotated[int, typer.Option(min=0, help="Requests that may wait for each model.")] = 1024,
    drain_seconds: Annotated[float, typer.Option(min=0, help="How long answers may take once it is to end.")] = 30.0,
    log_format: Annotated[str, typer.Option(help="human, json, or auto: human on a terminal.")] = "auto",
) -> None:
    """Serve models to clients of la Plateforme and of OpenAI's API.

    Example: [bold]tramontane serve --model ./Mistral-7B-Instruct-v0.3 --quantization int8[/]
    """
    # Whatever can be refused is refused before anything is written or loaded.
    sources = open_sources([find_model(text) for text in model or [BUNDLED_MODEL]])
    options = LocalOptions(
        parse_quantization(quantization), find_device(device), parse_size(kv_memory), max_context, max_queue
    )
    configure_logs(_log_format(log_format))
    listening = listen(host, port)
    try:
        uvloop.run(_Serving(home_folder(), sources, options, listening, drain_seconds).run())
    finally:
        listening.close()


def _log_format(text: str) -> LogFormat:
    if text == "auto":
        return "human" if sys.stderr.isatty() else "json"
    for known in get_args(LogFormat):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise TramontaneError(f"The log format {text!r} is not known; choose human, json or auto.")


class _Serving:
    """One run of the server: opens the rooms, loads the models while it listens already, and closes in order."""

    def __init__(
        self, home: Path, sources: Sequence[Source], options: LocalOptions, listening: socket.socket, drain: float
    ) -> None:
        self._home, self._listening, self._drain_seconds = home, listening, drain
        self._names = [source.name for source in sources]
        self._folders = [source.folder for source in sources if source.folder is not None]
        self._provider = LocalProvider(sources, options)
        self._database = Database.open(os.environ.get("TRAMONTANE_DATABASE_URL"), home)

    async def run(self) -> None:
        chosen = os.environ.pop("TRAMONTANE_API_KEY", None)  # no child process inherits it
        await self._database.upgrade()
        first = await prepare_accounts(self._database, Secret(chosen) if chosen else None)
        metrics = Metrics()
        metrics.read_engines_from(self._provider.metrics)
        platform = Platform(
            self._database, Authenticator(self._database), [self._provider], metrics, ModelStore(self._home)
        )
        said = await platform.open(self._names)
        platform.deployments = self._deployments = Deployments(self._database, platform.store, self._provider)
        await self._deployments.open()

        def cut() -> None:
            platform.expect_end()
            self._provider.close()

        server = DrainingServer(create_app(platform), platform, drain_seconds=self._drain_seconds, cut=cut)
        url = url_of(self._listening)
        _introduce(url, first, self._listening)
        tell(self._provider.warnings())
        for sentence in said:
            print(sentence)
        flushing = asyncio.create_task(_flush_now_and_then(platform.authenticator))
        loading = asyncio.create_task(self._load(server, platform))
        try:
            with announce(self._home, url, self._names, self._folders) as announcement:
                self._deployments.on_change = lambda: announcement.update(
                    self._provider.names(), self._provider.folders()
                )
                await server.serve([self._listening])
            await loading
        finally:
            flushing.cancel()
            await self._deployments.close()
            platform.expect_end()
            await platform.answers.close()
            await asyncio.to_thread(self._provider.close)
            await platform.close()
            await self._database.close()

    async def _load(self, server: DrainingServer, platform: Platform) -> None:
        """Loads the models; a server whose model cannot be loaded ends, and says why."""
        try:
            await asyncio.to_thread(self._load_with_progress, platform)
            self._deployments.set_to_work()
        except _EndingError:
            return
        except Exception:
            platform.draining = server.should_exit = True
            raise

    def _load_with_progress(self, platform: Platform) -> None:
        started = time.perf_counter()
        with loading_bars() as show:

            def report(name: str, done: int, total: int) -> None:
                if platform.draining:
                    raise _EndingError
                show(name, done, total)

            notices = self._provider.load(report)
        tell(notices)
        settle_memory()
        notes.print(f"Ready after {time.perf_counter() - started:.1f} s: {', '.join(self._names)}", highlight=False)


class _EndingError(Exception):
    """The server was asked to end while it was loading."""


def _introduce(url: str, first: FirstStart, listening: socket.socket) -> None:
    """What a person needs first: where it listens, the key, the way into the browser. Not for the log."""
    print(f"Tramontane listens on {url}")
    if first.new_key is not None:
        print(f"API key, shown only now:  {first.new_key.reveal()}")
    print(f"Sign in, once, by:        {url}/sign-in?token={first.link.reveal()}", flush=True)
    host = listening.getsockname()[0]
    if not host.startswith(_LOOPBACK):
        tell([f"It listens on {host}: others can reach it, and without TLS they can read along."])


async def _flush_now_and_then(authenticator: Authenticator) -> None:
    while True:
        await asyncio.sleep(_FLUSH_SECONDS)
        try:
            await authenticator.flush()
        except Exception:
            logger.exception("when keys were last used could not be written; it is tried again")
