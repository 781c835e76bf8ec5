"""Compares two rounds: their losses, the places of their gradient, and the recruits that they share.

Gradient norms depend on rank, scale and learning rate, so the comparison uses each round's shares of its own sum. Its
similarity is the cosine of these numbers over all projections and layers that both rounds have. Two lists of recruits
drawn at random from n measured neurons would share |A| · |B| / n neurons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

from msgspec import Struct

from sessions.model.units import Unit
from sessions.training.findings import Outcome, Round, by_layer, mean, shares

#: A number of the first round and of the second; None if a round lacks it.
Both = tuple[float | None, float | None]


class LossRow(Struct, frozen=True, kw_only=True):
    """The losses of one sample, or their mean over samples, in nats a token, in both rounds.

    Fields with `plain` weigh every token of a reply alike. `control` is the control's loss after its training.
    """

    sample: str
    before: Both
    after: Both
    control: Both
    plain_before: Both
    plain_after: Both
    plain_control: Both


class ShareRow(Struct, frozen=True):
    """The share of each round's gradient in one kind of projection, or in one layer."""

    place: str
    shares: Both


class RoundComparison(Struct, frozen=True, kw_only=True):
    """The comparison of two rounds.

    `losses` has a row a sample if both rounds have the same samples, and the mean in its last row. `modules` and
    `layers` are shares of the gradient, empty if neither round has it. `cosine` is the similarity of these shares, None
    if the rounds have no place in common. `recruits` counts the recruits of each round; `shared` are in both; `jaccard`
    is their share of the union. `by_chance` is the number that random recruits would share, None if it is unknown.
    """

    losses: tuple[LossRow, ...]
    modules: tuple[ShareRow, ...]
    layers: tuple[ShareRow, ...]
    cosine: float | None
    recruits: tuple[int, int]
    shared: tuple[Unit, ...]
    jaccard: float
    by_chance: float | None
    suppressed: tuple[int, int]


def compared(first: Round, second: Round, measured: int | None = None) -> RoundComparison:
    """Compare two rounds; `measured` is the model's number of measured neurons, None for rounds of two models."""
    mine, theirs = ({neuron.anywhere for neuron in one.recruited} for one in (first, second))
    flows = shares(first.outcome.gradient), shares(second.outcome.gradient)
    either = len(mine | theirs)
    return RoundComparison(
        losses=tuple(_losses(first, second)),
        modules=_rows({kind: sum(row) for kind, row in flow.items()} for flow in flows),
        layers=_rows({str(layer): share for layer, share in enumerate(by_layer(flow))} for flow in flows),
        cosine=_cosine(*flows),
        recruits=(len(mine), len(theirs)),
        shared=tuple(neuron for neuron in first.recruited if neuron.anywhere in theirs),
        jaccard=len(mine & theirs) / either if either else 0.0,
        by_chance=len(mine) * len(theirs) / measured if measured else None,
        suppressed=(len(first.suppressed), len(second.suppressed)),
    )


def _losses(first: Round, second: Round) -> list[LossRow]:
    both = first, second
    alike = first.samples == second.samples and len({len(one.outcome.initial) for one in both}) == 1
    rows = [_loss_row(name, both, number) for number, name in enumerate(first.samples) if alike]
    return [*rows, _loss_row("mean", both, None)]


def _loss_row(sample: str, rounds: tuple[Round, Round], number: int | None) -> LossRow:
    def of(outcome: Outcome | None, name: str) -> float | None:
        losses: Sequence[float] = () if outcome is None else getattr(outcome, name)
        return mean(losses) if number is None else losses[number] if losses else None

    def pair(name: str, control: bool = False) -> Both:
        first, second = (of(one.control if control else one.outcome, name) for one in rounds)
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
