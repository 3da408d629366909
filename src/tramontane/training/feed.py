"""Documents in the order of their places, drawn by other processes beside the trainer, a little ahead of it.

The processes live as long as the run, and draw for all of its stages: to begin takes them seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from tramontane.training.drawing import Drawer
from tramontane.training.errors import TrainingError
from tramontane.training.rendering import Document, Tokens, Weights

_CHUNK = 64  # documents that a worker draws at a time
_MOST_TOO_LONG = 1000  # one after another, until the stage is refused
_AHEAD = 4  # chunks for each worker that wait to be read

_drawers: Sequence[Drawer] = ()  # a worker process' own


class Workers:
    """The processes that draw the documents of `drawers`; none, for a count of 0. A context manager: it ends them."""

    def __init__(self, drawers: Sequence[Drawer], count: int) -> None:
        self.count = count
        self._drawers = list(drawers)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count:
            self._pool = ProcessPoolExecutor(
                self.count,
                mp_context=multiprocessing.get_context("spawn"),  # a fork of a process with threads may hang
                initializer=_begin_work,
                initargs=(self._drawers, os.getpid()),
            )
            for _ in range(self.count):  # they begin now, beside what else a run begins with
                self._pool.submit(os.getpid)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def draw(self, drawer: Drawer, places: Sequence[int]) -> Future[_Chunk]:
        """The documents at the places, once a process has drawn them."""
        assert self._pool is not None
        return self._pool.submit(_work, self._drawers.index(drawer), places)


NO_WORKERS = Workers((), 0)
"""Documents are drawn by the process that reads them."""


@dataclass(frozen=True)
class _Chunk:
    """Documents on their way between processes: a few long arrays travel faster than many short ones.

    Of each place: how many tokens its document has, kind, language and origin; None where there is none.
    """

    tokens: Tokens
    weights: Weights
    places: list[tuple[int, str, str, str] | None]

    def documents(self) -> Iterator[Document | None]:
        """The documents by place; their arrays are parts of the chunk's."""
        start = 0
        for place in self.places:
            if place is None:
                yield None
                continue
            length, *known = place
            part = slice(start, start + length)
            yield Document(self.tokens[part], self.weights[part], *known)
            start += length


@dataclass(frozen=True)
class Shard:
    """Which places of a stage this process reads: every `count`-th, from `index` on. One process reads all."""

    index: int = 0
    count: int = 1


class Feed:
    """Reads a stage's documents from `position` on; by whom they are drawn changes nothing.

    `position` is the number of places read of this shard: what a checkpoint keeps. A context manager: what `workers`
    were to draw for it and is not read is not drawn any more.
    """

    def __init__(self, drawer: Drawer, position: int, *, workers: Workers = NO_WORKERS, shard: Shard = Shard()) -> None:
        self.position = position
        self._drawer, self._shard, self._workers = drawer, shard, workers
        self._waiting: deque[Future[_Chunk]] = deque()
        self._held: Document | None = None
        self._documents = self._read(position)

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for future in self._waiting:
            future.cancel()

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
        while not self._workers.count:
            yield self._drawer.draw(position * self._shard.count + self._shard.index)
            position += 1
        while True:
            while len(self._waiting) < self._workers.count * _AHEAD:
                places = [p * self._shard.count + self._shard.index for p in range(position, position + _CHUNK)]
                self._waiting.append(self._workers.draw(self._drawer, places))
                position += _CHUNK
            try:
                yield from self._waiting.popleft().result().documents()
            except BrokenProcessPool as error:
                raise TrainingError("A process that draws samples was ended from outside; resume the run.") from error


def _begin_work(drawers: Sequence[Drawer], parent: int) -> None:
    global _drawers
    _drawers = drawers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's affair, which ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A trainer that is killed cannot end its workers: they see that they have another parent."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _work(drawer: int, places: Sequence[int]) -> _Chunk:
    drawn = [_drawers[drawer].draw(place) for place in places]
    found = [document for document in drawn if document is not None]
    nothing: tuple[Tokens, Weights] = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
    return _Chunk(
        np.concatenate([nothing[0], *(document.tokens for document in found)]),
        np.concatenate([nothing[1], *(document.weights for document in found)]),
        [None if one is None else (len(one), one.kind, one.language, one.origin) for one in drawn],
    )


def default_workers() -> int:
    """One process fewer than there are cores, for the trainer; one at least, and not more than a GPU can use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores - 1))
