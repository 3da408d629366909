"""The engine in a thread of its own, for asyncio programs."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from tramontane.engine.engine import Engine, Prepared
from tramontane.engine.metrics import EngineMetrics
from tramontane.engine.request import Output, Request
from tramontane.errors import ModelNotReadyError

Command = Callable[[], None]

# Checking a request looks at each token of its prompt: from so many on, in a thread, so that others' streams go on.
_LONG_PROMPT = 4096
_PREPARING_THREADS = 2


class OutputStream:
    """The outputs of a request that was accepted, as they are made, until each choice has its finish reason.

    Whoever stops listening calls `aclose`, which cancels what is not finished.
    """

    def __init__(self, engine: AsyncEngine, request: Request) -> None:
        self.loop = asyncio.get_running_loop()
        self.outputs: asyncio.Queue[Output] = asyncio.Queue()
        self._engine, self._request_id = engine, request.id
        self._unfinished = 1 if request.sampling is None else request.sampling.n

    def __aiter__(self) -> OutputStream:
        return self

    async def __anext__(self) -> Output:
        if not self._unfinished:
            raise StopAsyncIteration
        output = await self.outputs.get()
        self._unfinished -= output.finish_reason is not None
        return output

    async def aclose(self) -> None:
        """Gives the request up, where it is not finished."""
        if self._unfinished:
            self._unfinished = 0
            self._engine.give_up(self._request_id, self)


class AsyncEngine:
    """Runs an engine's steps in a thread; requests come from, and outputs go to, any number of event loops.

    Nobody but this thread touches the engine once it has started: what others want of it is queued as commands, which
    are carried out between two steps. So a cancelled request's blocks are free before the next step begins.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._listeners: dict[str, OutputStream] = {}
        self._stopping = False  # the thread's: no step comes any more
        self._closed = False  # everyone's, under the lock: no command comes any more
        self._lock = threading.Lock()
        # Of its own: hostile grammars keep these threads busy, and nobody else's.
        self._preparing = ThreadPoolExecutor(_PREPARING_THREADS, thread_name_prefix="prepare")
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def max_context(self) -> int:
        """Tokens that prompt and output may have together."""
        return self._engine.max_context

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs: a bug can end it, and then nobody is served any more."""
        return self._thread.is_alive()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an output."""
        return not self._listeners and self._commands.empty()

    @property
    def metrics(self) -> EngineMetrics:
        """Counters and gauges; reading them disturbs nobody."""
        return self._engine.metrics

    async def generate(self, request: Request) -> AsyncIterator[Output]:
        """The outputs of a request. Raises InvalidRequestError or QueueFullError before the first.

        Whoever stops listening cancels the request.
        """
        stream = await self.submit(request)
        try:
            async for output in stream:
                yield output
        finally:
            await stream.aclose()

    async def prepare(self, request: Request) -> Prepared:
        """Checks a request without queueing it; raises InvalidRequestError."""
        if self._closed:
            raise ModelNotReadyError("The engine has been closed.")
        if request.grammar is None and len(request.prompt) + len(request.prediction) < _LONG_PROMPT:
            return self._engine.prepare(request)
        # Seconds, for a hostile grammar.
        return await asyncio.get_running_loop().run_in_executor(self._preparing, self._engine.prepare, request)

    async def submit(self, request: Request, prepared: Prepared | None = None) -> OutputStream:
        """Queues a request; raises InvalidRequestError or QueueFullError. The caller owns the stream, and closes it.

        `prepared`: by `prepare`, if it was; the number of tokens asked for may have changed since.
        """
        prepared = prepared or await self.prepare(request)
        stream = OutputStream(self, request)
        accepted: asyncio.Future[None] = stream.loop.create_future()

        def submit() -> None:
            try:
                self._engine.submit(request, prepared)
            except Exception as error:
                _call(stream.loop, _fail, accepted, error)
            else:
                self._listeners[request.id] = stream
                _call(stream.loop, _succeed, accepted)

        if not self._send(submit):
            raise ModelNotReadyError("The engine has been closed.")
        try:
            await accepted
        except asyncio.CancelledError:
            await stream.aclose()
            raise
        return stream

    def give_up(self, request_id: str, listener: OutputStream) -> None:
        """Cancels a request between two steps, from any thread; whoever listens to it hears nothing more."""
        self._send(lambda: self._give_up(request_id, listener))

    def _give_up(self, request_id: str, listener: OutputStream) -> None:
        """Cancels the request that `listener` listens to: another may have its id by now, or have had it before."""
        if self._listeners.get(request_id) is listener:
            del self._listeners[request_id]
            self._engine.cancel(request_id)

    def close(self) -> None:
        """Ends the thread after its current step; whoever still listens gets the finish reason `cancelled`."""
        self._send(self._stop, last=True)
        self._thread.join()
        self._preparing.shutdown(wait=False, cancel_futures=True)

    def _stop(self) -> None:
        self._stopping = True

    def _send(self, command: Command, last: bool = False) -> bool:
        """Queues a command; False where the engine has been closed. Behind the `last` one none is ever queued."""
        with self._lock:
            if self._closed:
                return False
            self._closed = last
            self._commands.put(command)
            return True

    def _work(self) -> None:
        try:
            while True:
                self._obey(wait=not self._engine.has_work)
                if self._stopping:
                    return
                self._deliver(self._engine.step())
                self._forget_finished()
        finally:  # also where a bug ends the thread: nobody may be left waiting
            self._dismiss()

    def _deliver(self, outputs: list[Output]) -> None:
        """Hands on what a step made: each event loop is woken once a step, however many it has streams."""
        mail: dict[asyncio.AbstractEventLoop, list[tuple[OutputStream, Output]]] = {}
        for output in outputs:
            if listener := self._listeners.get(output.request_id):
                mail.setdefault(listener.loop, []).append((listener, output))
        for loop, letters in mail.items():
            if not _call(loop, _put_all, letters):  # nobody is left to hear
                for listener, output in letters:
                    self._give_up(output.request_id, listener)

    def _dismiss(self) -> None:
        """Ends what was asked for and is not finished."""
        self._send(self._stop, last=True)
        self._obey(wait=False)
        self._deliver(self._engine.cut_short())
        self._listeners.clear()

    def _obey(self, wait: bool) -> None:
        """Carries out the commands that have come; `wait`: until there is one."""
        try:
            while not self._stopping:
                self._commands.get(block=wait)()
                wait = False
        except queue.Empty:
            return

    def _forget_finished(self) -> None:
        for request_id in [r for r in self._listeners if not self._engine.open_choices(r)]:
            del self._listeners[request_id]


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> bool:
    """Calls in the loop's thread; False where the loop was closed meanwhile, and has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise
        return False
    return True


def _put_all(letters: list[tuple[OutputStream, Output]]) -> None:
    for listener, output in letters:
        listener.outputs.put_nowait(output)


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
