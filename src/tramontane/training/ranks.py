"""The processes that train one model together (`torchrun`), each with a part of the weights (FSDP2) and of the data.

One process is the plain case: everything here then returns what it was given.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from tramontane.model.machine import best_device
from tramontane.model.transformer import Transformer

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among `count`. The one of index 0 speaks and writes."""

    index: int = 0
    count: int = 1
    device: torch.device = field(default_factory=best_device)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that speaks and writes."""
        return self.index == 0

    def sum(self, *numbers: float) -> list[float]:
        """Each number's sum over all processes."""
        if self.count == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: T) -> list[T]:
        """The value of every process, in their order; plain data only."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def whole(self, part: Tensor, rows: int) -> Tensor:
        """All rows of a tensor of which each process has its own, as FSDP2 cuts them."""
        if self.count == 1:
            return part
        share = -(-rows // self.count)
        padded = part.new_zeros(share, *part.shape[1:])
        padded[: len(part)] = part
        gathered = part.new_empty(share * self.count, *part.shape[1:])
        dist.all_gather_into_tensor(gathered, padded)
        return gathered[:rows]

    def mine(self, whole: Tensor) -> Tensor:
        """This process' rows: the inverse of `whole`."""
        share = -(-len(whole) // self.count)
        return whole[self.index * share : (self.index + 1) * share]


ALONE = Ranks()
"""One process, on the best device."""


def join_ranks() -> Ranks:
    """What torchrun says in the environment; without it, one process on the best device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    device = best_device()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return Ranks(dist.get_rank(), dist.get_world_size(), device)


def shard_model(model: Transformer, ranks: Ranks, dtype: torch.dtype) -> None:
    """FSDP2: each process keeps float32 rows of every parameter, and gathers a layer in `dtype` when it computes it."""
    mesh = init_device_mesh(ranks.device.type, (ranks.count,))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    # The scores' matrix is used after `forward`: what the model itself holds stays gathered until the pass back.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def local(tensor: Tensor) -> Tensor:
    """This process' rows of a sharded parameter or gradient; any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
