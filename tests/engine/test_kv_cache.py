"""The memory of keys and values: how layers share it, how much a token takes, and how long a sequence it holds."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import tiny_model
from tramontane.engine.kv_cache import KVCache, LayerGroup, block_bytes, layer_groups, max_tokens_that_fit
from tramontane.model.config import ModelConfig


def config_of(*windows: int | None) -> ModelConfig:
    return ModelConfig(
        dim=16, num_layers=len(windows), num_heads=4, num_kv_heads=2, head_dim=4, ffn_dim=8, vocab_size=10,
        windows=windows,
    )  # fmt: skip


@pytest.mark.parametrize(("windows", "groups"), [
    ((None, None), [(None, (0, 1))]),
    ((8, 8, 8), [(8, (0, 1, 2))]),
    ((8, None, 8, None), [(8, (0, 2)), (None, (1, 3))]),
    ((8, 8, 8, None), [(8, (0,)), (8, (1,)), (8, (2,)), (None, (3,))]),
    ((8, 8, 9, 9, None, None), [(8, (0, 1)), (9, (2, 3)), (None, (4, 5))]),
    ((100, None), [(None, (0, 1))]),  # no context reaches so far
])  # fmt: skip
def test_layers_of_one_window_form_groups_of_one_size(
    windows: tuple[int | None, ...], groups: list[tuple[int | None, tuple[int, ...]]]
) -> None:
    assert layer_groups(config_of(*windows), 100) == [LayerGroup(*group) for group in groups]


@pytest.mark.parametrize("kind", ["dense", "windowed", "interleaved"])
def test_the_pool_takes_the_memory_it_was_given(kind: str) -> None:
    config = tiny_model(kind).config
    groups = layer_groups(config, 256)
    cache = KVCache(config, groups, 10, 4, torch.float64, torch.device("cpu"))
    assert cache.keys.nbytes + cache.values.nbytes == 10 * block_bytes(config, groups, 4, torch.float64)


@pytest.mark.parametrize("kind", ["dense", "windowed", "interleaved"])
def test_what_is_written_to_a_slot_is_read_there(kind: str) -> None:
    config = tiny_model(kind).config
    cache = KVCache(config, layer_groups(config, 256), 10, 4, torch.float64, torch.device("cpu"))
    slots = torch.tensor([5, 0, 9])
    written = []
    for layer in range(config.num_layers):
        k, v = torch.rand(2, 3, config.num_kv_heads, config.head_dim, dtype=torch.float64)
        mine = slots + 10 * cache.place[layer][0]  # groups share the memory, and never a block
        keys, values = cache.write(layer, mine, k, v)
        written.append((keys, values, mine, k, v))
    for keys, values, mine, k, v in written:
        assert torch.equal(keys[:, mine].transpose(0, 1), k)
        assert torch.equal(values[:, mine].transpose(0, 1), v)


def held_at_most(groups: list[LayerGroup], length: int, block_size: int, step: int) -> int:
    """The most blocks that a lone sequence holds while `length` tokens are computed, in chunks of `step`.

    All blocks of unwindowed groups are held from the start, and chunks begin anywhere.
    """
    full = -(-length // block_size)
    most = 0
    for start in range(length):
        end = min(start + step, length)
        held = 0
        for group in groups:
            first = 0 if group.window is None else max(0, start - group.window + 1) // block_size
            held += full if group.window is None else -(-end // block_size) - first
        most = max(most, held)
    return most


@settings(deadline=None, max_examples=150)
@given(
    windows=st.lists(st.none() | st.integers(1, 20), min_size=1, max_size=4),
    num_blocks=st.integers(1, 40),
    block_size=st.sampled_from([1, 2, 4, 7]),
    step=st.integers(1, 12),
)
def test_a_sequence_as_long_as_promised_fits(
    windows: list[int | None], num_blocks: int, block_size: int, step: int
) -> None:
    groups = [LayerGroup(window, (layer,)) for layer, window in enumerate(windows)]
    promised = max_tokens_that_fit(groups, num_blocks, block_size, step)
    assert held_at_most(groups, min(promised, 120), block_size, step) <= num_blocks
    if None in windows:  # and not much is wasted: the windows' margin is two blocks each
        wasted = held_at_most(groups, promised + block_size, block_size, step) + 2 * len(groups)
        assert wasted > num_blocks


def test_windows_hold_what_the_pool_could_not_hold_without() -> None:
    fits = {
        windows: max_tokens_that_fit([LayerGroup(w, (i,)) for i, w in enumerate(windows)], 40, 4, 8)
        for windows in itertools.product((None, 16), repeat=2)
    }
    assert fits[None, None] == 20 * 4
    assert fits[None, 16] == fits[16, None] == 33 * 4
    assert fits[16, 16] > 1_000_000
