"""Quantised linears: how far they round, and that a row's result is its own affair."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checkpoints import int4_values, typical_error
from tramontane.model.linear import (
    INT4_GROUP,
    Int4Linear,
    Int8Linear,
    Linear,
    quantize_int4,
    quantize_int8,
)
from tramontane.model.rows import quantize_rows

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(params=[True, False], ids=["inference", "autograd"])
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    """Rows are rounded in C for inference, where there is a compiler, and by PyTorch otherwise."""
    with torch.inference_mode(request.param):
        yield


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def int8(weight: torch.Tensor) -> Int8Linear:
    return Int8Linear(*quantize_int8([weight]))


# ── int8: alone or in a batch ──────────────────────────────────────────────────────────────────────────────────────

# Sizes of no special form, sizes that kernels like, and the longest sums of a 7B model.
SHAPES = {(72, 200): 0, (64, 256): 1, (33, 97): 2, (48, 14336): 3, (1, 1): 4}
LAYERS = {shape: int8(normal(*shape, seed=seed)) for shape, seed in SHAPES.items()}


@settings(deadline=None, max_examples=150)
@given(
    shape=st.sampled_from(list(LAYERS)),
    dtype=st.sampled_from(DTYPES),
    rows=st.integers(1, 64),
    data=st.data(),
    seed=st.integers(0, 1000),
    inference=st.booleans(),
)
def test_int8_row_is_bitwise_the_same_in_every_batch(
    shape: tuple[int, int], dtype: torch.dtype, rows: int, data: st.DataObject, seed: int, inference: bool
) -> None:
    layer = LAYERS[shape]
    # Neighbours of other sizes; and half of the values lie on the boundary between two integers, where rounding that
    # differed in the last bit would show.
    x = normal(rows, shape[1], seed=seed) * torch.logspace(-3, 3, rows)[:, None]
    halves = torch.randint(-126, 126, x.shape, generator=torch.Generator().manual_seed(seed)) + 0.5
    x[:, ::2] = (halves * x.abs().amax(-1, keepdim=True) / 127)[:, ::2]
    x = x.to(dtype)
    row = data.draw(st.integers(0, rows - 1), label="row")
    moved = torch.cat([normal(data.draw(st.integers(0, 63), label="moved by"), shape[1]).to(dtype), x[row][None]])
    with torch.inference_mode(inference):
        alone = layer(x[row : row + 1].clone())
        assert alone.dtype == dtype
        assert torch.equal(layer(x)[row], alone[0])
        assert torch.equal(layer(moved)[-1], alone[0])


@pytest.mark.usefixtures("mode")
def test_int8_row_ignores_broken_neighbours() -> None:
    layer, x = LAYERS[64, 256], normal(3, 256)
    expected = layer(x)
    for broken in (torch.nan, torch.inf):
        x[1, 7] = broken
        assert torch.equal(layer(x)[[0, 2]], expected[[0, 2]])
        assert not layer(x)[1].isfinite().all()


@pytest.mark.usefixtures("mode")
def test_int8_of_no_rows() -> None:
    assert LAYERS[72, 200](torch.empty(0, 200)).shape == (0, 72)


# ── int8: the numbers ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("shape", SHAPES)
def test_int8_is_exact_integer_arithmetic_between_two_roundings(shape: tuple[int, int]) -> None:
    weight, x = normal(*shape, seed=5), normal(9, shape[1], seed=6)
    values, weight_scale = quantize_int8([weight])
    activations, scale = quantize_rows(x)
    exact = (activations.long() - 128) @ values.long().t()
    assert torch.equal(int8(weight)(x), exact.float() * weight_scale * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantize_int8_rounds_to_the_nearest_of_255_steps(dtype: torch.dtype) -> None:
    weight = normal(40, 96, dtype=dtype) * torch.logspace(-4, 2, 40).to(dtype)[:, None]
    values, scale = quantize_int8([weight])
    assert (values.dtype, scale.dtype) == (torch.int8, torch.float32)
    assert values.abs().amax(-1).eq(127).all()
    error = (values.double() * scale.double()[:, None] - weight.double()).abs()
    assert (error <= scale.double()[:, None] * 0.50002).all()  # half a step, and float32's division


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_are_rounded_to_the_nearest_of_255_steps(dtype: torch.dtype) -> None:
    x = normal(40, 96, dtype=dtype) * torch.logspace(-4, 2, 40).to(dtype)[:, None]
    values, scale = quantize_rows(x)
    assert (values.dtype, scale.dtype, scale.shape) == (torch.uint8, torch.float32, (40, 1))
    assert (values.long() - 128).abs().amax(-1).eq(127).all()
    error = ((values.double() - 128) * scale.double() - x.double()).abs()
    assert (error <= scale.double() * 0.50002).all()


@pytest.mark.usefixtures("mode")
def test_rows_of_zeros_stay_zeros() -> None:
    weight, x = normal(32, 64), normal(2, 64)
    weight[3], x[1] = 0, 0
    result = int8(weight)(x)
    assert result[:, 3].eq(0).all()
    assert result[1].eq(0).all()
    assert result[0].ne(0).sum() == 31


def test_quantize_int8_stacks_parts_and_leaves_them_alone() -> None:
    parts = [normal(rows, 64, seed=rows) for rows in (5, 2049, 3)]  # one longer than the rows done at a time
    before = [part.clone() for part in parts]
    values, scale = quantize_int8(parts)
    whole_values, whole_scale = quantize_int8([torch.cat(before)])
    assert torch.equal(values, whole_values)
    assert torch.equal(scale, whole_scale)
    assert all(map(torch.equal, parts, before))


def test_error_of_one_int8_linear() -> None:
    weight, x = normal(512, 512, dtype=torch.bfloat16), normal(64, 512)
    assert typical_error(int8(weight)(x), x @ weight.float().t()) < 0.0125  # measured: 0.0105


# ── int4 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def int4(weight: torch.Tensor, max_rows: int = 4) -> Int4Linear:
    return Int4Linear(weight, int8(weight), max_rows)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_quantize_int4_rounds_within_a_step_of_its_group(offset: float) -> None:
    weight = normal(2050, 96) * torch.logspace(-4, 2, 96) + offset
    values, scales_and_zeros = quantize_int4(weight)
    assert values.dtype == torch.uint8
    assert values.max() <= 15
    assert scales_and_zeros.shape == (96 // INT4_GROUP, 2050, 2)
    scale, zero = scales_and_zeros.double().permute(2, 1, 0).unbind(0)  # [out, groups]
    error = (int4_values(values, scales_and_zeros) - weight.double()).abs().unflatten(1, (-1, INT4_GROUP)).amax(-1)
    # Half a step; and the ends may be out of reach by what bfloat16 moved: 2^-8 of 15 steps, and of the zero.
    assert (error <= 0.5 * scale + 2**-8 * 1.01 * (15 * scale + zero.abs())).all()


def test_int4_groups_of_one_value_are_kept() -> None:
    weight = torch.full((16, 64), 0.75)
    weight[:, 32:] = 0
    assert torch.allclose(int4_values(*quantize_int4(weight)), weight.double(), atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_int4_computes_with_the_values_it_stands_for(dtype: torch.dtype, rows: int) -> None:
    weight, x = normal(64, 256), normal(rows, 256, seed=1, dtype=dtype)
    result = int4(weight)(x)
    exact = x.double() @ int4_values(*quantize_int4(weight)).t()
    assert result.dtype == dtype
    # The kernel rounds activations, to int8 or to bfloat16, and returns bfloat16.
    assert typical_error(result, exact) < 0.01


def test_int4_uses_the_int8_copy_above_max_rows() -> None:
    weight = normal(64, 256)
    for max_rows in (1, 2, 4):
        layer = int4(weight, max_rows)
        for rows in range(1, 9):
            x = normal(rows, 256, seed=rows)
            assert torch.equal(layer(x), layer.many_rows(x)) == (rows > max_rows)


def test_error_of_one_int4_linear() -> None:
    weight, x = normal(512, 512, dtype=torch.bfloat16), normal(64, 512)
    assert typical_error(int4(weight, 64)(x), x @ weight.float().t()) < 0.085  # measured: 0.078


# ── all of them ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_memory_is_counted() -> None:
    weight = normal(64, 256, dtype=torch.bfloat16)
    plain = Linear(256, 64)
    assert (plain.num_bytes, plain.bfloat16().num_bytes) == (64 * 256 * 4, 64 * 256 * 2)
    assert int8(weight).num_bytes == 64 * 256 + 64 * 4
    few = int4(weight)
    assert few.few_rows_bytes == 64 * 256 // 2 + 64 * (256 // 32) * 4
    assert few.num_bytes == few.few_rows_bytes + few.many_rows.num_bytes
    for layer in (plain, int8(weight), few):
        assert (layer.in_features, layer.out_features) == (256, 64)
