"""Two rounds side by side: what each learned, where its gradient went, and which recruits they share.

Norms of gradients depend on rank, scale and learning rate, so what is compared are shares of each round's own sum. How
alike two rounds spread their gradient is the cosine of these numbers, over all projections and layers that both have.
Of two lists of recruits, drawn at random from all n neurons that were measured, |A| · |B| / n are shared by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

from msgspec import Struct

from sessions.model.units import Neuron
from sessions.training.findings import Outcome, Round, by_layer, mean, shares

#: A number of each of two rounds; None where a round does not have it.
Both = tuple[float | None, float | None]


class LossRow(Struct, frozen=True, kw_only=True):
    """Losses of one sample, or of all in the mean, in nats a token: of the first round and of the second.

    Those with `plain` count every token of a reply alike. `control` is that of the control after its training.
    """

    sample: str
    before: Both
    after: Both
    control: Both
    plain_before: Both
    plain_after: Both
    plain_control: Both


class ShareRow(Struct, frozen=True):
    """The share of each round's gradient that went to one kind of projection, or to one layer."""

    place: str
    shares: Both


class RoundComparison(Struct, frozen=True, kw_only=True):
    """Two rounds: `losses`, a row a sample where they were of the same ones, and the mean in the last row.

    `modules` and `layers` are shares of the gradient, empty where neither round has it. `cosine` says how alike it is
    spread, None where they have no place in common. `recruits` counts those of each, `shared` are in both, `jaccard` is
    their share of all, and `by_chance` how many would be shared at random, None where that cannot be said.
    """

    losses: tuple[LossRow, ...]
    modules: tuple[ShareRow, ...]
    layers: tuple[ShareRow, ...]
    cosine: float | None
    recruits: tuple[int, int]
    shared: tuple[Neuron, ...]
    jaccard: float
    by_chance: float | None
    suppressed: tuple[int, int]


def compared(first: Round, second: Round, measured: int | None = None) -> RoundComparison:
    """Two rounds, of a model with so many measured neurons; None where they are of two models."""
    mine, theirs = ({neuron.site for neuron in found.recruited} for found in (first, second))
    flows = shares(first.outcome.gradient), shares(second.outcome.gradient)
    either = len(mine | theirs)
    return RoundComparison(
        losses=tuple(_losses(first, second)),
        modules=_rows({kind: sum(row) for kind, row in each.items()} for each in flows),
        layers=_rows({str(layer): share for layer, share in enumerate(by_layer(each))} for each in flows),
        cosine=_cosine(*flows),
        recruits=(len(mine), len(theirs)),
        shared=tuple(neuron for neuron in first.recruited if neuron.site in theirs),
        jaccard=len(mine & theirs) / either if either else 0.0,
        by_chance=len(mine) * len(theirs) / measured if measured else None,
        suppressed=(len(first.suppressed), len(second.suppressed)),
    )


def _losses(first: Round, second: Round) -> list[LossRow]:
    both = first, second
    alike = first.samples == second.samples and len({len(each.outcome.initial) for each in both}) == 1
    rows = [_loss_row(name, both, number) for number, name in enumerate(first.samples) if alike]
    return [*rows, _loss_row("mean", both, None)]


def _loss_row(sample: str, rounds: tuple[Round, Round], number: int | None) -> LossRow:
    def of(outcome: Outcome | None, name: str) -> float | None:
        losses: Sequence[float] = () if outcome is None else getattr(outcome, name)
        return mean(losses) if number is None else losses[number] if losses else None

    def pair(name: str, control: bool = False) -> Both:
        first, second = (of(each.control if control else each.outcome, name) for each in rounds)
        return first, second

    return LossRow(
        sample=sample,
        before=pair("initial"),
        after=pair("final"),
        control=pair("final", control=True),
        plain_before=pair("plain_initial"),
        plain_after=pair("plain_final"),
        plain_control=pair("plain_final", control=True),
    )


def _rows(flows: Iterable[Mapping[str, float]]) -> tuple[ShareRow, ...]:
    first, second = flows
    return tuple(ShareRow(place, (first.get(place), second.get(place))) for place in {**first, **second})


def _cosine(first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]) -> float | None:
    pairs = [pair for kind in first if kind in second for pair in zip(first[kind], second[kind], strict=False)]
    lengths = sqrt(sum(a * a for a, _ in pairs)) * sqrt(sum(b * b for _, b in pairs))
    return sum(a * b for a, b in pairs) / lengths if lengths else None
