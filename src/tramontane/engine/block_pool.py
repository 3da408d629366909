"""The blocks of KV memory: who holds each, which are free, and in what order free ones are taken again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from tramontane.engine.prefix_cache import PrefixCache


class BlockPool:
    """A fixed number of interchangeable blocks with reference counts.

    A free block keeps its content, and its place in the prefix cache, until it is taken for something else:
    blank blocks are taken first, then the ones released longest ago.
    """

    def __init__(self, num_blocks: int, prefixes: PrefixCache) -> None:
        self.num_blocks = num_blocks
        self._prefixes = prefixes
        self._holders = [0] * num_blocks
        self._blank: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        self._cached: OrderedDict[int, None] = OrderedDict()

    @property
    def num_free(self) -> int:
        """Blocks that nobody holds, cached ones included."""
        return len(self._blank) + len(self._cached)

    def take(self, count: int, after: int | None = None) -> list[int] | None:
        """`count` blocks, held once each, or None where there are not so many.

        Attention reads neighbours faster: the block that follows `after` is preferred, and so on.
        """
        if count > self.num_free:
            return None
        taken = []
        for _ in range(count):
            after = self._take_one(after)
            taken.append(after)
        return taken

    def _take_one(self, after: int | None) -> int:
        if after is not None and after + 1 in self._blank:
            block = after + 1
            del self._blank[block]
        elif self._blank:
            block, _ = self._blank.popitem(last=False)
        else:
            block, _ = self._cached.popitem(last=False)
            self._prefixes.forget(block)
        self._holders[block] = 1
        return block

    def share(self, block: int) -> None:
        """One more holder of a block, which may be free but cached."""
        if self._holders[block] == 0:
            del self._cached[block]
        self._holders[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        """One holder less of each. Give a sequence's last blocks first: a prefix's end is evicted before its start."""
        for block in blocks:
            self._holders[block] -= 1
            if self._holders[block] == 0:
                free = self._cached if self._prefixes.holds(block) else self._blank
                free[block] = None

    def check(self, tables: Iterable[Iterable[int]]) -> None:
        """Balances the books against the tables of all live sequences; raises AssertionError where they do not."""
        held = [0] * self.num_blocks
        for table in tables:
            for block in table:
                held[block] += 1
        assert held == self._holders, "a block is held by a different number of sequences than the pool counts"
        free = set(self._blank) | set(self._cached)
        assert len(free) == self.num_free, "a block is both blank and cached"
        assert free == {block for block, count in enumerate(held) if count == 0}, "a block is lost or free twice"
        assert all(self._prefixes.holds(block) for block in self._cached), "a cached block belongs to no prefix"
        assert not any(self._prefixes.holds(block) for block in self._blank), "a blank block belongs to a prefix"
