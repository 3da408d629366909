"""Blocks are taken, shared and given back without one being lost or held by mistake."""

from __future__ import annotations

import pytest

from tramontane.engine.block_pool import BlockPool
from tramontane.engine.prefix_cache import PrefixCache


def new_pool(num_blocks: int) -> tuple[BlockPool, PrefixCache]:
    prefixes = PrefixCache(1, [None])
    return BlockPool(num_blocks, prefixes), prefixes


def take(pool: BlockPool, count: int, after: int | None = None) -> list[int]:
    blocks = pool.take(count, after)
    assert blocks is not None
    return blocks


def remember(prefixes: PrefixCache, token: int, block: int) -> None:
    """Records `block` as the only block of the prompt `[token]`."""
    prefixes.insert(prefixes.root("salt"), [token], 0, [block])


def test_blocks_of_a_request_are_neighbours_where_possible() -> None:
    pool, _ = new_pool(8)
    first, other = take(pool, 2), take(pool, 1)
    assert (first, other) == ([0, 1], [2])
    assert take(pool, 2, after=1) == [3, 4]  # 2 is taken
    assert take(pool, 2, after=5) == [6, 7]


def test_all_or_none_is_taken() -> None:
    pool, _ = new_pool(3)
    held = take(pool, 2)
    assert pool.take(2) is None
    assert pool.num_free == 1
    pool.check([held])


def test_blank_blocks_go_first_then_those_released_longest_ago() -> None:
    pool, prefixes = new_pool(4)
    blocks = take(pool, 3)
    for token, block in enumerate(blocks):
        remember(prefixes, token, block)
    pool.release([blocks[1], blocks[0], blocks[2]])
    assert pool.num_free == 4
    assert take(pool, 4) == [3, blocks[1], blocks[0], blocks[2]]


def test_a_block_that_is_taken_for_something_else_is_forgotten() -> None:
    pool, prefixes = new_pool(1)
    (block,) = take(pool, 1)
    remember(prefixes, 5, block)
    pool.release([block])
    assert prefixes.match(prefixes.root("salt"), [5], 1)
    assert take(pool, 1) == [block]
    assert not prefixes.holds(block)
    assert not prefixes.match(prefixes.root("salt"), [5], 1)


def test_a_cached_block_is_held_again_when_it_is_shared() -> None:
    pool, prefixes = new_pool(2)
    (block,) = take(pool, 1)
    remember(prefixes, 5, block)
    pool.release([block])
    pool.share(block)
    assert pool.num_free == 1
    assert pool.take(2) is None
    pool.share(block)
    pool.release([block])
    pool.check([[block]])
    pool.release([block])
    assert pool.num_free == 2


def test_the_books_show_what_is_wrong() -> None:
    pool, prefixes = new_pool(3)
    blocks = take(pool, 2)
    pool.check([blocks])
    with pytest.raises(AssertionError, match="different number"):
        pool.check([blocks[:1]])
    with pytest.raises(AssertionError, match="different number"):
        pool.check([blocks, blocks])
    pool._blank[blocks[0]] = None
    with pytest.raises(AssertionError, match="lost or free twice"):
        pool.check([blocks])
    del pool._blank[blocks[0]]
    remember(prefixes, 5, 2)
    with pytest.raises(AssertionError, match="blank block belongs"):
        pool.check([blocks])
