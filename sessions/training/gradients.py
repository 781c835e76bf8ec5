"""Where the gradient of a round went: by kind of projection and by layer.

An adapter of low rank has two factors on each projection it is on, W + (α / r) · B A. What one step leaves there is

    g  =  √(‖∂L/∂A‖² + ‖∂L/∂B‖²)        Frobenius norms

and a round keeps the sum of g over its steps, a number a kind of projection (`q_proj`, `down_proj`, …) and layer. Where
neurons are trained alone, g is of the factor that learns. Several projections of one kind in one layer, as experts
have, count together by their squares.

The norms are those of gradients that a step has left anyway: there is no second pass. They depend on rank, scale and
learning rate, so two rounds are compared by shares of all their gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: Kind of projection, and layer.
Place = tuple[str, int]


@dataclass
class _Group:
    """Places on one device with as many weights each, one after the other in `weights`; `sums` is over the places."""

    places: list[Place]
    weights: list[Tensor]
    sums: Tensor
    nothing: Tensor

    def step(self) -> None:
        left = [self.nothing if weight.grad is None else weight.grad for weight in self.weights]
        norms = torch.stack(torch._foreach_norm(left, 2, dtype=torch.float32)).view(len(self.places), -1)
        self.sums = self.sums + torch.linalg.vector_norm(norms, dim=1)


@dataclass
class ModuleGradients:
    """The gradient by kind of projection and layer while it is counted. `begun` is what was counted before."""

    begun: Mapping[str, Tensor] = field(default_factory=dict)
    _groups: list[_Group] = field(default_factory=list)
    _layers: int = 0

    def watch(self, weights: Mapping[Place, Sequence[Tensor]], layers: int) -> None:
        """Count the gradients of these weights from now on, of a model of so many layers."""
        before, self._layers = self.rows(), layers
        groups: dict[tuple[torch.device, int], list[Place]] = {}
        for place, found in weights.items():
            groups.setdefault((found[0].device, len(found)), []).append(place)
        self._groups = [
            _Group(
                places=places,
                weights=[weight for place in places for weight in weights[place]],
                sums=torch.tensor(
                    [float(before[kind][layer]) if kind in before else 0.0 for kind, layer in places],
                    device=device,
                    dtype=torch.float32,
                ),
                nothing=torch.zeros(1, device=device, dtype=torch.float32),
            )
            for (device, _), places in groups.items()
        ]

    def step(self) -> None:
        """Count what a step has just left."""
        for group in self._groups:
            group.step()

    def rows(self) -> dict[str, Tensor]:
        """What was counted: by kind, `[n_layers]`, 0 in a layer that has none of that kind."""
        rows = {} if self._groups else dict(self.begun)
        for group in self._groups:
            for (kind, layer), value in zip(group.places, group.sums.tolist(), strict=True):
                rows.setdefault(kind, torch.zeros(self._layers))[layer] = value
        return rows
