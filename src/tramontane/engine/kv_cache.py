"""The memory of keys and values: one pool of blocks that layers of every kind share.

Layers with the same window form groups of equal size, and a block holds `block_size` tokens for the layers of one
group. So blocks are interchangeable between groups, and windowed layers, whose old blocks are given back, leave
their memory to the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tramontane.model.config import ModelConfig


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers that see equally far back: `window` positions, or everything where it is None."""

    window: int | None
    layers: tuple[int, ...]


def layer_groups(config: ModelConfig, max_context: int) -> list[LayerGroup]:
    """Splits the layers by window into groups of one size; a window no smaller than the context is none."""
    by_window: dict[int | None, list[int]] = {}
    for layer, window in enumerate(config.windows):
        by_window.setdefault(None if window is None or window >= max_context else window, []).append(layer)
    size = math.gcd(*(len(layers) for layers in by_window.values()))
    return [
        LayerGroup(window, tuple(layers[start : start + size]))
        for window, layers in by_window.items()
        for start in range(0, len(layers), size)
    ]


def block_bytes(config: ModelConfig, groups: list[LayerGroup], block_size: int, dtype: torch.dtype) -> int:
    """Memory of one block: keys and values of `block_size` tokens for one group's layers."""
    return 2 * len(groups[0].layers) * config.num_kv_heads * block_size * config.head_dim * dtype.itemsize


def windowed_blocks(group: LayerGroup, block_size: int, max_step_tokens: int) -> int | None:
    """The most blocks that a sequence holds for a windowed group; None where the group sees everything."""
    if group.window is None:
        return None
    # While a chunk is computed: the window before it and the chunk, not aligned to blocks.
    return -(-(group.window + max_step_tokens) // block_size) + 1


def max_tokens_that_fit(groups: list[LayerGroup], num_blocks: int, block_size: int, max_step_tokens: int) -> int:
    """The longest sequence that `num_blocks` can hold when it is alone, in tokens."""
    limits = [windowed_blocks(group, block_size, max_step_tokens) for group in groups]
    windowed = [limit for limit in limits if limit is not None]
    num_full = len(groups) - len(windowed)

    def needed(blocks: int) -> int:
        return num_full * blocks + sum(min(blocks, limit) for limit in windowed)

    low, high = 0, num_blocks if num_full or needed(num_blocks) > num_blocks else 2**31 // block_size
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if needed(middle) <= num_blocks else (low, middle - 1)
    return low * block_size


class KVCache:
    """The tensors behind the block pool. Slot `block * block_size + i` is the block's token number `i`."""

    def __init__(
        self,
        config: ModelConfig,
        groups: list[LayerGroup],
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (len(groups[0].layers), config.num_kv_heads, num_blocks * block_size, config.head_dim)
        # Heads come before slots: each head's keys of neighbouring tokens are neighbours in memory.
        # Zeros, because padding is read (and masked) too, and must be finite; pages are taken when first written.
        self.keys = torch.zeros(shape, dtype=dtype, device=device)  # [layers of a group, Hkv, slots, D]
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.groups, self.block_size = groups, block_size
        # layer → (its group, its index within the group)
        self.place = {layer: (g, i) for g, group in enumerate(groups) for i, layer in enumerate(group.layers)}

    def write(self, layer: int, slots: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stores k and v [T, Hkv, D] at `slots` [T]; returns the layer's keys and values [Hkv, slots, D]."""
        _, index = self.place[layer]
        keys, values = self.keys[index], self.values[index]
        keys.index_copy_(1, slots, k.transpose(0, 1).to(keys.dtype))
        values.index_copy_(1, slots, v.transpose(0, 1).to(values.dtype))
        return keys, values
