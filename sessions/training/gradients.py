"""Sums the gradient of a round by kind of projection and by layer.

A low-rank adapter has two factors on each of its projections, W + (α / r) · B A. The gradient of one step there is

    g  =  √(‖∂L/∂A‖² + ‖∂L/∂B‖²)        Frobenius norms

and a round keeps the sum of g over its steps, for each kind of projection (`q_proj`, `down_proj`, …) and layer. If a
round trains neurons alone, g is the norm of the trained factor. Several projections of one kind in one layer, as in
experts, add up by their squares.

The norms come from the gradients of the training step, without a second pass. They depend on rank, scale and learning
rate, so rounds are compared by the shares of their sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: A kind of projection, and a layer.
Place = tuple[str, int]


@dataclass
class _Group:
    """Places on one device with equally many weights, which follow each other in `weights`; `sums` has one a place."""

    places: list[Place]
    weights: list[Tensor]
    sums: Tensor
    nothing: Tensor

    def step(self) -> None:
        gradients = [self.nothing if weight.grad is None else weight.grad for weight in self.weights]
        norms = torch.stack(torch._foreach_norm(gradients, 2, dtype=torch.float32)).view(len(self.places), -1)
        self.sums = self.sums + torch.linalg.vector_norm(norms, dim=1)


@dataclass
class ModuleGradients:
    """Counts the gradient by kind of projection and layer, starting from the sums in `begun`."""

    begun: Mapping[str, Tensor] = field(default_factory=dict)
    _groups: list[_Group] = field(default_factory=list)
    _layers: int = 0

    def watch(self, weights: Mapping[Place, Sequence[Tensor]], layers: int) -> None:
        """From now on, count the gradients of these weights of a model with `layers` layers."""
        before, self._layers = self.rows(), layers
        groups: dict[tuple[torch.device, int], list[Place]] = {}
        for place, tensors in weights.items():
            groups.setdefault((tensors[0].device, len(tensors)), []).append(place)
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
        """Add the gradients of the step that just ran."""
        for group in self._groups:
            group.step()

    def rows(self) -> dict[str, Tensor]:
        """The sums by kind, `[n_layers]` each; 0 in a layer without that kind."""
        rows = {} if self._groups else dict(self.begun)
        for group in self._groups:
            for (kind, layer), value in zip(group.places, group.sums.tolist(), strict=True):
                rows.setdefault(kind, torch.zeros(self._layers))[layer] = value
        return rows
