"""Matrix products of this machine: int8, found by trying PyTorch's; int4 and bfloat16 for few rows, in C.

PyTorch has several int8 products, each with machines on which it is missing, wrong (saturation in 16 bits) or
slow. The first candidate that gives the exact integers on extreme values is used, and `doctor` names it.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from tramontane.errors import TramontaneError
from tramontane.model.machine import this_machine
from tramontane.model.native_code import load_or_none
from tramontane.model.rows import quantize_rows

# uint8 activations around 128 [T, in] → float32 [T, out], scaled by the weight's row scales.
Product = Callable[[Tensor], Tensor]
_ZERO_POINT = 128
_WORTH_THREADS = 1 << 16  # weights; fewer are not worth waking threads for


def int8_product(weight: Tensor, scale: Tensor) -> Product:
    """Prepares `weight` int8 [out, in] with `scale` float32 [out] for the best exact kernel of this machine."""
    return _CANDIDATES[int8_kernel()](weight, scale)


@cache
def int8_kernel() -> str:
    """The name of the kernel that `int8_product` uses on this machine."""
    for name, prepare in _CANDIDATES.items():
        if _is_exact(prepare):
            return name
    raise TramontaneError("No int8 kernel of this PyTorch is exact on this machine; use --quantization none.")


def _is_exact(prepare: Callable[[Tensor, Tensor], Product]) -> bool:
    # Extremes everywhere: a kernel that adds pairs in 16 bits saturates here.
    weight = torch.full((32, 256), 127, dtype=torch.int8)
    weight[::2] = -127
    activations = torch.full((3, 256), 255, dtype=torch.uint8)
    activations[1] = 1
    activations[2, ::3] = 7
    exact = (activations.long() - _ZERO_POINT) @ weight.long().t()
    try:
        return torch.equal(prepare(weight, torch.ones(32))(activations).long(), exact)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


def _onednn(weight: Tensor, scale: Tensor) -> Product:
    """oneDNN, with AMX or VNNI where the processor has them; the weight lives on in the kernel's own layout."""
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zeros = torch.zeros(weight.shape[0], dtype=torch.int32)
    linear = torch.ops.onednn.qlinear_pointwise.default

    def product(x: Tensor) -> Tensor:
        # x, its scale and zero, weight, its scales and zeros, bias, output's scale, zero and dtype, no post-operation
        return linear(x, 1.0, _ZERO_POINT, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], "")  # type: ignore[no-any-return]

    return product


def _int_mm(weight: Tensor, scale: Tensor) -> Product:
    """ATen's integer matrix product; it wants the second operand transposed in memory."""
    transposed = weight.t()

    def product(x: Tensor) -> Tensor:
        signed = (x.view(torch.int8) ^ -128).contiguous()  # 0…255 around 128 → -128…127 around 0, bit by bit
        return torch._int_mm(signed, transposed).float().mul_(scale)

    return product


def _float32(weight: Tensor, scale: Tensor) -> Product:
    """Float32, exact while sums stay below 2^24, which 127 * 127 * in exceeds only for extreme rows; slow."""

    def product(x: Tensor) -> Tensor:
        return torch.mm(x.float().sub_(_ZERO_POINT), weight.t().float()).mul_(scale)

    return product


_CANDIDATES: dict[str, Callable[[Tensor, Tensor], Product]] = {
    "onednn": _onednn,
    "int_mm": _int_mm,
    "float32": _float32,
}


def int4_product(quantized: Tensor, scales_and_zeros: Tensor) -> Product:
    """Prepares uint8 [out, in] of 0…15 for few rows; `linear.quantize_int4` says what the numbers stand for.

    The product takes activations [T, in] of any floating dtype: weights and scales are read, and little else.
    """
    if "avx512_vnni" in this_machine().instructions and (library := _int4_library()) is not None:
        return _int4_vnni(library, quantized, scales_and_zeros)
    packed = torch._convert_weight_to_int4pack_for_cpu(quantized.int(), 1)
    group = quantized.shape[1] // scales_and_zeros.shape[0]

    def product(x: Tensor) -> Tensor:
        return torch._weight_int4pack_mm_for_cpu(x.bfloat16(), packed, group, scales_and_zeros).to(x.dtype)

    return product


@cache
def _int4_library() -> ctypes.CDLL | None:
    loaded = load_or_none("few_rows_int4.c", "int4 falls back to PyTorch's kernel, which is slower on this processor")
    if loaded is not None:
        loaded.few_rows_int4.argtypes = [*[ctypes.c_void_p] * 6, *[ctypes.c_int64] * 3, ctypes.c_int32]
        loaded.few_rows_int4.restype = None
    return loaded


def _int4_vnni(library: ctypes.CDLL, quantized: Tensor, scales_and_zeros: Tensor) -> Product:
    """The C code's layout (few_rows_int4.c), and its call for up to eight rows at a time."""
    out_features, in_features = quantized.shape
    # [blocks, 16 rows, groups, 4 vectors, 2 nibbles, 4 bytes] → [blocks, groups, vectors, rows, bytes, nibbles]
    parts = quantized.view(out_features // 16, 16, in_features // 32, 4, 2, 4).permute(0, 2, 3, 1, 5, 4)
    weight = (parts[..., 0] | parts[..., 1] << 4).contiguous()
    scales = scales_and_zeros.view(in_features // 32, out_features // 16, 16, 2).transpose(0, 1).contiguous()

    def product(x: Tensor) -> Tensor:
        if x.shape[0] > 8:
            return torch.cat([product(piece) for piece in x.split(8)])
        rows, scale = quantize_rows(x)
        out = torch.empty(x.shape[0], out_features, dtype=torch.bfloat16)
        scratch = torch.empty(8 * (in_features // 4 + in_features // 32), dtype=torch.int32)
        pointers = (t.data_ptr() for t in (rows, scale, weight, scales, out, scratch))
        threads = torch.get_num_threads() if weight.numel() > _WORTH_THREADS else 1
        library.few_rows_int4(*pointers, x.shape[0], in_features, out_features, threads)
        return out.to(x.dtype)

    return product


@cache
def int4_max_rows() -> int:
    """Up to how many rows (of 1, 2, 4, 8) the int4 kernel beats the int8 one here, found by racing them once."""
    weights = torch.randint(0, 16, (8192, 4096), dtype=torch.uint8)
    scales = torch.full((4096 // 32, 8192, 2), 0.01, dtype=torch.bfloat16)
    # Several copies, read in turn, so that no cache holds the weights, as in a real model.
    int4 = [int4_product(weights, scales) for _ in range(4)]
    int8 = [int8_product(weights.view(torch.int8), torch.ones(8192)) for _ in range(4)]
    best = 0
    for rows in (1, 2, 4, 8):
        x = torch.randn(rows, 4096).bfloat16()
        quantized, _ = quantize_rows(x)
        if _seconds([partial(product, x) for product in int4]) > _seconds(
            [partial(product, quantized) for product in int8]
        ):
            break
        best = rows
    return best


def _seconds(calls: list[Callable[[], Tensor]]) -> float:
    """The median time of one round through `calls`."""
    rounds = []
    for _ in range(9):
        start = time.perf_counter()
        for call in calls:
            call()
        rounds.append(time.perf_counter() - start)
    return statistics.median(rounds)


@cache
def few_rows_library() -> ctypes.CDLL | None:
    """The compiled few_rows.c, or None where this machine has no compiler."""
    loaded = load_or_none("few_rows.c", "Products of one row fall back to PyTorch's, which read weights more slowly")
    if loaded is not None:
        loaded.few_rows.argtypes = [*[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 3, ctypes.c_int32]
        loaded.few_rows.restype = None
    return loaded


def reads_few_rows(x: Tensor, weight: Tensor) -> bool:
    """Whether `few_rows_product` is for this product: inference on a CPU, one or two rows, bfloat16."""
    return (
        1 <= x.shape[0] <= 2
        and weight.is_contiguous()
        and x.dtype is weight.dtype is torch.bfloat16
        and x.device.type == "cpu"
        and weight.shape[1] % 64 == 0
        and torch.is_inference_mode_enabled()
        and few_rows_library() is not None
    )


def few_rows_product(x: Tensor, weight: Tensor) -> Tensor:
    """x [1 or 2, in] times weight [out, in], as fast as the weight can be read (few_rows.c)."""
    library = few_rows_library()
    assert library is not None
    wide, out = x.float().contiguous(), torch.empty(x.shape[0], weight.shape[0], dtype=torch.bfloat16)
    threads = torch.get_num_threads() if weight.numel() > _WORTH_THREADS else 1
    pointers = wide.data_ptr(), weight.data_ptr(), out.data_ptr()
    library.few_rows(*pointers, x.shape[0], weight.shape[1], weight.shape[0], threads)
    return out
