"""Contrast: the neurons that distinguish two sets of prompts, without a target and without a gradient.

A neuron's value is its mean activation over the positive prompts minus that over the negative ones, both at the last
token, where the model is about to answer (contrastive neuron attribution). Neurons are ranked by its absolute value.
The first two layers are left out: their neurons respond to tokens, in which two sets of prompts differ most.

The values are activations, not logits: they show what differs, not what it does. Unranked, they are the control vector
at the neurons (`sessions.directions`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from msgspec import structs

from sessions.cancel import Cancel
from sessions.circuits.attribution import Attribution, SiteRelevance, refuse_experts
from sessions.circuits.circuit import Circuit
from sessions.circuits.discovery import Discovery
from sessions.circuits.pruning import CircuitSize, candidates, choose
from sessions.directions.control import mean_at_ends
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel
from sessions.model.target import Target

#: The first layer that is included by default.
FIRST = 2


def contrast(
    opened: OpenModel,
    positive: Sequence[Sequence[int]],
    negative: Sequence[Sequence[int]],
    *,
    choice: CircuitSize,
    layers: Collection[int] | None = None,
    batch: int | None,
    cancel: Cancel | None = None,
) -> Steps[Discovery]:
    """The neurons that differ most, as a circuit without a target; their activation is the mean over positive prompts.

    Args:
        positive, negative: ids of the prompts of each side, at least one.
        layers: candidate layers; all but the first two if None.
        batch: tokens computed at once, padding included.

    Raises:
        UsageError: nothing differs.
        ModelError: a mixture of experts; or an activation is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    anatomy = opened.anatomy
    refuse_experts(anatomy, "contrast")
    first = min(FIRST, anatomy.n_layers - 1)
    wanted = sorted(range(first, anatomy.n_layers) if layers is None else layers)
    total = len(positive) + len(negative)
    high = yield from mean_at_ends(opened, positive, "neurons", wanted, batch, cancel, (0, total))
    low = yield from mean_at_ends(opened, negative, "neurons", wanted, batch, cancel, (len(positive), total))
    everywhere = torch.zeros(1, dtype=torch.long)  # one row, whose position is dropped again
    sites = tuple(
        SiteRelevance(
            layer, (high[layer] - low[layer]).float()[None], high[layer].float()[None], everywhere, everywhere
        )
        for layer in wanted
    )
    if not any(site.relevance.any() for site in sites):
        raise UsageError("the two sides are the same to these layers", "give prompts that differ, at their ends too")
    ranked = candidates(Attribution(sites, 0.0))
    circuit = Circuit(
        neurons=tuple(structs.replace(neuron, position=None) for neuron in choose(ranked, choice, 0.0)),
        prompt=Prompt(text=""),
        ids=(),
        tokens=(),
        target=Target(tokens=()),
        method="contrast",
        attention="",
        chosen=f"{choice}, {_counted(len(positive))} against {len(negative)}",
        conservation=None,
        total=None,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
    )
    return Discovery(circuit, ranked.number, ())


def _counted(prompts: int) -> str:
    return "1 prompt" if prompts == 1 else f"{prompts} prompts"
