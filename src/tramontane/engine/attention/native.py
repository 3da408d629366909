"""Attention in C for processors with AVX-512 BF16 (native.c): reads pages in place, copies nothing."""

from __future__ import annotations

import ctypes
import logging
import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tramontane.engine.attention.batch import Batch
from tramontane.engine.kv_cache import KVCache
from tramontane.model.config import ModelConfig
from tramontane.model.machine import this_machine
from tramontane.model.native_code import NoCompilerError, load_library
from tramontane.model.transformer import Attend

logger = logging.getLogger(__name__)

_FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16", "-mfma")


class _Shape(ctypes.Structure):
    """The C file's Shape."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("num_sequences", "num_heads", "num_kv_heads", "head_dim")),
        *((name, ctypes.c_int32) for name in ("block_size", "window")),
        *((name, ctypes.c_int64) for name in ("num_slots", "q_stride", "k_stride", "v_stride")),
        ("scale", ctypes.c_float),
    )


@cache
def _library() -> ctypes.CDLL | None:
    if "avx512_bf16" not in this_machine().instructions:
        return None
    try:
        library = load_library(Path(__file__).with_name("native.c"), _FLAGS)
    except NoCompilerError as error:
        logger.warning("Attention falls back to PyTorch's, which is slower on long contexts: %s.", error)
        return None
    pointers = [ctypes.c_void_p] * 8
    library.attention.argtypes = [ctypes.POINTER(_Shape), *pointers, ctypes.c_int32]
    library.attention.restype = None
    return library


def native_serves(config: ModelConfig, dtype: torch.dtype, block_size: int) -> bool:
    """Whether the C code is for this machine and this model."""
    return (
        dtype is torch.bfloat16
        and config.head_dim in (64, 128, 256)
        and config.num_heads // config.num_kv_heads <= 128
        and block_size % 16 == 0
        and _library() is not None
    )


def native(cache: KVCache, batch: Batch) -> Attend:
    """Prepares the C code's arguments once a step; a layer is then one call."""
    library = _library()
    assert library is not None
    groups = range(len(cache.groups))
    described = [_describe(batch, group) for group in groups]
    num_heads_kv, num_slots, head_dim = cache.keys.shape[1:]
    threads = torch.get_num_threads()

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        group, index = cache.place[layer]
        slices, tables = described[group]
        shape = _Shape(
            len(batch.slices), q.shape[1], num_heads_kv, head_dim, batch.block_size, cache.groups[group].window or 0,
            num_slots, q.stride(0), k.stride(0), v.stride(0), 1 / math.sqrt(head_dim),
        )  # fmt: skip
        assert q.stride(1) == k.stride(1) == v.stride(1) == head_dim
        out = torch.empty(q.shape, dtype=q.dtype)
        library.attention(
            ctypes.byref(shape), slices.ctypes.data, tables.ctypes.data, q.data_ptr(), k.data_ptr(), v.data_ptr(),
            cache.keys[index].data_ptr(), cache.values[index].data_ptr(), out.data_ptr(), threads,
        )  # fmt: skip
        return out

    return attend


def _describe(batch: Batch, group: int) -> tuple[np.ndarray, np.ndarray]:
    """The C file's slices [S, 4] and all block tables one after another, int32."""
    tables = [piece.tables[group] for piece in batch.slices]
    offsets = np.cumsum([0, *(len(table) for table in tables)])
    slices = [
        (piece.start, piece.num_new, piece.num_computed, offset)
        for piece, offset in zip(batch.slices, offsets[:-1], strict=True)
    ]
    joined = [block for table in tables for block in table]
    return np.array(slices, dtype=np.int32), np.array(joined, dtype=np.int32)
