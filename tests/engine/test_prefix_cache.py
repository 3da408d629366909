"""Known beginnings of prompts are found, and nothing else: whatever is shared holds exactly the tokens asked for."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tramontane.engine.block_pool import BlockPool
from tramontane.engine.prefix_cache import Prefix, PrefixCache


class Colliding:
    """A key whose hash is that of all others: only comparing tells them apart."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.data == other.data


def insert(cache: PrefixCache, salt: str, tokens: list[int], blocks: list[list[int | None]]) -> list[Prefix]:
    """Records the blocks of a sequence, one list a block with one entry a group; its nodes."""
    nodes = [cache.root(salt)]
    for index, of_groups in enumerate(blocks):
        nodes.append(cache.insert(nodes[-1], tokens, index, of_groups))
    return nodes[1:]


def found(cache: PrefixCache, salt: str, tokens: list[int], max_blocks: int = 100) -> list[list[int | None]]:
    whole = min(max_blocks, len(tokens) // cache.block_size)
    return [node.blocks for node in cache.match(cache.root(salt), tokens, whole)]


def test_the_longest_known_beginning_is_found() -> None:
    cache = PrefixCache(2, [None])
    insert(cache, "", [1, 2, 3, 4, 5, 6], [[10], [11], [12]])
    assert found(cache, "", [1, 2, 3, 4, 5, 6, 7]) == [[10], [11], [12]]
    assert found(cache, "", [1, 2, 3, 4, 5, 7]) == [[10], [11]]
    assert found(cache, "", [1, 2, 3, 4, 5, 6], max_blocks=2) == [[10], [11]]
    assert found(cache, "", [1, 3, 3, 4]) == []


def test_the_same_tokens_after_others_are_another_prefix() -> None:
    cache = PrefixCache(2, [None])
    insert(cache, "", [1, 2, 3, 4], [[10], [11]])
    assert found(cache, "", [3, 4]) == []
    insert(cache, "", [3, 4], [[12]])
    assert found(cache, "", [3, 4]) == [[12]]
    assert found(cache, "", [1, 2, 3, 4]) == [[10], [11]]


def test_salts_never_meet() -> None:
    cache = PrefixCache(2, [None])
    insert(cache, "mine", [1, 2], [[10]])
    assert found(cache, "yours", [1, 2]) == []
    insert(cache, "yours", [1, 2], [[11]])
    assert found(cache, "mine", [1, 2]) == [[10]]
    assert found(cache, "yours", [1, 2]) == [[11]]


@pytest.mark.parametrize("key", [bytes, Colliding])
def test_a_collision_of_hashes_shares_nothing(key: Callable[[bytes], Hashable]) -> None:
    cache = PrefixCache(2, [None], key)
    insert(cache, "", [1, 2, 3, 4], [[10], [11]])
    insert(cache, "", [2, 1, 3, 4], [[12], [13]])
    assert found(cache, "", [1, 2, 3, 4]) == [[10], [11]]
    assert found(cache, "", [2, 1, 3, 4]) == [[12], [13]]
    assert found(cache, "", [1, 1]) == []


def test_whoever_computed_a_prefix_first_is_recorded() -> None:
    cache = PrefixCache(2, [None])
    insert(cache, "", [1, 2], [[10]])
    insert(cache, "", [1, 2], [[11]])
    assert found(cache, "", [1, 2]) == [[10]]
    assert not cache.holds(11)


def test_a_windowed_group_needs_only_the_blocks_in_its_window() -> None:
    cache = PrefixCache(2, [None, 3])  # after 6 tokens, the next sees 4, 5 and itself
    blocks: list[list[int | None]] = [[10, None], [11, None], [12, 22]]
    insert(cache, "", [1, 2, 3, 4, 5, 6], blocks)
    assert found(cache, "", [1, 2, 3, 4, 5, 6]) == blocks
    assert found(cache, "", [1, 2, 3, 4]) == []  # its window is gone
    cache.forget(22)
    assert found(cache, "", [1, 2, 3, 4, 5, 6]) == []


def test_a_full_group_needs_every_block() -> None:
    cache = PrefixCache(1, [None])
    insert(cache, "", [1, 2, 3], [[10], [11], [12]])
    cache.forget(11)
    assert found(cache, "", [1, 2, 3]) == [[10]]


@pytest.mark.parametrize(("window", "position", "expected"), [
    (None, 100, 0), (1, 8, 2), (4, 0, 0), (4, 3, 0), (4, 6, 0), (4, 7, 1), (4, 11, 2), (100, 50, 0),
])  # fmt: skip
def test_the_first_block_that_a_position_sees(window: int | None, position: int, expected: int) -> None:
    assert PrefixCache(4, [window]).first_needed(0, position) == expected


def test_nothing_is_kept_of_what_was_forgotten() -> None:
    cache = PrefixCache(2, [None, 4])
    insert(cache, "a", [1, 2, 3, 4], [[0, 1], [2, 3]])
    insert(cache, "a", [1, 2, 5, 6], [[None, None], [4, 5]])
    insert(cache, "b", [1, 2], [[6, 7]])
    for block in (0, 1, 7, 6, 5, 2, 3, 4):
        cache.forget(block)
    assert not cache._roots
    assert not any(cache.holds(block) for block in range(8))


def test_a_sequence_whose_beginning_was_forgotten_can_still_be_recorded() -> None:
    cache = PrefixCache(2, [2])
    root = cache.root("")
    first = cache.insert(root, [1, 2, 3, 4], 0, [0])
    cache.forget(0)  # it fell out of the window and was taken for something else
    cache.insert(first, [1, 2, 3, 4], 1, [1])
    assert found(cache, "", [1, 2, 3, 4]) == []
    insert(cache, "", [1, 2, 3, 4], [[None], [2]])
    assert found(cache, "", [1, 2, 3, 4]) == [[None], [2]]
    for block in (1, 2):
        cache.forget(block)
    assert not cache._roots


class CacheMachine(RuleBasedStateMachine):
    """Sequences come and go; a ledger beside the cache says what each block really holds."""

    NUM_BLOCKS, BLOCK_SIZE, WINDOWS = 14, 2, (None, 3)

    def __init__(self) -> None:
        super().__init__()
        self.cache = PrefixCache(self.BLOCK_SIZE, self.WINDOWS, Colliding)
        self.pool = BlockPool(self.NUM_BLOCKS, self.cache)
        self.content: dict[int, tuple[str, tuple[int, ...], int]] = {}
        self.live: list[list[list[int | None]]] = []

    @rule(salt=st.sampled_from("ab"), tokens=st.lists(st.integers(0, 1), min_size=1, max_size=14))
    def come(self, salt: str, tokens: list[int]) -> None:
        nodes = self.cache.match(self.cache.root(salt), tokens, (len(tokens) - 1) // self.BLOCK_SIZE)
        num_blocks = len(tokens) // self.BLOCK_SIZE
        tables: list[list[int | None]] = []
        for group in range(len(self.WINDOWS)):
            first = self.cache.first_needed(group, len(nodes) * self.BLOCK_SIZE)
            shared = [node.blocks[group] for node in nodes[first:]]
            for index, block in enumerate(shared, start=first):
                assert block is not None
                assert self.content[block] == (salt, self.prefix(tokens, index), group)
                self.pool.share(block)
            tables.append([None] * first + shared)
        self.live.append(tables)
        for table in tables:
            new = self.pool.take(num_blocks - len(table))
            if new is None:
                self.go(len(self.live) - 1)
                return
            for block in new:
                self.content.pop(block, None)
            table += new
        self.record(salt, tokens, tables, nodes, num_blocks)

    def record(
        self, salt: str, tokens: list[int], tables: list[list[int | None]], nodes: list[Prefix], num_blocks: int
    ) -> None:
        node = nodes[-1] if nodes else self.cache.root(salt)
        for index in range(len(nodes), num_blocks):
            for group, table in enumerate(tables):
                block = table[index]
                assert block is not None
                self.content[block] = (salt, self.prefix(tokens, index), group)
            node = self.cache.insert(node, tokens, index, [table[index] for table in tables])
        # What the next token does not see is given back.
        for group, table in enumerate(tables):
            for index in reversed(range(min(len(table), self.cache.first_needed(group, len(tokens))))):
                if (block := table[index]) is not None:
                    self.pool.release([block])
                    table[index] = None

    def prefix(self, tokens: list[int], index: int) -> tuple[int, ...]:
        return tuple(tokens[: (index + 1) * self.BLOCK_SIZE])

    @rule(which=st.integers(0, 20))
    def go(self, which: int) -> None:
        if self.live:
            tables = self.live.pop(which % len(self.live))
            self.pool.release(block for table in tables for block in reversed(table) if block is not None)

    @invariant()
    def books_balance(self) -> None:
        self.pool.check([b for b in table if b is not None] for tables in self.live for table in tables)

    def teardown(self) -> None:
        while self.live:
            self.go(0)
        assert self.pool.num_free == self.NUM_BLOCKS
        assert self.pool.take(self.NUM_BLOCKS) is not None
        assert not self.cache._roots, "prefixes stay whose blocks are gone"


def test_what_is_shared_always_holds_the_tokens_asked_for() -> None:
    run_state_machine_as_test(CacheMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


@pytest.mark.heavy
def test_what_is_shared_always_holds_the_tokens_asked_for_at_length() -> None:
    run_state_machine_as_test(CacheMachine, settings=settings(max_examples=2000, stateful_step_count=80, deadline=None))
