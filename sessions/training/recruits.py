"""Recruits: the neurons that learned, by how much gradient each absorbed in a round of training.

A neuron i of a layer is a coordinate of the input of the layer's down projection. A LoRA adapter on that projection
adds B A h; column i of A reads neuron i, and the gradient of that column is

    ∂L/∂A[:, i]  =  Σ over positions  h_i · (Bᵀ ∂L/∂y)

so its norm says how strongly training uses neuron i. Four measures, and how they are aggregated over steps:

    gradient     the norm of column i of A's gradient, summed over steps
    largest      the same, the largest of all steps
    last         the same, of the last step
    activation   Σ over positions |h_i · ∂L/∂h_i|, summed over steps: gradient × activation, which needs no adapter on
                 the down projection

A neuron that is held at zero has h_i = 0 at every position: all four are exactly zero. Gradients are counted when a
step is taken; a step with gradients that are not finite is discarded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from sessions.errors import ArtifactError, ModelError
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.model.floats import from_bytes, to_bytes
from sessions.model.hooks import Change, on_gradient, on_neurons, together
from sessions.model.parts import Anatomy
from sessions.model.sites import DenseSite
from sessions.model.units import Unit
from sessions.training.findings import Measure
from sessions.training.gradients import ModuleGradients

MEASURES: tuple[Measure, ...] = get_args(Measure)
#: How many of a round count as its recruits, unless it is said otherwise.
TOP = 30
_LAYER = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Recruits:
    """What neurons absorbed in a round: by measure and layer `[d_mlp]`, float32; and which were held at zero."""

    scores: Mapping[Measure, Mapping[int, Tensor]]
    suppressed: tuple[Unit, ...] = ()

    def strongest(self, count: int = TOP, measure: Measure | None = None) -> tuple[Unit, ...]:
        """The neurons that absorbed most, the strongest first, without those that were held at zero. Their attribution
        is what they absorbed, by the usual measure unless another is named.

        Raises:
            ArtifactError: the round was not measured so.
        """
        measure = measure or self.usual
        if measure not in self.scores:
            raise ArtifactError(
                f"this round was not measured by {measure}", f"it has: {', '.join(self.scores) or 'nothing'}"
            )
        suppressed = {neuron.site for neuron in self.suppressed}
        neurons = []
        for layer, scores in self.scores[measure].items():
            values, indices = scores.topk(min(len(scores), count + len(suppressed)))
            rows = zip(values.tolist(), indices.tolist(), strict=True)
            neurons += [
                Unit(layer, index, attribution=value)
                for value, index in rows
                if value > 0 and (layer, index) not in suppressed
            ]
        return tuple(sorted(neurons, key=lambda neuron: (-(neuron.attribution or 0), neuron.site))[:count])

    @property
    def usual(self) -> Measure:
        """The first measure there is: gradient, or activation where no adapter was on the down projections."""
        return next(iter(self.scores), "gradient")

    def total(self, measure: Measure = "gradient") -> float:
        """What all neurons absorbed together."""
        return sum(float(scores.double().sum()) for scores in self.scores.get(measure, {}).values())

    def packed(self) -> Tensors:
        """As a file holds it: `gradient.9` is `[d_mlp]`, `suppressed` `[n, 2]` layers and indices."""
        tensors = {
            f"{measure}.{layer}": to_bytes(scores)
            for measure, by_layer in self.scores.items()
            for layer, scores in by_layer.items()
        }
        sites = np.array([neuron.site for neuron in self.suppressed], "<i8").reshape(-1, 2)
        tensors["suppressed"] = TensorBytes("I64", tuple(sites.shape), sites.tobytes())
        return Tensors({}, tensors)

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> Recruits:
        """The recruits in a file.

        Raises:
            ArtifactError: it holds something else, or a number that is not finite.
        """
        scores: dict[Measure, dict[int, Tensor]] = {}
        suppressed: tuple[Unit, ...] = ()
        for name, tensor in contents.tensors.items():
            measure, _, layer = name.partition(".")
            if name == "suppressed" and tensor.dtype == "I64" and tensor.shape[1:] == (2,):
                rows = np.frombuffer(tensor.data, "<i8").reshape(tensor.shape).tolist()
                if any(min(row) < 0 for row in rows):
                    raise ArtifactError(f"{source} has a suppressed neuron below 0: layers and neurons count from 0")
                suppressed = tuple(Unit(layer, index) for layer, index in rows)
            elif measure in MEASURES and _LAYER.fullmatch(layer) and tensor.dtype == "F32" and len(tensor.shape) == 1:
                scores.setdefault(measure, {})[int(layer)] = from_bytes(tensor, f"'{name}' of {source}")
            else:
                raise ArtifactError(f"{source} has a tensor '{name}', which no recruits have")
        ordered = {measure: dict(sorted(scores[measure].items())) for measure in MEASURES if measure in scores}
        return cls(ordered, suppressed)


@dataclass
class Absorbing:
    """Recruits while they are being counted: the running scores of each layer, on the layer's device."""

    scores: dict[Measure, dict[int, Tensor]] = field(default_factory=dict)
    columns: dict[int, list[Any]] = field(default_factory=dict)
    """By layer the weights of the adapter, `[r, width]`, whose columns read the neurons, and at which neuron each
    begins."""
    pending: dict[int, Tensor] = field(default_factory=dict)
    """Gradient × activation by layer of the backward passes since the last step, which is not taken yet."""
    modules: ModuleGradients | None = field(default_factory=ModuleGradients)
    """The gradient by projection; None in a round that was begun when it was not counted."""

    def step(self, scale: float = 1.0) -> None:
        """Count the gradients that a step has just left in the adapter, and those that flowed to the neurons, which
        are `scale` times what they should be."""
        for layer, products in self.pending.items():
            self._add("activation", layer, products if scale == 1 else products / scale)
        self.pending.clear()
        for layer, readers in self.columns.items():
            norms = torch.cat([weight.grad.float().norm(dim=0) for weight in readers])
            self._add("gradient", layer, norms)
            largest = self.scores.setdefault("largest", {})
            largest[layer] = torch.maximum(largest[layer].to(norms.device), norms) if layer in largest else norms
            self.scores.setdefault("last", {})[layer] = norms
        if self.modules is not None:
            self.modules.step()

    def forget(self) -> None:
        """Leave out of account what flowed to the neurons since the last step."""
        self.pending.clear()

    def _add(self, measure: Measure, layer: int, values: Tensor) -> None:
        by_layer = self.scores.setdefault(measure, {})
        # What was taken up from a file is on the CPU, and goes where the layer computes.
        by_layer[layer] = by_layer[layer].to(values.device) + values if layer in by_layer else values

    @contextmanager
    def watching(self, anatomy: Anatomy) -> Iterator[None]:
        """Inside the block, every backward pass adds gradient × activation of all dense neurons to what is pending.

        Its hooks have to come after those that hold neurons at zero.
        """
        sites = [(layer, site) for layer, parts in enumerate(anatomy.layers) for site in parts.sites]
        hooks = [
            on_neurons(site, self._observed(layer, site, anatomy.layers[layer].width))
            for layer, site in sites
            if isinstance(site, DenseSite)
        ]
        with together(hooks):
            yield

    def _observed(self, layer: int, site: DenseSite, width: int) -> Change:
        def change(activations: Tensor, _: Any) -> Tensor:
            if not torch.is_grad_enabled():
                return activations
            if not activations.requires_grad:  # nothing below is trained, and the neurons have their share all the same
                activations = activations.detach().requires_grad_()
            kept = activations.detach()

            def absorb(gradient: Tensor) -> None:
                products = (gradient.float() * kept.float()).abs().flatten(0, -2).sum(0)
                row = torch.zeros(width, device=products.device)
                row[site.offset : site.offset + site.width] = products
                self.pending[layer] = self.pending[layer] + row if layer in self.pending else row

            on_gradient(activations, absorb)
            return activations

        return change


def gathered(absorbing: Absorbing, suppressed: Sequence[Unit]) -> Recruits:
    """What was counted, as it is kept."""
    scores = {
        measure: {layer: row.detach().cpu() for layer, row in sorted(absorbing.scores[measure].items())}
        for measure in MEASURES
        if measure in absorbing.scores
    }
    return Recruits(scores, tuple(Unit(*neuron.site) for neuron in suppressed))


def check_measured(anatomy: Anatomy) -> None:
    """Raise `ModelError` for a model none of whose neurons can be recruits."""
    if not any(isinstance(site, DenseSite) for layer in anatomy.layers for site in layer.sites):
        raise ModelError(
            "all neurons of this model belong to experts, for which recruits are not measured",
            "train-round trains an adapter all the same",
        )
