"""Attribution: how much each unit contributes to a target.

A neuron's attribution is (activation − reference) × gradient of the target with respect to it; a head's is the sum of
that over its slice of the output projection's input. The `methods` differ in the gradient; one of them measures effects
instead. `passes` describes how a pass runs.

The reference is the activation at which a unit counts as not contributing: zero, its mean, or its activation in another
prompt, which corresponds to patching (`recording`).

Where attention is frozen, a head is linear in its values, and heads and neurons stand in one conserved account: what
they add directly to the target, and what the embeddings add, sums to the target (`edges`).

Many prompts are the rows of one batch, padded on the right (`cases`). The sum of their targets is differentiated: rows
do not see each other, so each row gets its own gradient. Padding is discarded.

Where a method conserves relevance, the relevance at the embeddings should sum to that at the logits: for a logit or a
difference of logits that is the target itself, for a log-probability its gradient times the logits. `conservation` is
the relative gap. Attention gradients and biases are legitimate reasons for a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from sessions.errors import ModelError, UsageError
from sessions.interventions.intervention import UnitConstant
from sessions.model.parts import Anatomy
from sessions.model.sites import HeadSite
from sessions.model.units import NEURONS, Kind, Unit


@dataclass(frozen=True)
class SiteRelevance:
    """Relevance of the units of one site.

    `relevance` and `activation` are `[rows, width]`; the activation of a head is the norm of its slice. Row r belongs
    to token position `positions[r]` of prompt `prompts[r]` (None where there is one prompt), and its columns are the
    layer's units `offsets[r] … offsets[r] + width − 1` of this `kind`. A dense layer has a row for each position; a
    mixture of experts has a row for each expert that a token was sent to.
    """

    layer: int
    relevance: Tensor
    activation: Tensor
    positions: Tensor
    offsets: Tensor
    prompts: Tensor | None = None
    kind: Kind = "neuron"
    slopes: Tensor | None = None
    """For heads, the gradient with respect to their slices, `[rows, width, d_head]`."""


@dataclass(frozen=True)
class Attribution:
    """The relevance of every neuron at every position for one target; sites are in the order of the anatomy.

    `value` is the target's value, `outputs` the relevance at the logits, `inputs` the relevance at the embeddings, None
    for methods that do not conserve it. Of many prompts, all three are sums.
    """

    sites: tuple[SiteRelevance, ...]
    value: float
    outputs: float | None = None
    inputs: float | None = None

    @property
    def conservation(self) -> float | None:
        """|Σ input relevance − Σ output relevance| / |Σ output relevance|; None where the method does not conserve."""
        if self.outputs is None or self.inputs is None:
            return None
        return abs(self.inputs - self.outputs) / max(abs(self.outputs), 1e-30)

    def dense(self) -> Tensor:
        """Relevance as one tensor `[n_layers, seq, d_mlp]`, for models with equal dense layers."""
        home = self.sites[0].relevance.device  # layers may be spread over several devices
        return torch.stack([site.relevance.to(home) for site in self.sites])


#: Default number of passes of a method that takes several.
STEPS = 16
#: What is not available on a mixture of experts.
OTHER_REFERENCE = "a reference other than zero"


_NO_HEADS = (
    "the reference has no activations of heads: it was saved before it took them",
    "take the means again: means build NAME --force",
)


@dataclass(frozen=True)
class Reference:
    """What units are compared with: the activations of each site of neurons in the order of the layers, `[width]` or
    `[seq, width]`, NaN where there is nothing to compare with; and in `heads` those of each site of heads, empty where
    they are not known. For methods that integrate from the reference to the
    prompt it has embeddings too, `[1, seq, d]` each; none means zero.

    With `from_end`, positions are counted from the end of each prompt and the last row is the last position. Positions
    further back than the first row are compared with the first row. With `corrupt`, a prompt is compared with its own
    corrupt prompt, position by position; nothing is held here then, see `recording.corrupt_reference`.
    """

    activations: tuple[Tensor, ...]
    embedded: tuple[Tensor, ...] = ()
    from_end: bool = False
    heads: tuple[Tensor, ...] = ()
    corrupt: bool = False

    def spread(self, lengths: Sequence[int]) -> Reference:
        """The reference for padded prompts of these lengths, position by position: `[prompts, seq, width]`."""
        if not self.from_end:
            return self
        back = torch.arange(max(lengths)) - torch.tensor(list(lengths))[:, None]

        def placed(sites: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(values[back.clamp(-len(values), -1)] for values in sites)

        return replace(self, activations=placed(self.activations), heads=placed(self.heads), from_end=False)

    def by_site(self, anatomy: Anatomy, kinds: Collection[Kind] = NEURONS) -> tuple[Tensor, ...]:
        """The activations of all sites of units of these kinds, in the order of `Anatomy.unit_sites`.

        Raises:
            UsageError: those of heads are not known.
        """
        if "head" in kinds and not self.heads and any(anatomy.counts("head")):
            raise UsageError(*_NO_HEADS)
        sides = {True: iter(self.heads), False: iter(self.activations)}
        return tuple(next(sides[isinstance(site, HeadSite)]) for _, site in anatomy.unit_sites(kinds))

    def at(self, anatomy: Anatomy, unit: Unit) -> UnitConstant:
        """The reference activation of a unit: at its position, or the mean over positions; NaN where unknown."""
        place = place_of(anatomy, unit, (unit.kind,))
        sites = self.heads if unit.kind == "head" else self.activations
        if not sites:
            raise UsageError(*_NO_HEADS)
        values = sites[place.site][..., place.first : place.first + place.width]
        if values.ndim > 1 and unit.position is None:
            values = values.nanmean(0)
        elif values.ndim > 1:
            assert unit.position is not None
            values = values[max(unit.position, -len(values)) if self.from_end else unit.position]
        return float(values[0]) if unit.kind == "neuron" else tuple(values.tolist())


#: The activations in each prompt's own corrupt prompt.
CORRUPT = Reference((), corrupt=True)


class Coordinates(NamedTuple):
    """Where a unit is: the number of its site, and its coordinates there, `first … first + width − 1`."""

    site: int
    first: int
    width: int


def place_of(anatomy: Anatomy, unit: Unit, kinds: Collection[Kind] = NEURONS) -> Coordinates:
    """Where a unit is among the sites of units of these kinds, in the order of `Anatomy.unit_sites`."""
    site, coordinates = anatomy.coordinates(unit)
    neurons, heads = "neuron" in kinds, "head" in kinds
    before = sum(
        neurons * len(layer.sites) + (heads and layer.heads is not None) for layer in anatomy.layers[: unit.layer]
    )
    if isinstance(site, HeadSite):
        return Coordinates(before, coordinates.start, len(coordinates))
    here = anatomy.layers[unit.layer]
    number = before + (heads and here.heads is not None) + here.sites.index(site)
    return Coordinates(number, coordinates.start, len(coordinates))


Measure = Callable[[Tensor], Tensor]
"""A function from the logits at the kept positions, `[kept, vocab]`, to the scalar that is explained. For many prompts,
from the logits after the last token of each, `[prompts, vocab]`, to the sum of their targets."""


def refuse_experts(anatomy: Anatomy, what: str) -> None:
    """Raise `ModelError` on a mixture of experts, where the neurons of two texts cannot be compared."""
    if anatomy.has_experts:
        raise ModelError(
            f"{what} is not available on a mixture of experts: each text is sent to experts of its own",
            "--method relp and atp, and --reference zero, work on it",
        )
