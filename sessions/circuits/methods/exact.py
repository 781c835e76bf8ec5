"""exact: no estimate; every candidate is ablated alone.

1. One forward pass gives the neurons and the target's value.
2. The target is measured once more for each candidate, with that neuron at zero or at the reference (`verification`).
3. A neuron's attribution is its effect: the target's value minus its value with the neuron ablated.

Ablation one by one, as in the ground truth of attribution patching (Nanda 2023, Syed et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sessions.circuits.methods.method import Method
from sessions.events import Steps
from sessions.model.units import Unit

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.cancel import Cancel
    from sessions.circuits.attribution import Attribution, Reference, SiteRelevance
    from sessions.circuits.passes import Pass
    from sessions.circuits.pruning import Candidates
    from sessions.model.opening import OpenModel
    from sessions.model.target import Target


class Exact(Method):
    """Exact effects."""

    name = "exact"
    summary = "no estimate: every neuron of --layers is switched off alone"
    attentions = ()
    many = False
    estimates = False

    def attribute(self, run: Pass) -> Attribution:
        """1 for every neuron; `measure` replaces it by the effect for the candidates."""
        from sessions.circuits.passes import present

        return present(replace(run, attention="gradient"))

    def measure(
        self,
        ranked: Candidates,
        opened: OpenModel,
        ids: Sequence[int],
        target: Target,
        *,
        reference: Reference | None = None,
        batch: int | None = None,
        cancel: Cancel | None = None,
    ) -> Steps[Candidates]:
        import torch

        from sessions.circuits.verification import verify
        from sessions.interventions.intervention import is_known

        places = [site.relevance.nonzero() for site in ranked.sites]
        neurons = [neuron for site, where in zip(ranked.sites, places, strict=True) for neuron in _neurons(site, where)]
        values = [0.0 if reference is None else reference.at(opened.anatomy, neuron) for neuron in neurons]
        known = [which for which, value in enumerate(values) if is_known(value)]
        verified = yield from verify(
            opened,
            ids,
            [neurons[which] for which in known],
            target,
            values=[values[which] for which in known],
            batch=batch,
            cancel=cancel,
        )
        effects = torch.zeros(len(neurons))
        effects[known] = torch.tensor(verified.effects)
        parts = effects.split([len(where) for where in places])
        for site, where, part in zip(ranked.sites, places, parts, strict=True):
            site.relevance[where[:, 0], where[:, 1]] = part.to(site.relevance)
        return replace(ranked, total=float(effects.sum()))


def _neurons(site: SiteRelevance, where: Tensor) -> Iterator[Unit]:
    """The neurons at some `(row, column)` of a site, `[n, 2]`."""
    rows, columns = where.T
    pairs = zip((site.offsets[rows] + columns).tolist(), site.positions[rows].tolist(), strict=True)
    return (Unit(site.layer, index, position, kind=site.kind) for index, position in pairs)
