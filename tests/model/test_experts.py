"""Each token goes to its best experts, weighed by the softmax over those; nobody else's weights are read."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.model.config import MoEConfig
from tramontane.model.experts import Experts
from tramontane.model.linear import Int8Linear, quantize_int8

DIM, FFN = 32, 48


def make_experts(num_experts: int, num_chosen: int, dtype: torch.dtype = torch.float64) -> Experts:
    experts = Experts(DIM, FFN, MoEConfig(num_experts, num_chosen)).to(dtype).requires_grad_(False)
    generator = torch.Generator().manual_seed(num_experts)
    for parameter in experts.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[1] ** -0.5)
    return experts


def random_tokens(rows: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed)).to(dtype)


def by_the_paper(experts: Experts, x: torch.Tensor) -> torch.Tensor:
    """arXiv:2401.04088, section 2.1: every expert computes every token, and the weights of most are 0."""
    scores = x @ experts.gate.weight.t()
    kth = scores.sort(-1, descending=True).values[:, experts.num_experts_per_tok - 1, None]
    weights = scores.masked_fill(scores < kth, -torch.inf).softmax(-1)  # [T, experts]
    out = torch.zeros_like(x)
    for number, expert in enumerate(experts.experts):
        w1, w3 = expert.w13.weight.chunk(2)
        out += weights[:, number, None] * ((F.silu(x @ w1.t()) * (x @ w3.t())) @ expert.w2.weight.t())
    return out


@settings(deadline=None, max_examples=50)
@given(num_experts=st.integers(1, 9), data=st.data(), rows=st.integers(1, 40), seed=st.integers(0, 99))
def test_experts_are_those_of_the_paper(num_experts: int, data: st.DataObject, rows: int, seed: int) -> None:
    experts = make_experts(num_experts, data.draw(st.integers(1, num_experts)))
    x = random_tokens(rows, seed)
    assert torch.allclose(experts(x), by_the_paper(experts, x), rtol=0, atol=1e-12)


def test_experts_that_nobody_chose_are_not_run() -> None:
    experts, x = make_experts(8, 2), random_tokens(3, 3)
    runs: list[tuple[int, int]] = []
    for number, expert in enumerate(experts.experts):
        expert.register_forward_pre_hook(lambda _, inputs, number=number: runs.append((number, len(inputs[0]))))
    experts(x)
    chosen, rows = experts.gate(x).topk(2).indices.unique(return_counts=True)
    assert len(chosen) < 8  # for these tokens
    assert runs == list(zip(chosen.tolist(), rows.tolist(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_is_kept_and_the_weighing_is_precise(dtype: torch.dtype) -> None:
    exact, rough = make_experts(4, 2), make_experts(4, 2, dtype)
    x = random_tokens(200, 0)
    margin = exact.gate(x).sort(-1, descending=True).values.diff(dim=-1)[:, 1].abs()
    clear = margin > 0.1  # where rounding cannot turn the choice
    assert clear.sum() > 100
    result = rough(x.to(dtype))
    assert result.dtype == dtype
    error = (result.double() - exact(x))[clear].square().mean().sqrt() / exact(x)[clear].std()
    assert error < 3 * torch.finfo(dtype).eps


def test_quantised_experts_do_not_depend_on_the_neighbours() -> None:
    experts = make_experts(4, 2, torch.float32)
    for expert in experts.experts:
        for name in ("w13", "w2"):
            setattr(expert, name, Int8Linear(*quantize_int8([getattr(expert, name).weight])))
    x = random_tokens(64, 1, torch.float32)
    # The gate is no quantised linear: its scores may differ in the last digit, which here chooses nobody else.
    together = experts(x)
    for row in range(64):
        assert torch.allclose(experts(x[row : row + 1])[0], together[row], rtol=0, atol=1e-6)
