"""How the models of one machine share its KV memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tramontane.engine.engine import EngineConfig
from tramontane.engine.kv_cache import block_bytes, layer_groups
from tramontane.gateway.providers.local.sources import Source
from tramontane.model.checkpoint import canonical_shapes
from tramontane.model.config import ModelConfig
from tramontane.model.linear import Quantization
from tramontane.model.machine import GIB, best_dtype, this_machine


def share_kv_memory(
    sources: Sequence[Source], total_bytes: int, max_context: int | None, device: torch.device
) -> list[int]:
    """Bytes for each model: as many tokens for each, so that a small model's share does not starve a large one.

    What a model cannot use, with all its places taken by its longest sequences, goes to the others.
    """
    costs = [_bytes_per_token(source.config, best_dtype(device)) for source in sources]
    most = [_most_tokens(source.config, max_context) * cost for source, cost in zip(sources, costs, strict=True)]
    shares = [0] * len(sources)
    left, open_places = float(total_bytes), list(range(len(sources)))
    while open_places:
        tokens = left / sum(costs[place] for place in open_places)
        sated = [place for place in open_places if most[place] <= tokens * costs[place]]
        for place in sated or open_places:
            shares[place] = int(min(most[place], tokens * costs[place]))
        if not sated:
            break
        left -= sum(shares[place] for place in sated)
        open_places = [place for place in open_places if place not in sated]
    return shares


def _bytes_per_token(config: ModelConfig, dtype: torch.dtype) -> float:
    block_size = EngineConfig().block_size
    groups = layer_groups(config, config.max_context)
    return len(groups) * block_bytes(config, groups, block_size, dtype) / block_size


def _most_tokens(config: ModelConfig, max_context: int | None) -> int:
    limits = EngineConfig()
    context = min(config.max_context, max_context or config.max_context)
    return limits.max_sequences * (context + 2 * limits.block_size)


# int4 keeps an int8 copy for larger batches (model/linear.py).
_BYTES_PER_WEIGHT: dict[Quantization, float] = {"int8": 1.0, "int4": 1.6}


def memory_warning(
    sources: Sequence[Source], kv_memory_bytes: int, quantization: Quantization, device: torch.device
) -> str | None:
    """A sentence where weights and KV memory together will hardly fit; None where they do."""
    if device.type == "cuda":
        available, place = torch.cuda.get_device_properties(device).total_memory, "accelerator"
    else:
        available, place = this_machine().memory_bytes, "machine"
    each = _BYTES_PER_WEIGHT.get(quantization, best_dtype(device).itemsize)
    weights = sum(num_parameters(source.config) for source in sources) * each
    if weights + kv_memory_bytes <= available:
        return None
    smaller = " or --quantization int8" if quantization == "none" and device.type == "cpu" else ""
    return (
        f"Weights ({weights / GIB:.1f} GiB) and --kv-memory ({kv_memory_bytes / GIB:.1f} GiB) are more than the "
        f"{available / GIB:.1f} GiB of this {place}: choose less KV memory{smaller}."
    )


def num_parameters(config: ModelConfig) -> int:
    """How many weights a model has; a tied embedding counts once."""
    return sum(math.prod(shape) for shape in canonical_shapes(config).values())
