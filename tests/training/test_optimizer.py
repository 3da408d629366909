"""AdamW is torch's, Muon's steps are orthogonal, and a bfloat16 model is a copy of float32 masters."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.training.runs import CONFIG
from tramontane.model.layouts import canonical_shapes
from tramontane.model.weights import canonical_tensors
from tramontane.training.initial import initial_model
from tramontane.training.optimizer import BETAS, EPS, Optimizer, Rates, orthogonalize

CPU = torch.device("cpu")


def _fill_gradients(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def test_adamw_is_that_of_torch() -> None:
    model = initial_model(CONFIG, 0, torch.float32, CPU)
    theirs = copy.deepcopy(model)
    norms = [p for p in theirs.parameters() if p.ndim == 1]
    matrices = [p for p in theirs.parameters() if p.ndim == 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=BETAS, eps=EPS)
    ours = Optimizer(model, muon=False)
    for step in range(5):
        _fill_gradients(model, step)
        _fill_gradients(theirs, step)
        ours.collect()
        norm = ours.step(Rates(0.01, 0.0, 0.1), clip=1.0)
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)), rel=1e-5)
        reference.step()
    for one, other in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
def test_five_steps_make_a_matrix_nearly_orthogonal(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.3
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    nearest = u @ vh
    cosine = (orthogonalize(matrices) * nearest).sum((1, 2)) / nearest.norm(dim=(1, 2))
    assert bool((cosine / orthogonalize(matrices).norm(dim=(1, 2)) > 0.95).all())


def test_fused_matrices_are_made_orthogonal_apart() -> None:
    model = initial_model(CONFIG, 0, torch.float32, CPU)
    before = {name: tensor.clone() for name, tensor in canonical_tensors(model).items()}
    _fill_gradients(model, 0)
    optimizer = Optimizer(model)
    optimizer.collect()
    optimizer.step(Rates(adamw=0.0, muon=1.0, weight_decay=0.0), clip=1e9)
    for name, shape in canonical_shapes(CONFIG).items():
        update = canonical_tensors(model)[name] - before[name]
        if ".attention.w" not in name and ".feed_forward." not in name:
            assert not update.any(), name
            continue
        values = torch.linalg.svdvals(update) / max(1.0, shape[0] / shape[1]) ** 0.5
        assert float(values.min()) > 0.4, name
        assert float(values.max()) < 1.3, name


def test_a_bfloat16_model_follows_its_masters() -> None:
    model = initial_model(CONFIG, 0, torch.bfloat16, CPU)
    optimizer = Optimizer(model)
    for step in range(20):  # each too small for bfloat16 to see
        _fill_gradients(model, step)
        optimizer.collect()
        optimizer.step(Rates(1e-5, 1e-5, 0.0), clip=1.0)
    name = "norm.weight"
    assert optimizer.masters[name].dtype is torch.float32
    assert (optimizer.masters[name] != 1).all()
    assert torch.equal(dict(model.named_parameters())[name], optimizer.masters[name].bfloat16())


def test_gradients_that_are_not_finite_change_nothing() -> None:
    model = initial_model(CONFIG, 0, torch.float32, CPU)
    optimizer, before = Optimizer(model), copy.deepcopy(model)
    _fill_gradients(model, 0)
    next(model.parameters()).grad[0, 0] = float("inf")  # type: ignore[index]
    optimizer.collect()
    assert optimizer.step(Rates(0.1, 0.1, 0.1), clip=1.0) == float("inf")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert not any(gradient.any() for gradient in optimizer.gradients.values())


def test_a_state_taken_back_goes_on_to_the_same_bits() -> None:
    def steps(optimizer: Optimizer, model: torch.nn.Module, numbers: range) -> None:
        for number in numbers:
            _fill_gradients(model, number)
            optimizer.collect()
            optimizer.step(Rates(0.01, 0.02, 0.1), clip=1.0)

    one, other = (initial_model(CONFIG, seed, torch.float32, CPU) for seed in (0, 1))
    first = Optimizer(one)
    steps(first, one, range(3))
    second = Optimizer(other)
    second.load({name: tensor.clone() for name, tensor in first.state().items()}, first.steps)
    steps(first, one, range(3, 5))
    steps(second, other, range(3, 5))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
