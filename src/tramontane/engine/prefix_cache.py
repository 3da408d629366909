"""Which blocks hold the keys and values of which prefixes, so that a prompt's known beginning is not recomputed.

A tree: each node is one block's worth of tokens after its parent's, so a node stands for a whole prefix. The root
depends on the salt: requests of different salts never meet. Children are found in a dict keyed by the tokens
themselves, which hashes first and compares the tokens after a hit: a collision of hashes shares nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sequence

TokensKey = Callable[[bytes], Hashable]


class Prefix:
    """A node: the prefix that ends with this block, and the physical block of each layer group, where cached."""

    __slots__ = ("blocks", "children", "key", "parent")

    def __init__(self, parent: Prefix | None, key: Hashable, num_groups: int) -> None:
        self.parent = parent
        self.key = key
        self.children: dict[Hashable, Prefix] = {}
        self.blocks: list[int | None] = [None] * num_groups

    @property
    def is_empty(self) -> bool:
        """No block and nothing below: the node may go."""
        return not self.children and all(block is None for block in self.blocks)


class PrefixCache:
    """The tree over blocks. It owns no memory: the block pool tells it when a block is taken for something else."""

    def __init__(self, block_size: int, windows: Sequence[int | None], key: TokensKey = bytes) -> None:
        """`windows`: one entry a layer group, None where its layers see everything."""
        self.block_size, self.windows, self._key = block_size, windows, key
        self._roots: dict[Hashable, Prefix] = {}
        self._owner: dict[int, tuple[Prefix, int]] = {}  # block → (node, group)

    def root(self, salt: Hashable) -> Prefix:
        """The empty prefix of a salt; it is remembered once something is inserted below it."""
        return self._roots.get(salt) or Prefix(None, salt, len(self.windows))

    def match(self, root: Prefix, tokens: Sequence[int], max_blocks: int) -> list[Prefix]:
        """The longest usable cached prefix of `tokens`, one node a block, at most `max_blocks`.

        Usable: each layer group still has the blocks that the next token would see; a windowed group needs only
        those inside its window.
        """
        path, node = [], root
        for index in range(max_blocks):
            child = node.children.get(self._block_key(tokens, index))
            if child is None:
                break
            path.append(child)
            node = child
        return path[: self._usable(path)]

    def _usable(self, path: list[Prefix]) -> int:
        """The largest length of `path` for which no group lacks a block that it needs."""
        held = [0] * len(self.windows)  # how many blocks in a row, up to here, each group has
        best = 0
        for length, node in enumerate(path, start=1):
            held = [run + 1 if block is not None else 0 for run, block in zip(held, node.blocks, strict=True)]
            position = length * self.block_size
            if all(run >= length - self.first_needed(group, position) for group, run in enumerate(held)):
                best = length
        return best

    def first_needed(self, group: int, position: int) -> int:
        """The first block of `group` that a token at `position`, or any later one, can see."""
        window = self.windows[group]
        return 0 if window is None else max(0, position - window + 1) // self.block_size

    def insert(self, parent: Prefix, tokens: Sequence[int], index: int, blocks: Sequence[int | None]) -> Prefix:
        """Records that `blocks`, one a group, hold the block number `index` of `tokens`; returns its node.

        Where another sequence computed the same prefix at the same time, its blocks stay the recorded ones.
        """
        if parent.parent is None:
            parent = self._roots.setdefault(parent.key, parent)
        key = self._block_key(tokens, index)
        node = parent.children.get(key)
        if node is None:
            node = parent.children[key] = Prefix(parent, key, len(self.windows))
        for group, block in enumerate(blocks):
            if block is not None and node.blocks[group] is None:
                node.blocks[group] = block
                self._owner[block] = (node, group)
        return node

    def holds(self, block: int) -> bool:
        """Whether `block` has the content of some prefix."""
        return block in self._owner

    def forget(self, block: int) -> None:
        """`block` is about to be overwritten: no prefix may use it from now on."""
        node, group = self._owner.pop(block)
        node.blocks[group] = None
        while node.parent is not None and node.is_empty:
            # The node may have been replaced meanwhile by a new one of the same key: only remove itself.
            if node.parent.children.get(node.key) is node:
                del node.parent.children[node.key]
            node = node.parent
        if node.parent is None and node.is_empty and self._roots.get(node.key) is node:
            del self._roots[node.key]

    def _block_key(self, tokens: Sequence[int], index: int) -> Hashable:
        start = index * self.block_size
        return self._key(array("i", tokens[start : start + self.block_size]).tobytes())
