"""Muon for matrices, AdamW for embeddings and norms, on float32 master weights.

Sources: Muon, https://kellerjordan.github.io/posts/muon/ (momentum, then the nearest orthogonal matrix, by five steps
of a Newton-Schulz iteration); AdamW, arXiv:1711.05101.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
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
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
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
        found = {name: local(p.grad) for name, p in self.parameters.items() if p.grad is not None}
        if found:
            torch._foreach_add_([self.gradients[name] for name in found], list(found.values()))
        for parameter in self.parameters.values():
            parameter.grad = None

    def step(self, rates: Rates, clip: float) -> float:
        """One update from the collected gradients, which are then forgotten; returns their norm before clipping.

        All tensors of a kind are updated by one call: a GPU takes longer to be told than to compute.
        """
        gradients = list(self.gradients.values())
        (square,) = self.ranks.sum(float(torch.stack(torch._foreach_norm(gradients)).square().sum()))
        norm = math.sqrt(square)
        if math.isfinite(norm):
            if norm > clip:
                torch._foreach_mul_(gradients, clip / norm)
            self.steps += 1
            self._adamw(rates)
            self._muon(rates)
            self._publish()
        torch._foreach_zero_(gradients)
        return norm

    def _adamw(self, rates: Rates) -> None:
        if not self.others:
            return
        correction1, correction2 = 1 - BETAS[0] ** self.steps, 1 - BETAS[1] ** self.steps
        weights, gradients, first, second = (
            [tensors[name] for name in self.others]
            for tensors in (self.masters, self.gradients, self.first, self.second)
        )
        torch._foreach_lerp_(first, gradients, 1 - BETAS[0])
        torch._foreach_mul_(second, BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, value=1 - BETAS[1])
        for weight in weights:
            if weight.ndim == 2:  # norms are not drawn towards zero
                weight.mul_(1 - rates.adamw * rates.weight_decay)
        scales = torch._foreach_div(second, correction2)
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, EPS)
        torch._foreach_addcdiv_(weights, first, scales, value=-rates.adamw / correction1)

    def _muon(self, rates: Rates) -> None:
        if not self.matrices:
            return
        weights, gradients, momentum = (
            [tensors[name] for name in self.matrices] for tensors in (self.masters, self.gradients, self.momentum)
        )
        torch._foreach_lerp_(momentum, gradients, 1 - MOMENTUM)
        nesterov = torch._foreach_lerp(gradients, momentum, MOMENTUM)
        torch._foreach_mul_(weights, 1 - rates.muon * rates.weight_decay)
        torch._foreach_add_(weights, self._directions(nesterov), alpha=-rates.muon)

    def _directions(self, nesterov: Sequence[Tensor]) -> list[Tensor]:
        """What each matrix is moved by, this process' rows; matrices of one shape are made orthogonal together."""
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for name, part in zip(self.matrices, nesterov, strict=True):
            for one in self.ranks.whole(part, self.parameters[name].shape[0]).split(self._parts[name]):
                by_shape[one.shape].append(one)
        directions = {
            shape: iter(orthogonalize(torch.stack(parts)) * max(1.0, shape[0] / shape[1]) ** 0.5)
            for shape, parts in by_shape.items()
        }
        moved = []
        for name in self.matrices:
            columns = self.parameters[name].shape[1]
            shapes = (torch.Size((rows, columns)) for rows in self._parts[name])
            moved.append(self.ranks.mine(torch.cat([next(directions[shape]) for shape in shapes])))
        return moved

    def _publish(self) -> None:
        copies = [name for name, p in self.parameters.items() if p.dtype is not torch.float32]
        if copies:  # a sharded parameter is its own master
            torch._foreach_copy_([self.parameters[n].data for n in copies], [self.masters[n] for n in copies])

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
