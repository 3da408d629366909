"""How the models of one machine share its KV memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tramontane.engine.engine import EngineConfig
from tramontane.engine.kv_cache import block_bytes, layer_groups
from tramontane.gateway.providers.local.sources import Source
from tramontane.model.checkpoint import canonical_shapes
from tramontane.model.config import ModelConfig
from tramontane.model.linear import Quantization
from tramontane.model.machine import GIB, best_dtype, free_memory, this_machine


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


KV_MEMORY_AT_LEAST = GIB // 2
"""What is reckoned for keys and values of a model whose configuration is not known yet."""

_KEPT_FREE = GIB // 2  # for the program itself, and for what a step computes


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """Bytes of the accelerator, or else of the machine: in all, and left for models to come."""

    total: int
    available: int


def bytes_per_weight(quantization: Quantization, device: torch.device) -> float:
    """How much of memory a weight takes."""
    return _BYTES_PER_WEIGHT.get(quantization, best_dtype(device).itemsize)


def left_for_models(device: torch.device, promised: int) -> MachineMemory:
    """`promised`: what loaded models hold, also where they have not touched it yet, so that nobody sees it used."""
    total = _total(device)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    return MachineMemory(total, max(0, min(free, total - promised) - _KEPT_FREE))


def _total(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return this_machine().memory_bytes


def memory_warning(
    sources: Sequence[Source], kv_memory_bytes: int, quantization: Quantization, device: torch.device
) -> str | None:
    """A sentence where weights and KV memory together will hardly fit; None where they do."""
    available, place = _total(device), "accelerator" if device.type == "cuda" else "machine"
    weights = sum(num_parameters(source.config) for source in sources) * bytes_per_weight(quantization, device)
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
