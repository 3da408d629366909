"""Kernels that claim to be exact are exact, on this machine, for shapes and values of every kind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from tests.checkpoints import int4_values
from tramontane.model import kernels
from tramontane.model.linear import quantize_int4
from tramontane.model.machine import this_machine
from tramontane.model.rows import quantize_rows

EXACT = [name for name, prepare in kernels._CANDIDATES.items() if kernels._is_exact(prepare)]
SHAPES = [(32, 256), (64, 4096), (48, 14336), (5, 24), (7, 33), (1, 1), (129, 1000)]


def random_case(out_features: int, in_features: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randint(-127, 128, (out_features, in_features), dtype=torch.int8, generator=generator)
    return weight, torch.randint(0, 256, (rows, in_features), dtype=torch.uint8, generator=generator)


def exact(weight: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    return (activations.long() - 128) @ weight.long().t()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_exact(name: str, shape: tuple[int, int]) -> None:
    scale = torch.rand(shape[0], generator=torch.Generator().manual_seed(0)) / 100 + 1e-3
    for rows in (1, 2, 3, 4, 5, 8, 16, 17, 33, 64):
        weight, activations = random_case(*shape, rows)
        sums = exact(weight, activations)
        assert torch.equal(kernels._CANDIDATES[name](weight, torch.ones(shape[0]))(activations).long(), sums)
        assert torch.equal(kernels._CANDIDATES[name](weight, scale)(activations), sums.float() * scale)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("value", [-127, 127])
def test_products_of_extremes_are_exact(name: str, value: int) -> None:
    # float32 promises exactness up to 2^24 only, which is 1040 products of extremes.
    for in_features in (256, 1024) if name == "float32" else (256, 1024, 4096, 14336):
        weight = torch.full((48, in_features), value, dtype=torch.int8)
        weight[::3] = -value
        activations = torch.full((4, in_features), 255, dtype=torch.uint8)
        activations[1], activations[2, ::2], activations[3, ::3] = 1, 0, 129
        result = kernels._CANDIDATES[name](weight, torch.ones(48))(activations)
        assert torch.equal(result, exact(weight, activations).float())


def test_a_candidate_is_judged_by_its_integers() -> None:
    def saturating(weight: torch.Tensor, scale: torch.Tensor) -> kernels.Product:
        """Adds pairs in 16 bits, as processors without VNNI do."""

        def product(x: torch.Tensor) -> torch.Tensor:
            products = x.long()[:, None] * weight.long()  # [T, out, in]
            pairs = products.unflatten(-1, (-1, 2)).sum(-1).clamp(-(2**15), 2**15 - 1)
            return (pairs.sum(-1) - 128 * weight.long().sum(-1)).float() * scale

        return product

    def missing(weight: torch.Tensor, scale: torch.Tensor) -> kernels.Product:
        raise NotImplementedError("not on this machine")

    assert not kernels._is_exact(saturating)
    assert not kernels._is_exact(missing)


def test_the_first_exact_candidate_is_used() -> None:
    assert kernels.int8_kernel() == EXACT[0]
    weight, activations = random_case(40, 96, 3)
    product = kernels.int8_product(weight, torch.ones(40))
    assert torch.equal(product(activations).long(), exact(weight, activations))


def test_an_older_processor_gets_exact_products_too() -> None:
    """oneDNN held to AVX2, whose int8 products saturate: another kernel must be found, or the same be right."""
    code = (
        "import torch; from tramontane.model import kernels; "
        "w = torch.full((48, 512), 127, dtype=torch.int8); w[::2] = -127; "
        "x = torch.full((5, 512), 255, dtype=torch.uint8); x[1] = 1; "
        "exact = (x.long() - 128) @ w.long().t(); "
        "assert torch.equal(kernels.int8_product(w, torch.ones(48))(x).long(), exact)"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_int4_serves_few_rows_or_none() -> None:
    assert kernels.int4_max_rows() in (0, 1, 2, 4, 8)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 19])
@pytest.mark.parametrize("shape", [(16, 32), (48, 96), (2048, 1024)], ids=str)
def test_int4_in_c_computes_exact_integers(rows: int, shape: tuple[int, int]) -> None:
    if "avx512_vnni" not in this_machine().instructions or kernels._int4_library() is None:
        pytest.skip("not this processor, or no compiler")
    torch.manual_seed(0)
    x, weight = torch.randn(rows, shape[1]), torch.randn(shape)
    numbers = quantize_int4(weight)
    product = kernels.int4_product(*numbers)
    rounded, scale = quantize_rows(x)
    exact = (rounded.double() - 128) * scale.double() @ int4_values(*numbers).t()
    torch.testing.assert_close(product(x).double(), exact, rtol=2**-7, atol=1e-3)
    alone = torch.cat([product(x[row : row + 1]) for row in range(rows)])
    assert torch.equal(product(x), alone)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("shape", [(7, 64), (129, 320), (2048, 1024)], ids=str)
def test_products_of_few_rows_agree_with_exact_ones(rows: int, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(rows, shape[1]).bfloat16(), torch.randn(shape).bfloat16()
    exact = (x.double() @ weight.double().t()).bfloat16()
    with torch.inference_mode():
        if not kernels.reads_few_rows(x, weight):
            pytest.skip("no C compiler on this machine")
        product = kernels.few_rows_product(x, weight)
        alone = kernels.few_rows_product(x[:1], weight)
    # Sums are float32: one near the middle between two bfloat16 values may round to the other.
    torch.testing.assert_close(product.float(), exact.float(), rtol=2**-7, atol=1e-3)
    assert torch.equal(product[:1], alone)


def test_products_of_few_rows_are_for_inference_only() -> None:
    x, weight = torch.randn(1, 64).bfloat16(), torch.randn(16, 64).bfloat16()
    assert not kernels.reads_few_rows(x, weight)
