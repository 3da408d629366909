"""The passes between matrix products: the C code and PyTorch's agree, and rows do not depend on their neighbours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tramontane.model import rows

if rows.library() is None:
    pytest.skip("no C compiler on this machine: PyTorch's passes are the only ones", allow_module_level=True)

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
SHAPES = pytest.mark.parametrize("shape", [(1, 64), (3, 40), (70, 1024), (513, 96)], ids=str)


def both(call: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """What PyTorch gives, and what C gives (in inference mode)."""
    expected = call()
    with torch.inference_mode():
        return expected, call()


def close(expected: Tensor, actual: Tensor, dtype: torch.dtype) -> None:
    assert actual.dtype == expected.dtype
    rounding = 2**-8 if dtype == torch.bfloat16 else 4e-6  # bfloat16: one unit in the last place
    torch.testing.assert_close(actual.float(), expected.float(), rtol=rounding, atol=rounding / 8)


@DTYPES
@SHAPES
def test_rms_norm(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(shape).to(dtype) * 3, torch.rand(shape[1]).to(dtype)
    # PyTorch's rounds the normalised row to bfloat16 before the weight, so it is compared with float32.
    expected = rows.rms_norm(x.float(), weight.float(), 1e-5).to(dtype)
    with torch.inference_mode():
        close(expected, rows.rms_norm(x, weight, 1e-5), dtype)


@DTYPES
@SHAPES
def test_silu_mul(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape[0], 2 * shape[1]).to(dtype) * 8
    expected = rows.silu_mul(x.float()).to(dtype)
    with torch.inference_mode():
        close(expected, rows.silu_mul(x), dtype)


@DTYPES
@SHAPES
def test_quantize_rows(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape).to(dtype) * torch.rand(shape[0], 1).to(dtype) * 100
    expected, expected_scale = rows.quantize_rows(x)
    with torch.inference_mode():
        actual, scale = rows.quantize_rows(x)
    torch.testing.assert_close(scale, expected_scale)
    # A value halfway between two steps may go either way.
    assert (actual.int() - expected.int()).abs().max() <= 1
    restored = (actual.float() - 128) * scale
    assert ((restored - x.float()).abs() <= scale * 0.501).all()


@DTYPES
@SHAPES
def test_rescale_rows(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, scale = torch.randn(shape) * 1000, torch.rand(shape[0], 1)
    close(*both(lambda: rows.rescale_rows(x, scale, dtype)), dtype)


@DTYPES
def test_rotate(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    heads, angles = torch.randn(37, 6, 64).to(dtype), torch.rand(37, 32) * 6
    expected = rows.rotate(heads, 4, angles.cos(), angles.sin())
    with torch.inference_mode():
        actual = rows.rotate(heads.clone(), 4, angles.cos(), angles.sin())
    close(expected, actual, dtype)
    assert torch.equal(actual[:, 4:], heads[:, 4:])


@DTYPES
def test_a_row_is_the_same_alone_and_among_others(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(300, 512).to(dtype), torch.rand(512).to(dtype)
    with torch.inference_mode():
        together = rows.rms_norm(x, weight, 1e-5), rows.silu_mul(x), *rows.quantize_rows(x)
        for row in (0, 1, 150, 299):
            one = x[row : row + 1]
            alone = rows.rms_norm(one, weight, 1e-5), rows.silu_mul(one), *rows.quantize_rows(one)
            assert all(torch.equal(a[row : row + 1], b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_visible(poison: float) -> None:
    x = torch.ones(3, 64)
    x[1, 5] = poison
    for inference in (False, True):
        with torch.inference_mode(inference):
            _, scale = rows.quantize_rows(x)
        assert scale.isnan().flatten().tolist() == [False, True, False]
