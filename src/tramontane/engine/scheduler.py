"""Who computes how many tokens in the next step, and whose blocks hold the results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tramontane.engine.block_pool import BlockPool
from tramontane.engine.kv_cache import LayerGroup, windowed_blocks
from tramontane.engine.metrics import EngineMetrics
from tramontane.engine.pacing import PromptPacer
from tramontane.engine.prefix_cache import PrefixCache
from tramontane.engine.sequence import NO_BLOCK, Sequence, Status
from tramontane.errors import QueueFullError


@dataclass(slots=True)
class Chunk:
    """`num_tokens` of `sequence`, from `sequence.num_computed` on, are computed in this step, and its `guess`."""

    sequence: Sequence
    num_tokens: int
    is_prompt: bool = True  # part of a prompt, or computed again; False: the token that was sampled last
    guess: list[int] = field(default_factory=list)  # what may come next, computed ahead

    @property
    def num_rows(self) -> int:
        """Rows of the step's batch."""
        return self.num_tokens + len(self.guess)


class Scheduler:
    """Hands out a token budget each step: single tokens first, then prompts in chunks, then new arrivals.

    Order of arrival decides: when blocks run out, the youngest running sequence gives its own back and starts again
    later (recomputing what the prefix cache no longer has), so the oldest always gets on.
    """

    def __init__(
        self,
        groups: list[LayerGroup],
        pool: BlockPool,
        prefixes: PrefixCache,
        pacer: PromptPacer,
        metrics: EngineMetrics,
        *,
        max_sequences: int,
        max_queue: int,
        max_context: int,
    ) -> None:
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._groups, self._pool, self._prefixes = groups, pool, prefixes
        self._block_size = prefixes.block_size
        self._has_windows = any(group.window is not None for group in groups)
        self._pacer, self._metrics = pacer, metrics
        self._max_sequences, self._max_queue, self._max_context = max_sequences, max_queue, max_context
        self._free_places = max_sequences  # after the last step was planned; none where somebody could not start

    def add(self, sequences: list[Sequence]) -> None:
        """Queues the choices of one request; raises QueueFullError where the queue cannot take them."""
        # Who comes between two steps and finds a free place does not count as waiting. And a request of several
        # choices may enter an empty queue whatever its size, else it never could.
        if self.waiting and len(self.waiting) + len(sequences) > self._max_queue + self._free_places:
            self._metrics.admission_rejections += 1
            raise QueueFullError(f"The queue is full ({self._max_queue} requests wait); try again later.")
        self.waiting.extend(sequences)

    def remove(self, sequence: Sequence) -> None:
        """Takes a sequence out, finished or given up; its blocks are free at once."""
        if sequence.status is Status.RUNNING:
            self.running.remove(sequence)
            self._release(sequence)
        elif sequence.status is Status.WAITING:
            self.waiting.remove(sequence)
        sequence.status = Status.FINISHED

    def schedule(self) -> list[Chunk]:
        """The next step's work; every chunk has its blocks."""
        chunks = self._decodes()
        decoding = {id(chunk.sequence) for chunk in chunks}
        self._admit()
        budget = self._pacer.cap(len(chunks), num_prompting=len(self.running) - len(chunks))
        self._prompts(chunks, [s for s in self.running if id(s) not in decoding], budget)
        self._guess(chunks)
        left = any(sequence.is_ready for sequence in self.waiting)
        self._free_places = 0 if left else self._max_sequences - len(self.running)
        return chunks

    def _decodes(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        for sequence in list(self.running):
            if sequence.remaining == 1 and self._make_room(sequence, 1, chunks):
                is_prompt = sequence.num_computed < sequence.num_prompt
                chunks.append(Chunk(sequence, 1, is_prompt))
        return chunks

    def _guess(self, chunks: list[Chunk]) -> None:
        """Adds tokens to compute ahead, last of all: what is left of memory and of the step, nothing of anybody's."""
        budget = self._pacer.max_tokens - sum(chunk.num_tokens for chunk in chunks)
        for chunk in chunks:
            prediction = chunk.sequence.prediction
            if chunk.is_prompt or prediction is None:
                continue
            guess = prediction.guess(min(self._room(chunk.sequence) - 1, budget))
            if self._extend(chunk.sequence, chunk.sequence.num_computed + 1 + len(guess)):
                chunk.guess = guess
                budget -= len(guess)
            else:
                prediction.withdraw()

    def _room(self, sequence: Sequence) -> int:
        """Tokens that a sequence may still write."""
        room = self._max_context - len(sequence.tokens)
        limit = sequence.sampling.max_tokens
        return room if limit is None else min(room, limit - sequence.num_output)

    def trim(self, sequence: Sequence) -> None:
        """Gives back the blocks that only wrong guesses needed."""
        if sequence.status is not Status.RUNNING:
            return
        needed = -(-len(sequence.tokens) // self._block_size)
        for table in sequence.tables:
            self._pool.release(reversed(table[needed:]))
            del table[needed:]

    def _prompts(self, chunks: list[Chunk], sequences: list[Sequence], budget: int) -> None:
        """Divides `budget` between prompts, so that a short one is not kept waiting by a long one before it."""
        used = 0
        for num_left, sequence in zip(range(len(sequences), 0, -1), sorted(sequences, key=_remaining), strict=True):
            share = min(sequence.remaining, -(-(budget - used) // num_left))
            if share > 0 and sequence.status is Status.RUNNING and self._make_room(sequence, share, chunks):
                chunks.append(Chunk(sequence, share))
                used += share

    def _make_room(self, sequence: Sequence, num_tokens: int, chunks: list[Chunk]) -> bool:
        """Blocks for the next `num_tokens`, at the expense of younger sequences; False if it was given up itself."""
        if sequence.status is not Status.RUNNING:
            return False
        while not self._extend(sequence, sequence.num_computed + num_tokens):
            victim = self.running[-1]
            self._preempt(victim)
            chunks[:] = [chunk for chunk in chunks if chunk.sequence is not victim]
            if victim is sequence:
                return False
        return True

    def _preempt(self, victim: Sequence) -> None:
        self.running.remove(victim)
        self._release(victim)
        victim.restart()
        victim.status = Status.WAITING
        victim.num_preemptions += 1
        self._metrics.num_preemptions += 1
        self.waiting.appendleft(victim)

    def _admit(self) -> None:
        """Starts waiting sequences, in order, while memory and places last."""
        promised = sum(self._blocks_to_finish(s) for s in self.running) if self._has_windows else 0
        for sequence in [s for s in self.waiting if s.is_ready]:
            if len(self.running) >= self._max_sequences or not self._start(sequence, promised):
                break
            promised += self._blocks_to_finish(sequence) if self._has_windows else 0
            self.waiting.remove(sequence)

    def _start(self, sequence: Sequence, promised: int) -> bool:
        """Takes the cached prefix and the blocks of the rest; False where memory does not suffice now.

        `promised`: blocks that are free, but that running sequences still need for their prompts.
        """
        nodes, root = [], self._prefixes.root(sequence.request.salt)
        if sequence.reads_prefix_cache:
            # At least one token must be computed, to have something to sample from.
            nodes = self._prefixes.match(root, sequence.tokens, (len(sequence.tokens) - 1) // self._block_size)
        cached = len(nodes) * self._block_size
        for group, table in enumerate(sequence.tables):
            first = self._prefixes.first_needed(group, cached)
            table.extend([NO_BLOCK] * min(first, len(nodes)))
            for node in nodes[first:]:
                block = node.blocks[group]
                assert block is not None
                self._pool.share(block)
                table.append(block)
        sequence.num_computed = cached
        # The whole prompt's blocks are taken at once: neighbours in memory, and nobody starts what cannot be finished.
        # Windowed layers take theirs chunk by chunk, since they give back the first before they need the last.
        has_room = self._blocks_to_finish(sequence) + promised <= self._pool.num_free
        if not has_room or not self._extend(sequence, len(sequence.tokens), windowed=False):
            self._release(sequence)
            sequence.restart()
            return False
        sequence.num_recorded = len(nodes)
        sequence.prefix = nodes[-1] if nodes else root
        if sequence.num_preemptions == 0:
            sequence.num_cached = cached
            self._metrics.prefix_cache_queries += sequence.num_prompt
            self._metrics.prefix_cache_hits += cached
        sequence.status = Status.RUNNING
        sequence.started = sequence.started or time.perf_counter()
        self.running.append(sequence)
        return True

    def _blocks_to_finish(self, sequence: Sequence) -> int:
        """The most blocks that it will hold at once, beyond those it has, until its tokens are computed."""
        wanted, most = -(-len(sequence.tokens) // self._block_size), 0
        for group, table in enumerate(sequence.tables):
            held = sum(block != NO_BLOCK for block in table)
            limit = windowed_blocks(self._groups[group], self._block_size, self._pacer.max_tokens)
            most += max(0, min(wanted, limit or wanted) - held)
        return most

    def _extend(self, sequence: Sequence, num_tokens: int, windowed: bool = True) -> bool:
        """Makes the tables cover `num_tokens`, those of windowed groups if asked to; takes all the blocks or none."""
        wanted = -(-num_tokens // self._block_size)
        missing = [
            max(0, wanted - len(table)) if windowed or self._groups[group].window is None else 0
            for group, table in enumerate(sequence.tables)
        ]
        if sum(missing) > self._pool.num_free:
            return False
        for table, count in zip(sequence.tables, missing, strict=True):
            blocks = self._pool.take(count, after=table[-1] if table else None)
            assert blocks is not None
            table.extend(blocks)
        return True

    def settle(self, sequence: Sequence, num_tokens: int) -> None:
        """Counts tokens as computed: records full blocks for others, gives back what fell out of windows."""
        sequence.num_computed += num_tokens
        for index in range(sequence.num_recorded, sequence.num_computed // self._block_size):
            assert sequence.prefix is not None
            blocks = [None if table[index] == NO_BLOCK else table[index] for table in sequence.tables]
            sequence.prefix = self._prefixes.insert(sequence.prefix, sequence.tokens, index, blocks)
            sequence.num_recorded = index + 1
        for group, table in enumerate(sequence.tables):
            if self._groups[group].window is not None:
                self._release_unseen(table, self._prefixes.first_needed(group, sequence.num_computed))

    def _release_unseen(self, table: list[int], first_needed: int) -> None:
        index = min(first_needed, len(table)) - 1
        while index >= 0 and table[index] != NO_BLOCK:
            self._pool.release([table[index]])
            table[index] = NO_BLOCK
            index -= 1

    def _release(self, sequence: Sequence) -> None:
        self._pool.release(sequence.held_blocks())
        sequence.tables = [[] for _ in sequence.tables]

    def check(self) -> None:
        """Balances the pool's books; for tests, and for whoever suspects a leak."""
        self._pool.check([b for b in t if b != NO_BLOCK] for s in self._sequences() for t in s.tables)
        assert all(s.status is Status.RUNNING for s in self.running), "a sequence that does not run is listed as such"

    def _sequences(self) -> Iterator[Sequence]:
        yield from self.running
        yield from self.waiting


def _remaining(sequence: Sequence) -> int:
    return sequence.remaining
