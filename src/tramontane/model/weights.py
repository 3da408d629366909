"""Between a checkpoint's tensors and a Transformer's parameters, which are fused and may be quantised.

Weights are streamed: one layer's tensors are read, quantised if asked for, and forgotten before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from tramontane.errors import TramontaneError
from tramontane.model import kernels
from tramontane.model.checkpoint import Checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.linear import AnyLinear, Int4Linear, Int8Linear, Linear, Quantization, quantize_int8
from tramontane.model.machine import best_dtype
from tramontane.model.pooling import Pooling
from tramontane.model.transformer import RMSNorm, Transformer

# Gives a canonical tensor (checkpoint.py lists the names) by its name.
ReadTensor = Callable[[str], Tensor]
# Called with (layers done, layers in all).
Progress = Callable[[int, int], None]

Leaf = AnyLinear | RMSNorm | nn.Embedding

_FUSED = {"wqkv": ("wq", "wk", "wv"), "w13": ("w1", "w3")}


@dataclass(slots=True)
class LoadedModel:
    """A model ready to compute, and what the user should know about how it was loaded."""

    model: Transformer
    config: ModelConfig
    quantization: Quantization
    pooling: Pooling | None = None
    # False for embedding models that come without the matrix that scores tokens: they cannot write.
    has_output_head: bool = True
    notices: list[str] = field(default_factory=list)

    @property
    def num_bytes(self) -> int:
        """Memory of all weights as they are held."""
        return weight_bytes(self.model)


def load_model(
    folder: Path,
    *,
    quantization: Quantization = "none",
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> LoadedModel:
    """Loads a checkpoint of either layout; raises CheckpointError before any weight is read if it cannot serve."""
    checkpoint = Checkpoint.open(folder)
    device = torch.device(device)
    dtype = dtype or best_dtype(device)
    loaded = build_model(
        checkpoint.config, checkpoint.read, quantization=quantization, dtype=dtype, device=device, progress=progress
    )
    loaded.pooling, loaded.has_output_head = checkpoint.pooling, checkpoint.has_output_head
    loaded.notices = [*checkpoint.notices, *loaded.notices]
    return loaded


def build_model(
    config: ModelConfig,
    read: ReadTensor,
    *,
    quantization: Quantization = "none",
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    int4_max_rows: int | None = None,
) -> LoadedModel:
    """Builds a Transformer from canonical tensors. `int4_max_rows`: see Int4Linear; None lets the machine decide."""
    device = torch.device(device)
    quantize, notices = _quantizer(quantization, config, device, int4_max_rows)
    with torch.device("meta"):
        model = Transformer(config)
    leaves = _leaves(model)
    for done, (path, module) in enumerate(leaves, start=1):
        parts = [read(name) for name in canonical_names(path, config)]
        if isinstance(module, Linear) and quantize is not None and not path.endswith(".gate"):
            model.set_submodule(path, quantize(path, parts))
        elif path == "output" and config.tied_embeddings:
            module.weight = model.tok_embeddings.weight
        else:
            parts = [part.to(device, dtype) for part in parts]
            module.weight = nn.Parameter(torch.cat(parts) if len(parts) > 1 else parts[0], requires_grad=False)
        if progress is not None:
            progress(done, len(leaves))
    return LoadedModel(model.eval(), config, _effective(model, quantization), notices=notices)


def _effective(model: Transformer, asked: Quantization) -> Quantization:
    """What was asked for, or what this machine does in its place."""
    return "int8" if asked == "int4" and not any(isinstance(m, Int4Linear) for m in linears(model)) else asked


def _quantizer(
    quantization: Quantization, config: ModelConfig, device: torch.device, int4_max_rows: int | None
) -> tuple[Callable[[str, list[Tensor]], nn.Module] | None, list[str]]:
    """How to quantise a linear, if at all, and what to tell the user about it."""
    if quantization == "none":
        return None, []
    if device.type != "cpu":
        raise TramontaneError(f"Quantization {quantization} runs on CPUs only for now; on {device} use none.")

    def int8(path: str, parts: list[Tensor]) -> nn.Module:
        return Int8Linear(*quantize_int8(parts))

    if quantization == "int8":
        return int8, []
    max_rows = kernels.int4_max_rows() if int4_max_rows is None else int4_max_rows
    if max_rows == 0:
        return int8, ["int4 is slower than int8 at every batch size on this machine: int8 is used in its place."]

    def int4(path: str, parts: list[Tensor]) -> nn.Module:
        copy = Int8Linear(*quantize_int8(parts))
        # The scores' layer suffers most from rounding, and one matrix of many is cheap: it stays int8.
        return copy if path == "output" else Int4Linear(torch.cat(parts), copy, max_rows)

    return int4, [
        f"int4 serves up to {max_rows} rows at a time here; an int8 copy serves more, and costs 1 byte a weight "
        "beside int4's 0.6. Results may differ in the last digits with the number of requests."
    ]


def canonical_names(path: str, config: ModelConfig) -> list[str]:
    """The checkpoint's tensors that make up the parameter of the module at `path`."""
    if path == "output" and config.tied_embeddings:
        return ["tok_embeddings.weight"]
    parent, _, leaf = path.rpartition(".")
    prefix = parent + "." if parent else ""
    return [f"{prefix}{part}.weight" for part in _FUSED.get(leaf, (leaf,))]


def canonical_tensors(model: Transformer) -> dict[str, Tensor]:
    """The model's parameters under canonical names, unfused (views): what `save_checkpoint` writes."""
    config = model.config
    tensors: dict[str, Tensor] = {}
    for path, module in _leaves(model):
        if isinstance(module, Int8Linear | Int4Linear):
            raise TramontaneError("A quantised model cannot be saved; load it with quantization none first.")
        names = canonical_names(path, config)
        weight = module.weight.detach()
        tensors.update(zip(names, weight.split(_fused_rows(path, config, weight)), strict=True))
    return tensors


def _fused_rows(path: str, config: ModelConfig, weight: Tensor) -> list[int]:
    """How many rows each of the tensors has that make up `weight`."""
    rows = weight.shape[0]
    if path.endswith(".wqkv"):
        kv_rows = config.num_kv_heads * config.head_dim
        return [rows - 2 * kv_rows, kv_rows, kv_rows]
    return [rows // 2, rows // 2] if path.endswith(".w13") else [rows]


def weight_bytes(model: Transformer) -> int:
    """Memory of all weights; a tied embedding counts once."""
    seen: dict[int, int] = {}
    for _, module in _leaves(model):
        if isinstance(module, Int8Linear | Int4Linear):
            seen[id(module)] = module.num_bytes
        else:
            seen[module.weight.data_ptr()] = module.weight.nbytes
    return sum(seen.values())


def linears(model: Transformer) -> list[AnyLinear]:
    """All linear layers, in the order of computation."""
    return [module for _, module in _leaves(model) if isinstance(module, AnyLinear)]


def _leaves(model: nn.Module) -> list[tuple[str, Leaf]]:
    """The modules that hold weights, in the order of computation."""

    def walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, Leaf]]:
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            if isinstance(child, Leaf):
                yield path, child
            else:
                yield from walk(child, path + ".")

    return list(walk(model, ""))
