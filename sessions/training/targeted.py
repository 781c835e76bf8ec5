"""Training chosen neurons alone: the rows they read with and the columns they write with, and nothing else.

PEFT has no adapter of single neurons, but LoRA is one where a factor is a frozen selector. With E the one-hot matrix
that picks n neurons out of d_mlp,

    gate, up   ΔW = B A    B = Eᵀ [d_mlp, n] frozen, A [n, d_model] learned: n rows change
    down       ΔW = B A    A = E  [n, d_mlp] frozen, B [d_model, n] learned: n columns change

with rank n and scale 1 in each layer, where a fused projection has 2n rows of gates and ups. What is learned is the
change of the neurons' own weights, to the number, so a round of this kind is also an edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import peft
import torch
from torch import Tensor, nn

from sessions.edits.edit import Edit, Neurons
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.model.opening import OpenModel
from sessions.model.places import Part
from sessions.model.sites import DenseSite
from sessions.model.units import Unit


@dataclass(frozen=True, eq=False)
class TrainedProjection:
    """One projection that is trained for some neurons of a layer.

    `lines` are the rows of its weight (of a down projection, the columns) that belong to `parts` of `neurons`, in the
    order of the learned factor.
    """

    layer: int
    name: str
    module: nn.Module
    writes: bool
    parts: tuple[Part, ...]
    neurons: tuple[int, ...]
    lines: tuple[int, ...]


def targets_of(opened: OpenModel, neurons: Sequence[Unit]) -> tuple[TrainedProjection, ...]:
    """The projections that hold these neurons' weights.

    Raises:
        UsageError: there is no such neuron, or none is given.
        ModelError: one is an expert's, or its projections go by no name this program knows.
    """
    names = {id(module): name for name, module in opened.model.named_modules()}
    by_site: dict[int, tuple[int, DenseSite, list[int]]] = {}
    for layer, index in dict.fromkeys(neuron.site for neuron in neurons):
        site, local = opened.anatomy.site_of(layer, index)
        if not isinstance(site, DenseSite):
            raise ModelError(f"L{layer}/N{index} is an expert's: only neurons of dense layers are trained alone")
        by_site.setdefault(id(site), (layer, site, []))[2].append(local)
    if not by_site:
        raise UsageError("no neuron is chosen", "for example: --neurons top10")
    return tuple(
        target for layer, site, chosen in by_site.values() for target in _targets(layer, site, sorted(chosen), names)
    )


def _targets(layer: int, site: DenseSite, chosen: Sequence[int], names: dict[int, str]) -> Iterator[TrainedProjection]:
    if not site.readers:
        raise ModelError(f"the input projections of layer {layer} have no name that this program knows")
    numbers = tuple(index + site.offset for index in chosen)
    kinds: dict[str, tuple[Part, ...]] = {
        "gate and up": ("gate", "up"),
        "gate": ("gate",),
        "up": ("up",),
        "in": ("in",),
    }
    for kind, module in site.readers:
        parts = kinds[kind]
        lines = tuple(index + number * site.width for number in range(len(parts)) for index in chosen)
        yield TrainedProjection(layer, names[id(module)], module, False, parts, numbers, lines)
    yield TrainedProjection(layer, names[id(site.down)], site.down, True, ("down",), numbers, tuple(chosen))


def config_alone(targets: Sequence[TrainedProjection]) -> peft.LoraConfig:
    """PEFT's configuration of an adapter that changes these lines alone, once its factors have been `select`ed."""
    ranks = {target.name: len(target.lines) for target in targets}
    return peft.LoraConfig(
        r=1,
        lora_alpha=1,
        rank_pattern=ranks,
        alpha_pattern=ranks,
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=any(not isinstance(target.module, nn.Linear) for target in targets),
    )


def select(wrappers: Mapping[str, Any], targets: Sequence[TrainedProjection], name: str) -> None:
    """Make one factor of each wrapper the selector, and the other the learned one, which begins at zero."""
    for target in targets:
        _select(wrappers[target.name], target, name)


def _select(wrapper: Any, target: TrainedProjection, name: str) -> None:
    a, b = wrapper.lora_A[name].weight, wrapper.lora_B[name].weight  # [r, in], [out, r]
    frozen, learned = (a, b) if target.writes else (b, a)
    order = torch.arange(len(target.lines))
    with torch.no_grad():
        frozen.zero_()
        learned.zero_()
        if target.writes:
            frozen[order, list(target.lines)] = 1
        else:
            frozen[list(target.lines), order] = 1
    frozen.requires_grad_(False)


def begin(wrappers: Mapping[str, Any], targets: Sequence[TrainedProjection], edit: Edit, name: str) -> None:
    """Have the learned factors begin at the deltas of an edit.

    Raises:
        ArtifactError: the edit has something else than deltas of these neurons.
    """
    deltas: dict[tuple[int, Part, int], Tensor] = {}
    for change in edit.changes:
        if not isinstance(change, Neurons) or not change.adds:
            raise ArtifactError(f"edit '{edit.name}' is not made of deltas of neurons", "train from scratch")
        deltas |= {
            (change.layer, change.part, index): row for index, row in zip(change.indices, change.values, strict=True)
        }
    known = {(target.layer, part, index) for target in targets for part in target.parts for index in target.neurons}
    other = next((place for place in deltas if place not in known), None)
    if other is not None:
        raise ArtifactError(
            f"edit '{edit.name}' changes L{other[0]}/N{other[2]}, which is not among the neurons to train",
            "choose the neurons that it was trained on",
        )
    for target in targets:
        wrapper = wrappers[target.name]
        learned = wrapper.lora_B[name].weight.T if target.writes else wrapper.lora_A[name].weight
        places = [(target.layer, part, index) for part in target.parts for index in target.neurons]
        with torch.no_grad():
            for line, place in enumerate(places):
                if place in deltas:
                    learned[line].copy_(deltas[place])


def as_edit(wrappers: Mapping[str, Any], targets: Sequence[TrainedProjection], name: str, about: str) -> Edit:
    """What was learned, as an edit that adds it to the weights."""
    changes = []
    for target in targets:
        wrapper = wrappers[target.name]
        weight = wrapper.lora_B[name].weight.T if target.writes else wrapper.lora_A[name].weight
        learned = weight.detach().float().cpu().clone()
        count = len(target.neurons)
        for number, part in enumerate(target.parts):
            lines = learned[number * count : (number + 1) * count]
            changes.append(Neurons(target.layer, part, target.neurons, lines, adds=True))
    return Edit("train", about, tuple(changes))
