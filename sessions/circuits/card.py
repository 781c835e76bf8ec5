"""The card of a neuron: what it reads, what it writes, and what it did in one prompt.

*Writes*: its down column, through the final norm and the unembedding (`lens`).
*Reads*: the rows of its gate and up projections, from two sides. On the embedding side, the tokens whose embedding
alone, after the MLP's norm, lies furthest along the row: what activates the neuron in the first layers (Geva et al.
2021 call these keys). On the side of the logit lens, the tokens that a residual stream along the row would predict:
what the model is about to say when a late neuron is active.
*Did*: its activation and attribution at each position, from one forward and one backward pass, and the exact effect of
ablating it at the positions where its attribution is strongest (`verification`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sessions.cancel import Cancel
from sessions.circuits.attribution import Attribution
from sessions.circuits.findings import Moment
from sessions.circuits.verification import verify
from sessions.events import Steps
from sessions.model.opening import OpenModel
from sessions.model.target import Target
from sessions.model.units import Unit

#: How many positions have their exact effect measured, strongest attribution first.
MEASURED = 48


def moments(attribution: Attribution, tokens: Sequence[str], neuron: Unit) -> tuple[Moment, ...]:
    """The neuron's activation and attribution at each position that it was computed at, in order.

    In a mixture of experts these are the positions that were sent to its expert.
    """
    chosen: list[Moment] = []
    for site in attribution.sites:
        if site.layer != neuron.layer:
            continue
        width = site.relevance.shape[1]
        rows = ((site.offsets <= neuron.index) & (neuron.index < site.offsets + width)).nonzero()[:, 0]
        columns = neuron.index - site.offsets[rows]
        gathered = zip(
            site.positions[rows].tolist(),
            site.activation[rows, columns].float().tolist(),
            site.relevance[rows, columns].tolist(),
            strict=True,
        )
        chosen += [Moment(position, tokens[position], act, value) for position, act, value in gathered]
    return tuple(sorted(chosen, key=lambda moment: moment.position))


def effects(
    opened: OpenModel,
    ids: Sequence[int],
    neuron: Unit,
    target: Target,
    positions: Sequence[int],
    cancel: Cancel | None = None,
) -> Steps[tuple[dict[int, float], float]]:
    """The exact effect of ablating the neuron to zero: at each of some positions alone, and at all at once."""
    places = [*(Unit(neuron.layer, neuron.index, position) for position in positions), Unit(*neuron.site)]
    verified = yield from verify(opened, ids, places, target, cancel=cancel)
    *by_position, everywhere = verified.effects
    return dict(zip(positions, by_position, strict=True)), everywhere
