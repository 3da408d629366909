"""Documents in the order of their places, drawn by other processes beside the trainer, a little ahead of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType

from tramontane.training.drawing import Drawer
from tramontane.training.errors import TrainingError
from tramontane.training.rendering import Document

_CHUNK = 64  # documents that a worker draws at a time
_MOST_TOO_LONG = 1000  # one after another, until the stage is refused
_AHEAD = 4  # chunks for each worker that wait to be read

_drawer: Drawer | None = None  # a worker process' own


@dataclass(frozen=True)
class Shard:
    """Which places of a stage this process reads: every `count`-th, from `index` on. One process reads all."""

    index: int = 0
    count: int = 1


class Feed:
    """Reads a stage's documents from `position` on; the number of worker processes (0: none) changes nothing.

    `position` is the number of places read of this shard: what a checkpoint keeps. A context manager: it ends its
    workers.
    """

    def __init__(self, drawer: Drawer, position: int, *, workers: int = 0, shard: Shard = Shard()) -> None:
        self.position = position
        self._drawer, self._shard, self._workers = drawer, shard, workers
        self._pool: ProcessPoolExecutor | None = None
        self._held: Document | None = None
        self._documents = self._read(position)

    def __enter__(self) -> Feed:
        if self._workers:
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),  # a fork of a process with threads may hang
                initializer=_begin_work,
                initargs=(self._drawer, os.getpid()),
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def step(self, tokens: int) -> list[Document]:
        """The next documents, as many as fit into `tokens`, and one at least."""
        taken: list[Document] = []
        room = tokens
        while True:
            document = self._held or self._next()
            self._held = None
            if taken and len(document) > room:
                self._held = document
                return taken
            taken.append(document)
            self.position = self._seen
            room -= len(document)

    def _next(self) -> Document:
        start = self.position
        for document in self._documents:
            self._seen += 1
            if document is not None:
                return document
            if self._seen - start > _MOST_TOO_LONG:
                break
        raise TrainingError(
            f"Of {_MOST_TOO_LONG} samples of the stage {self._drawer.stage.name} none has at most "
            f"{self._drawer.stage.sequence_length} tokens; raise sequence_length."
        )

    def _read(self, position: int) -> Iterator[Document | None]:
        self._seen = position
        while self._pool is None:
            yield self._drawer.draw(position * self._shard.count + self._shard.index)
            position += 1
        waiting: deque[Future[list[Document | None]]] = deque()
        while True:
            while len(waiting) < self._workers * _AHEAD:
                places = range(position, position + _CHUNK)
                waiting.append(self._pool.submit(_work, [p * self._shard.count + self._shard.index for p in places]))
                position += _CHUNK
            try:
                yield from waiting.popleft().result()
            except BrokenProcessPool as error:
                raise TrainingError("A process that draws samples was ended from outside; resume the run.") from error


def _begin_work(drawer: Drawer, parent: int) -> None:
    global _drawer
    _drawer = drawer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's affair, which ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A trainer that is killed cannot end its workers: they see that they have another parent."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _work(places: list[int]) -> list[Document | None]:
    assert _drawer is not None
    return [_drawer.draw(place) for place in places]


def default_workers() -> int:
    """One process fewer than there are cores, for the trainer; one at least, and not more than a GPU can use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores - 1))
