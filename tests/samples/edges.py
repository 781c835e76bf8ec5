"""Samples of `edges`, whose numbers hang together."""

from __future__ import annotations

from collections.abc import Iterator

from sessions.circuits.flow import between_layers, bottlenecks, gathered, hubs
from sessions.events import Value
from sessions.model.units import Neuron
from sessions.results import Edges
from tests.filling import filled
from tests.samples.circuits import NEURONS


def samples(text: str) -> Iterator[Value]:
    yield flowing(text, NEURONS[:3])
    yield flowing(text, NEURONS[:1])


def flowing(text: str, neurons: tuple[Neuron, ...]) -> Edges:
    """Edges between neurons, each into all others and into the target."""
    places = [neuron.place for neuron in neurons]
    rows = [[1.5 if source != into else 0.0 for source in places] for into in (*places, None)]
    flow = gathered(places, [*places, None], rows, [-2.0, 0.0, 3e-7, 7.3125][: len(rows)], [0.25] * len(rows))
    return filled(
        Edges, text, neurons=neurons, tokens=(text,) * 42, total=len(flow.edges), listed=4, edges=flow.edges,
        outputs=flow.outputs, inflows=flow.inflows, hubs=hubs(flow), bottlenecks=bottlenecks(flow),
        layers=between_layers(flow),
    )  # fmt: skip
