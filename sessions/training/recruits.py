"""Recruits: the units that learned, by how much gradient each absorbed in a round of training.

A neuron i of a layer is a coordinate of the input of the layer's down projection. A LoRA adapter on that projection
adds B A h; column i of A reads neuron i, and the gradient of that column is

    ∂L/∂A[:, i]  =  Σ over positions  h_i · (Bᵀ ∂L/∂y)

so its norm says how strongly training uses neuron i. Four measures, and how they are aggregated over steps:

    gradient     the norm of column i of A's gradient, summed over steps
    largest      the same, the largest of all steps
    last         the same, of the last step
    activation   Σ over positions |h_i · ∂L/∂h_i|, summed over steps: gradient × activation, which needs no adapter on
                 the down projection

A round counts one kind of unit. A head is a slice of the input of the attention's output projection: its columns of
that projection's adapter count together, as one norm. An expert has no adapter of its own, so it is measured by
activation: the sum over its neurons at the tokens that were sent to it.

A unit that is held at zero has h_i = 0 at every position: all four are exactly zero. Gradients are counted when a
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
from sessions.model.hooks import Change, Routing, on_gradient, on_neurons, together
from sessions.model.info import HEADS
from sessions.model.parts import Anatomy
from sessions.model.sites import DenseSite, ExpertSite, HeadSite, Site
from sessions.model.units import LETTERS, Kind, Unit
from sessions.training.findings import Measure
from sessions.training.gradients import ModuleGradients

MEASURES: tuple[Measure, ...] = get_args(Measure)
#: How many of a round count as its recruits, unless it is said otherwise.
TOP = 30
#: Where units of a kind are, if they are measured.
_MEASURED: dict[Kind, type[Site]] = {"neuron": DenseSite, "head": HeadSite, "expert": ExpertSite}
#: The tensor of a file that lists the suppressed units of a kind.
_SUPPRESSED: dict[Kind, str] = {"neuron": "suppressed", "head": "suppressed.head", "expert": "suppressed.expert"}
_LAYER = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Recruits:
    """What the units of a `kind` absorbed in a round: by measure and layer `[units]`, float32; and which units, of
    whatever kind, were held at zero."""

    scores: Mapping[Measure, Mapping[int, Tensor]]
    suppressed: tuple[Unit, ...] = ()
    kind: Kind = "neuron"

    def strongest(self, count: int = TOP, measure: Measure | None = None) -> tuple[Unit, ...]:
        """The units that absorbed most, the strongest first, without those that were held at zero. Their attribution
        is what they absorbed, by the usual measure unless another is named.

        Raises:
            ArtifactError: the round was not measured so.
        """
        measure = measure or self.usual
        if measure not in self.scores:
            raise ArtifactError(
                f"this round was not measured by {measure}", f"it has: {', '.join(self.scores) or 'nothing'}"
            )
        suppressed = {unit.site for unit in self.suppressed if unit.kind == self.kind}
        neurons = []
        for layer, scores in self.scores[measure].items():
            values, indices = scores.topk(min(len(scores), count + len(suppressed)))
            rows = zip(values.tolist(), indices.tolist(), strict=True)
            neurons += [
                Unit(layer, index, attribution=value, kind=self.kind)
                for value, index in rows
                if value > 0 and (layer, index) not in suppressed
            ]
        return tuple(sorted(neurons, key=lambda neuron: (-(neuron.attribution or 0), neuron.site))[:count])

    @property
    def usual(self) -> Measure:
        """The first measure there is: gradient, or activation where no adapter was on the down projections."""
        return next(iter(self.scores), "gradient")

    def total(self, measure: Measure = "gradient") -> float:
        """What all units absorbed together."""
        return sum(float(scores.double().sum()) for scores in self.scores.get(measure, {}).values())

    def packed(self) -> Tensors:
        """As a file holds it: `gradient.9` is `[units]`, `suppressed` `[n, 2]` layers and indices of neurons; those of
        heads and experts are in `suppressed.head` and `suppressed.expert`. The field `unit` has the kind."""
        tensors = {
            f"{measure}.{layer}": to_bytes(scores)
            for measure, by_layer in self.scores.items()
            for layer, scores in by_layer.items()
        }
        for kind, name in _SUPPRESSED.items():
            sites = np.array([unit.site for unit in self.suppressed if unit.kind == kind], "<i8").reshape(-1, 2)
            if len(sites) or kind == "neuron":
                tensors[name] = TensorBytes("I64", tuple(sites.shape), sites.tobytes())
        return Tensors({} if self.kind == "neuron" else {"unit": self.kind}, tensors)

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
            held = next((kind for kind, of in _SUPPRESSED.items() if of == name), None)
            if held is not None and tensor.dtype == "I64" and tensor.shape[1:] == (2,):
                rows = np.frombuffer(tensor.data, "<i8").reshape(tensor.shape).tolist()
                if any(min(row) < 0 for row in rows):
                    raise ArtifactError(f"{source} has a suppressed neuron below 0: layers and neurons count from 0")
                suppressed += tuple(Unit(layer, index, kind=held) for layer, index in rows)
            elif measure in MEASURES and _LAYER.fullmatch(layer) and tensor.dtype == "F32" and len(tensor.shape) == 1:
                scores.setdefault(measure, {})[int(layer)] = from_bytes(tensor, f"'{name}' of {source}")
            else:
                raise ArtifactError(f"{source} has a tensor '{name}', which no recruits have")
        ordered = {measure: dict(sorted(scores[measure].items())) for measure in MEASURES if measure in scores}
        kind = next((kind for kind in LETTERS if kind == contents.fields.get("unit", "neuron")), None)
        if kind is None:
            raise ArtifactError(f"{source} counts a kind of unit that there is not: {contents.fields['unit'][:40]!r}")
        return cls(ordered, suppressed, kind)


@dataclass
class Absorbing:
    """Recruits while they are being counted: the running scores of each layer, on the layer's device."""

    scores: dict[Measure, dict[int, Tensor]] = field(default_factory=dict)
    columns: dict[int, list[Any]] = field(default_factory=dict)
    """By layer the weights of the adapter, `[r, width]`, whose columns read the units."""
    pending: dict[int, Tensor] = field(default_factory=dict)
    """Gradient × activation by layer of the backward passes since the last step, which is not taken yet."""
    modules: ModuleGradients | None = field(default_factory=ModuleGradients)
    """The gradient by projection; None in a round that was begun when it was not counted."""
    grouped: dict[int, int] = field(default_factory=dict)
    """By layer, how many heads share its columns; layers that are not here have a column for each unit."""

    def step(self, scale: float = 1.0) -> None:
        """Count the gradients that a step has just left in the adapter, and those that flowed to the neurons, which
        are `scale` times what they should be."""
        for layer, products in self.pending.items():
            self._add("activation", layer, products if scale == 1 else products / scale)
        self.pending.clear()
        for layer, readers in self.columns.items():
            norms = torch.cat([weight.grad.float().norm(dim=0) for weight in readers])
            if layer in self.grouped:
                norms = norms.view(self.grouped[layer], -1).norm(dim=1)
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
    def watching(self, anatomy: Anatomy, kind: Kind) -> Iterator[None]:
        """Inside the block, every backward pass adds gradient × activation of all units of a kind to what is pending.

        Its hooks have to come after those that hold units at zero.
        """
        counts = anatomy.counts(kind)
        hooks = [
            on_neurons(site, self._observed(layer, site, counts[layer]))
            for layer, site in anatomy.unit_sites(("head" if kind == "head" else "neuron",))
            if isinstance(site, _MEASURED[kind])
        ]
        with together(hooks):
            yield

    def _observed(self, layer: int, site: Site, count: int) -> Change:
        def change(activations: Tensor, routing: Routing | None) -> Tensor:
            if not torch.is_grad_enabled():
                return activations
            if not activations.requires_grad:  # nothing below is trained, and the neurons have their share all the same
                activations = activations.detach().requires_grad_()
            kept = activations.detach()

            def absorb(gradient: Tensor) -> None:
                products = (gradient.float() * kept.float()).abs().flatten(0, -2)
                row = torch.zeros(count, device=products.device)
                if isinstance(site, ExpertSite):
                    assert routing is not None
                    row.index_add_(0, routing.experts, products.sum(1))
                elif isinstance(site, HeadSite):
                    row += products.sum(0).view(count, -1).sum(1)
                else:
                    row[site.offset : site.offset + site.width] = products.sum(0)
                self.pending[layer] = self.pending[layer] + row if layer in self.pending else row

            on_gradient(activations, absorb)
            return activations

        return change


def gathered(absorbing: Absorbing, suppressed: Sequence[Unit], kind: Kind = "neuron") -> Recruits:
    """What was counted, as it is kept."""
    scores = {
        measure: {layer: row.detach().cpu() for layer, row in sorted(absorbing.scores[measure].items())}
        for measure in MEASURES
        if measure in absorbing.scores
    }
    return Recruits(scores, tuple(unit.bare for unit in suppressed), kind)


def check_measured(anatomy: Anatomy, kind: Kind) -> None:
    """Raise `ModelError` for a model none of whose units of this kind can be recruits."""
    if kind == "head":
        anatomy.require(HEADS)
    elif kind == "expert" and not anatomy.has_experts:
        raise ModelError("this model has no experts", "--unit neuron, the default, counts neurons, --unit head heads")
    elif kind == "neuron" and not any(isinstance(site, DenseSite) for _, site in anatomy.unit_sites()):
        raise ModelError(
            "all neurons of this model belong to experts, whose neurons are not measured one by one",
            "--unit expert counts experts, and --unit head attention heads",
        )
