"""Samples of circuits."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit
from sessions.events import Value
from sessions.model.info import Token
from sessions.model.target import Target
from sessions.model.units import Neuron
from sessions.results import Discovered, Faithfulness, FaithfulnessRow, NeuronRow, NeuronTable, Verified
from tests.filling import filled

NEURONS = Neuron(24, 1005, 41, 1.5234, 3.21), Neuron(3, 12, 0, -0.0401, -0.2), Neuron(0, 1, -1, 3e-5, 0), Neuron(29, 9)


def target(text: str) -> Target:
    return Target(tokens=(Token(7, text),), counterfactual=Token(8, " Dallas"), value=7.3125)


def circuit(text: str) -> Circuit:
    return filled(
        Circuit, text, neurons=NEURONS, target=target(text), tokens=(text,) * 42, method="lrp", attention="frozen",
        conservation=3.2e-7, prompts=(),
    )  # fmt: skip


def samples(text: str) -> Iterator[Value]:
    found = circuit(text)
    yield Discovered(circuit=found, candidates=1_935_360)
    rows = [
        filled(NeuronRow, text, neuron=each, share=found.share(each), up=(text, " Austin", " Texas"), peak=None)
        for each in NEURONS
    ]
    yield NeuronTable(circuit=found, rows=tuple(rows), total=200)
    yield NeuronTable(circuit=None, rows=(), total=0)
    yield filled(NeuronTable, text)
    neurons = tuple(structs.replace(each, effect=0.5) for each in NEURONS) * 4
    yield Verified(circuit=found, neurons=neurons, held=text, value=2.0, agreement=Agreement(4, 0.94, None, 0.75))
    sizes = (
        FaithfulnessRow(size=10, kept=0.12, left=0.62, random_kept=-0.01, random_left=1.0),
        FaithfulnessRow(size=25, kept=1.05, left=None),
    )
    yield filled(Faithfulness, text, size=25, whole=2.5, none=0.01, rows=sizes)
