"""Muon for matrices, AdamW for embeddings and norms, on float32 master weights.

Sources: Muon, https://kellerjordan.github.io/posts/muon/ (momentum, then the nearest orthogonal matrix, by five steps
of a Newton-Schulz iteration); AdamW, arXiv:1711.05101.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from tramontane.model.layouts import canonical_shapes
from tramontane.model.transformer import Transformer
from tramontane.model.weights import canonical_names
from tramontane.training.ranks import ALONE, Ranks, local

MOMENTUM = 0.95
BETAS = (0.9, 0.95)
EPS = 1e-8
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the post's coefficients: singular values end near 1, fast


@dataclass(frozen=True)
class Rates:
    """What one step is made with."""

    adamw: float
    muon: float
    weight_decay: float


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Of each matrix in [B, rows, columns] the nearest with all singular values near 1 (0.7 … 1.2)."""
    a, b, c = _NEWTON_SCHULZ
    x: Tensor = matrices.bfloat16() if matrices.device.type == "cuda" else matrices
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = x.mT if tall else x
    return orthogonal.to(matrices.dtype)


class Optimizer:
    """Updates `model` from the gradients that its parameters carry.

    A model in bfloat16 is a copy: the master weights, and all that is computed here, are float32.
    `muon=False` leaves everything to AdamW, which is what Muon is measured against. Of a sharded model each process
    updates its own rows; a matrix is made orthogonal as a whole, by all of them.
    """

    def __init__(self, model: Transformer, *, muon: bool = True, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self.parameters = dict(model.named_parameters())
        # A parameter that is float32 is its own master.
        self.masters = {name: local(p.data).float() for name, p in self.parameters.items()}
        self.gradients = {name: torch.zeros_like(master) for name, master in self.masters.items()}
        self.steps = 0
        self._parts = {name: _parts(model, name) for name in self.parameters}
        self.matrices = [n for n, p in self.parameters.items() if muon and p.ndim == 2 and not _is_table(n)]
        self.others = [name for name in self.parameters if name not in self.matrices]
        self.momentum = {name: torch.zeros_like(self.masters[name]) for name in self.matrices}
        self.first = {name: torch.zeros_like(self.masters[name]) for name in self.others}
        self.second = {name: torch.zeros_like(self.masters[name]) for name in self.others}

    def collect(self) -> None:
        """Adds what a backward pass left in the parameters to the step's gradients, in float32."""
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                self.gradients[name] += local(parameter.grad)
                parameter.grad = None

    def step(self, rates: Rates, clip: float) -> float:
        """One update from the collected gradients, which are then forgotten; returns their norm before clipping."""
        (square,) = self.ranks.sum(sum(float(g.square().sum()) for g in self.gradients.values()))
        norm = math.sqrt(square)
        if math.isfinite(norm):
            self._clip(clip, norm)
            self.steps += 1
            self._adamw(rates)
            self._muon(rates)
            self._publish()
        for gradient in self.gradients.values():
            gradient.zero_()
        return norm

    def _clip(self, clip: float, norm: float) -> None:
        if norm > clip:
            for gradient in self.gradients.values():
                gradient.mul_(clip / norm)

    def _adamw(self, rates: Rates) -> None:
        correction1, correction2 = 1 - BETAS[0] ** self.steps, 1 - BETAS[1] ** self.steps
        for name in self.others:
            weight, gradient, first, second = (
                self.masters[name], self.gradients[name], self.first[name], self.second[name]
            )  # fmt: skip
            first.lerp_(gradient, 1 - BETAS[0])
            second.lerp_(gradient.square(), 1 - BETAS[1])
            if weight.ndim == 2:  # norms are not drawn towards zero
                weight.mul_(1 - rates.adamw * rates.weight_decay)
            scale = (second / correction2).sqrt_().add_(EPS)
            weight.addcdiv_(first, scale, value=-rates.adamw / correction1)

    def _muon(self, rates: Rates) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)  # one product for many matrices
        for name in self.matrices:
            gradient, momentum = self.gradients[name], self.momentum[name]
            momentum.lerp_(gradient, 1 - MOMENTUM)
            nesterov = self.ranks.whole(gradient.lerp(momentum, MOMENTUM), self.parameters[name].shape[0])
            for part in nesterov.split(self._parts[name]):
                by_shape[part.shape].append(part)
        directions = {
            shape: iter(orthogonalize(torch.stack(parts)) * max(1.0, shape[0] / shape[1]) ** 0.5)
            for shape, parts in by_shape.items()
        }
        for name in self.matrices:
            columns = self.parameters[name].shape[1]
            shapes = (torch.Size((rows, columns)) for rows in self._parts[name])
            direction = torch.cat([next(directions[shape]) for shape in shapes])
            weight = self.masters[name].mul_(1 - rates.muon * rates.weight_decay)
            weight.add_(self.ranks.mine(direction), alpha=-rates.muon)

    def _publish(self) -> None:
        for name, parameter in self.parameters.items():
            if parameter.dtype is not torch.float32:
                parameter.data.copy_(self.masters[name])  # a sharded parameter is its own master

    def whole_weights(self) -> dict[str, Tensor]:
        """The master weights by parameter, all rows of each."""
        return {name: self._whole(name, master) for name, master in self.masters.items()}

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name, whole; `load` takes it back. The caller keeps `steps`."""
        return {
            f"{kind}/{name}": self._whole(name, tensor)
            for kind, tensors in self._state.items()
            for name, tensor in tensors.items()
        }

    def load(self, state: dict[str, Tensor], steps: int) -> None:
        """Goes on where `state()` was taken, also by another number of processes."""
        for kind, tensors in self._state.items():
            for name, tensor in tensors.items():
                tensor.copy_(self.ranks.mine(state[f"{kind}/{name}"]))
        self.steps = steps
        self._publish()

    @property
    def _state(self) -> dict[str, dict[str, Tensor]]:
        return {"weight": self.masters, "momentum": self.momentum, "first": self.first, "second": self.second}

    def _whole(self, name: str, part: Tensor) -> Tensor:
        return self.ranks.whole(part, self.parameters[name].shape[0])


def _is_table(name: str) -> bool:
    """Embeddings and the scores' matrix: rows of their own, not a map from space to space."""
    return name.startswith(("tok_embeddings.", "output."))


def _parts(model: Transformer, name: str) -> list[int]:
    """Rows of the matrices that are fused in one parameter: each is made orthogonal by itself."""
    shapes = canonical_shapes(model.config)
    return [shapes[part][0] for part in canonical_names(name.removesuffix(".weight"), model.config)]
