"""What happens between two matrix products, on rows of activations: one signature, two implementations.

PyTorch's runs anywhere and can be differentiated; the one in C (rows.c) makes a single pass over memory, and serves
inference on CPUs. Both give the same numbers up to the last bits.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from tramontane.model.native_code import load_or_none

_WORTH_THREADS = 1 << 15  # elements; less is not worth waking threads for


class _Size(ctypes.Structure):
    """The C file's Size."""

    _fields_ = (
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("is_bf16", ctypes.c_int32),
        ("num_threads", ctypes.c_int32),
    )


@cache
def library() -> ctypes.CDLL | None:
    """The compiled C code, or None where this machine has no compiler (said once, in the log)."""
    loaded = load_or_none("rows.c", "Norms and quantisation fall back to PyTorch's, which take more passes")
    if loaded is None:
        return None
    size, pointer, number, real = ctypes.POINTER(_Size), ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    loaded.quantize_rows.argtypes = [size, pointer, pointer, pointer]
    loaded.rescale_rows.argtypes = [size, pointer, pointer, pointer]
    loaded.rms_norm.argtypes = [size, pointer, pointer, real, pointer]
    loaded.silu_mul.argtypes = [size, pointer, pointer]
    loaded.rotate.argtypes = [size, pointer, number, number, pointer, pointer]
    for name in ("quantize_rows", "rescale_rows", "rms_norm", "silu_mul", "rotate"):
        getattr(loaded, name).restype = None
    return loaded


def _native(x: Tensor) -> ctypes.CDLL | None:
    """The C code, if it is for this tensor: inference, on the CPU, in a dtype that it knows."""
    known = x.ndim >= 2 and (x.dtype is torch.bfloat16 or x.dtype is torch.float32)
    return library() if known and x.device.type == "cpu" and torch.is_inference_mode_enabled() else None


def _size(rows: int, columns: int, dtype: torch.dtype) -> ctypes.Structure:
    threads = torch.get_num_threads() if rows * columns > _WORTH_THREADS else 1
    return _Size(rows, columns, dtype is torch.bfloat16, threads)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square normalisation (arXiv:1910.07467) of x [T, dim]."""
    native = _native(x)
    if native is None or weight.dtype is not x.dtype:
        return F.rms_norm(x, weight.shape, weight, eps)
    x, out = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    native.rms_norm(_size(x.shape[0], x.shape[1], x.dtype), x.data_ptr(), weight.data_ptr(), eps, out.data_ptr())
    return out


def silu_mul(gate_up: Tensor) -> Tensor:
    """Gates and ups side by side [T, 2 * ffn] → silu(gate) * up [T, ffn]."""
    native = _native(gate_up)
    if native is None:
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate) * up
    gate_up = gate_up.contiguous()
    rows, ffn = gate_up.shape[0], gate_up.shape[1] // 2
    out = gate_up.new_empty(rows, ffn)
    native.silu_mul(_size(rows, ffn, gate_up.dtype), gate_up.data_ptr(), out.data_ptr())
    return out


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds each row of x [T, in] to uint8 around 128; returns it with its scale [T, 1], float32.

    A row with a value that is not finite gets the scale NaN: what is wrong stays visible.
    """
    native = _native(x)
    if native is None:
        wide = x.float()
        peak = torch.linalg.vector_norm(wide, float("inf"), dim=-1, keepdim=True).clamp_min_(1e-20)
        peak = torch.where(peak.isfinite(), peak, torch.nan)
        # Truncation after + 128.5 rounds to the nearest: one pass fewer than round() + 128.
        return (wide * (127.0 / peak)).nan_to_num_().add_(128.5).to(torch.uint8), peak / 127.0
    x = x.contiguous()
    quantized = torch.empty(x.shape, dtype=torch.uint8)
    scale = torch.empty(x.shape[0], 1, dtype=torch.float32)
    native.quantize_rows(_size(x.shape[0], x.shape[1], x.dtype), x.data_ptr(), quantized.data_ptr(), scale.data_ptr())
    return quantized, scale


def rescale_rows(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """x [T, out] float32 times its row's scale [T, 1], in `dtype`."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    native = _native(out)
    if native is None:
        return torch.mul(x, scale, out=out) if dtype is x.dtype else (x * scale).to(dtype)
    x = x.contiguous()
    native.rescale_rows(_size(x.shape[0], x.shape[1], dtype), x.data_ptr(), scale.data_ptr(), out.data_ptr())
    return out


def rotate(heads: Tensor, num_heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the first `num_heads` of heads [T, H, D] by angles whose cos and sin are [T, D / 2].

    Dimension `i` is paired with `i + D / 2`. In place where nothing needs the unrotated heads for a gradient.
    """
    native = _native(heads)
    if native is None or not heads.is_contiguous() or cos.dtype is not torch.float32:
        turned, rest = heads[:, :num_heads], heads[:, num_heads:]
        low, high = turned.chunk(2, -1)
        cos, sin = cos[:, None], sin[:, None]
        rotated = torch.cat((low * cos - high * sin, high * cos + low * sin), -1).to(heads.dtype)
        return torch.cat((rotated, rest), 1)
    native.rotate(
        _size(heads.shape[0], heads.shape[2], heads.dtype),
        heads.data_ptr(),
        heads.stride(0),
        num_heads,
        cos.data_ptr(),
        sin.data_ptr(),
    )
    return heads
