"""Samples of neurons, of directions, and of what is like what."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.circuits.comparing import compared
from sessions.directions.findings import Aligned, Direction, LayerCosine, Span
from sessions.events import Value
from sessions.model.units import Neuron
from sessions.results import (
    CircuitHeldAgainst,
    CircuitsCompared,
    NeuronCard,
    UniversalRow,
    UniversalShown,
    VectorsCompared,
    VectorShown,
)
from tests.filling import filled
from tests.samples.circuits import circuit


def samples(text: str) -> Iterator[Value]:
    card = filled(NeuronCard, text)
    yield card
    yield structs.replace(card, neuron=Neuron(3, 12), moments=(), everywhere=None, rank=0, incoming=(), atlas=None)
    best = Aligned(Neuron(9, 3), -0.41), Aligned(Neuron(9, 4), 0.0)
    direction = filled(Direction, text, turned=None, neurons=best, explained=(0.1, 0.5, 1.0), chance=(0.01, 0.1, 0.2))
    yield filled(VectorShown, text, directions=(direction, structs.replace(direction, norm=0.0, up=())))
    yield filled(VectorShown, text, directions=(direction,), site="neurons", prompts=(12, 1), origin=None)
    nowhere = Span(layer=0, neurons=0, explained=0.0, chance=0.0, here=0, aligned=0)
    spans = nowhere, Span(layer=9, neurons=1200, explained=0.31, chance=0.0001, here=12, aligned=3)
    yield filled(CircuitHeldAgainst, text, site="resid_post", spans=spans)
    yield filled(CircuitHeldAgainst, text, spans=spans, ranks=None, overlap=None)
    yield CircuitsCompared(names=("texas", "current"), comparison=compared(circuit(text), circuit(text)))
    cosines = LayerCosine(layer=3, cosine=None, norms=(0.0, 1e-9)), LayerCosine(layer=4, cosine=-0.5, norms=(1.0, 2.0))
    yield filled(VectorsCompared, text, layers=cosines)
    row = filled(UniversalRow, text, prompts=None)
    yield filled(UniversalShown, text, rows=(row, structs.replace(row, prompts=11)), published="")
    yield filled(UniversalShown, text, rows=())
