"""Writing a checkpoint, shard by shard, in either layout; a folder that a crash leaves half-written is not openable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tramontane.errors import CheckpointError
from tramontane.model.config import ModelConfig
from tramontane.model.config_hf import to_hf_config
from tramontane.model.config_native import to_params_json
from tramontane.model.layouts import Layout, Shape, canonical_shapes, half_to_interleaved, rotary_heads, stored_name

__all__ = ["save_checkpoint"]

_STEM: dict[Layout, str] = {"native": "consolidated", "hf": "model"}
_CONFIG_FILE: dict[Layout, str] = {"native": "params.json", "hf": "config.json"}
_DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def save_checkpoint(
    folder: Path,
    config: ModelConfig,
    tensors: Callable[[str], torch.Tensor] | Mapping[str, torch.Tensor],
    layout: Layout,
    dtype: torch.dtype,
    max_shard_bytes: int = 5 << 30,
) -> None:
    """Write the model to `folder`, which is made if need be; `tensors` gives each canonical tensor by name.

    Tensors are asked for one shard at a time, so memory holds at most `max_shard_bytes` of them. Each file is written
    under a temporary name, flushed and renamed. The configuration is removed first and written last: while weights
    are being replaced, and after a crash, the folder is refused instead of read as a mixture of two models. Weights
    that an earlier checkpoint of the same layout left behind are removed at the end; other files are left alone.

    Raises CheckpointError when the layout cannot express the model, or a tensor has the wrong shape.
    """
    if dtype not in _DTYPES:
        raise CheckpointError(f"{folder}: weights cannot be saved as {dtype}; use float32, float16 or bfloat16.")
    description = to_params_json(config) if layout == "native" else {**to_hf_config(config), "dtype": _DTYPES[dtype]}
    get = tensors if callable(tensors) else tensors.__getitem__
    folder.mkdir(parents=True, exist_ok=True)
    config_path = folder / _CONFIG_FILE[layout]
    config_path.unlink(missing_ok=True)

    shapes = canonical_shapes(config)
    shards = _plan(shapes, dtype.itemsize, max_shard_bytes)
    placed: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = _shard_name(layout, number, len(shards))
        _write_shard(folder / file, names, get, config, layout, dtype)
        placed |= {stored_name(name, config, layout): file for name in names}
    _remove_stale(folder, layout, set(placed.values()))
    if len(shards) > 1:
        total = sum(torch.Size(shape).numel() for shape in shapes.values()) * dtype.itemsize
        _write_json(folder / _index_name(layout), {"metadata": {"total_size": total}, "weight_map": placed})
    _write_json(config_path, description)


def _plan(shapes: Mapping[str, Shape], itemsize: int, max_bytes: int) -> list[list[str]]:
    """Names by shard, in order; a tensor that is larger than `max_bytes` gets a shard of its own."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, shape in shapes.items():
        size = torch.Size(shape).numel() * itemsize
        if shards[-1] and filled + size > max_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _write_shard(
    path: Path,
    names: list[str],
    get: Callable[[str], torch.Tensor],
    config: ModelConfig,
    layout: Layout,
    dtype: torch.dtype,
) -> None:
    shapes = canonical_shapes(config)
    shard: dict[str, torch.Tensor] = {}
    for name in names:
        try:
            tensor = get(name).detach()
        except KeyError as error:
            raise CheckpointError(f"{path}: tensor {name} was not given, so the model cannot be saved.") from error
        if tuple(tensor.shape) != shapes[name]:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {list(tensor.shape)}, but the model asks for {list(shapes[name])}."
            )
        heads = rotary_heads(name, config) if layout == "native" else None
        shard[stored_name(name, config, layout)] = _as_stored(tensor, heads, dtype)
    # transformers opens a file only if its metadata says which library's order of bytes it follows.
    _replace(path, lambda temporary: save_file(shard, temporary, metadata={"format": "pt"}))


def _as_stored(tensor: torch.Tensor, interleave_heads: int | None, dtype: torch.dtype) -> torch.Tensor:
    """The tensor on the CPU, in `dtype`, rows in the file's order, in memory that it shares with no other."""
    tensor = tensor.to(device="cpu", dtype=dtype)
    if interleave_heads:
        tensor = half_to_interleaved(tensor, interleave_heads)
    tensor = tensor.contiguous()
    # Views of a fused weight, or of a mapped file, share their storage, and safetensors refuses to save those.
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _shard_name(layout: Layout, number: int, total: int) -> str:
    stem = _STEM[layout]
    return f"{stem}.safetensors" if total == 1 else f"{stem}-{number:05d}-of-{total:05d}.safetensors"


def _index_name(layout: Layout) -> str:
    return f"{_STEM[layout]}.safetensors.index.json"


def _remove_stale(folder: Path, layout: Layout, kept: set[str]) -> None:
    stem = _STEM[layout]
    for pattern in (f"{stem}.safetensors", f"{stem}-*-of-*.safetensors", _index_name(layout)):
        for path in folder.glob(pattern):
            if path.name not in kept:
                path.unlink()


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write under a temporary name, flush to the disk, rename: readers see the old file or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
