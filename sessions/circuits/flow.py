"""Flow: edges between the neurons of a circuit, and summaries of all of them.

Plain numbers, no torch: `edges` computes them, `results` carries them, `diagram` draws them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from msgspec import Struct

from sessions.model.units import Place

#: A hub reaches a target if its edge is at least this share of the target's |attribution|.
REACHED = 0.05
#: A super-weight neuron's mean |edge| exceeds this many times the median |edge|, over at least this many targets.
SUPER_TIMES, SUPER_TARGETS = 10.0, 5


class Edge(Struct, frozen=True):
    """Relevance that flows directly from one neuron to another, or to the circuit's target where `target` is None.
    Signed, in the unit of the circuit's target."""

    source: Place
    target: Place | None
    weight: float


class Inflow(Struct, frozen=True, kw_only=True):
    """Where the relevance of a neuron comes from, or that of the circuit's target where `place` is None.

    `attribution` = `embeddings` + `chosen` + `others`: the parts from the embeddings, from the chosen neurons, and the
    rest, from all other neurons (and from biases, where a model has any).
    """

    place: Place | None
    attribution: float
    embeddings: float
    chosen: float

    @property
    def others(self) -> float:
        return self.attribution - self.embeddings - self.chosen


class Hub(Struct, frozen=True):
    """A neuron by what it sends: Σ|edge| to other neurons, and how many of these it reaches (see `REACHED`)."""

    place: Place
    outgoing: float
    reached: int


class Bottleneck(Struct, frozen=True):
    """A neuron by what passes through it: Σ|edge| into it from neurons, Σ|edge| out of it to neurons and the target,
    and `share`, the geometric mean of the two as a fraction of Σ|edge| over all edges, those to the target included."""

    place: Place
    incoming: float
    outgoing: float
    share: float


class SuperWeight(Struct, frozen=True):
    """A neuron whose mean |edge| over its `targets` is `times` the median |edge|."""

    place: Place
    mean: float
    targets: int
    times: float


class LayerFlow(Struct, frozen=True):
    """Σ|edge| from the neurons of one layer to those of another."""

    source: int
    target: int
    weight: float


class Flow(Struct, frozen=True, kw_only=True):
    """Edges, strongest first: `edges` run between neurons, `outputs` from neurons to the target. `inflows` are those of
    the output, then those of each neuron that edges into were computed for, strongest |attribution| first."""

    edges: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    inflows: tuple[Inflow, ...]


def gathered(
    sources: Sequence[Place],
    targets: Sequence[Place | None],
    weights: Iterable[Sequence[float]],
    relevance: Sequence[float],
    embeddings: Sequence[float],
) -> Flow:
    """The flow of a matrix of edges, without those that are 0.

    Args:
        weights: a row for each of `targets` (None is the output), a column for each of `sources`.
        relevance: what each target's inflow sums to.
        embeddings: how much of that comes from the embeddings.
    """
    edges: list[Edge] = []
    inflows: list[Inflow] = []
    for target, row, whole, embedded in zip(targets, weights, relevance, embeddings, strict=True):
        edges += [Edge(source, target, weight) for source, weight in zip(sources, row, strict=True) if weight]
        inflows.append(Inflow(place=target, attribution=whole, embeddings=embedded, chosen=sum(row)))
    edges.sort(key=lambda edge: -abs(edge.weight))
    return Flow(
        edges=tuple(edge for edge in edges if edge.target is not None),
        outputs=tuple(edge for edge in edges if edge.target is None),
        inflows=tuple(sorted(inflows, key=lambda inflow: (inflow.place is not None, -abs(inflow.attribution)))),
    )


def hubs(flow: Flow) -> tuple[Hub, ...]:
    """Every neuron that sends anything to another, the one with the largest Σ|edge| first."""
    whole = {inflow.place: abs(inflow.attribution) for inflow in flow.inflows}
    sent: defaultdict[Place, float] = defaultdict(float)
    reached: defaultdict[Place, int] = defaultdict(int)
    for edge in flow.edges:
        sent[edge.source] += abs(edge.weight)
        reached[edge.source] += abs(edge.weight) >= REACHED * whole[edge.target]
    return tuple(sorted((Hub(place, sent[place], reached[place]) for place in sent), key=lambda hub: -hub.outgoing))


def bottlenecks(flow: Flow) -> tuple[Bottleneck, ...]:
    """Every neuron that something passes through, the one with the largest share first."""
    total = sum(abs(edge.weight) for edge in (*flow.edges, *flow.outputs))
    incoming: defaultdict[Place | None, float] = defaultdict(float)
    outgoing: defaultdict[Place, float] = defaultdict(float)
    for edge in flow.edges:
        incoming[edge.target] += abs(edge.weight)
    for edge in (*flow.edges, *flow.outputs):
        outgoing[edge.source] += abs(edge.weight)
    flows = (
        Bottleneck(place, arriving, outgoing[place], math.sqrt(arriving * outgoing[place]) / total)
        for place, arriving in incoming.items()
        if place is not None and outgoing[place]
    )
    return tuple(sorted(flows, key=lambda each: -each.share))


def super_weights(flow: Flow) -> tuple[SuperWeight, ...]:
    """Neurons whose edges are far larger than those of all others, the largest mean first."""
    sent: defaultdict[Place, list[float]] = defaultdict(list)
    for edge in flow.edges:
        sent[edge.source].append(abs(edge.weight))
    usual = median(abs(edge.weight) for edge in flow.edges) if flow.edges else 0.0
    outliers = []
    for place, weights in sent.items():
        mean = sum(weights) / len(weights)
        if len(weights) >= SUPER_TARGETS and mean > SUPER_TIMES * usual:
            outliers.append(SuperWeight(place, mean, len(weights), mean / usual))
    return tuple(sorted(outliers, key=lambda outlier: -outlier.mean))


def between_layers(flow: Flow) -> tuple[LayerFlow, ...]:
    """Σ|edge| from layer to layer, the largest first."""
    sums: defaultdict[tuple[int, int], float] = defaultdict(float)
    for edge in flow.edges:
        if edge.target is not None:
            sums[edge.source[0], edge.target[0]] += abs(edge.weight)
    flows = (LayerFlow(source, target, weight) for (source, target), weight in sums.items())
    return tuple(sorted(flows, key=lambda each: -each.weight))
