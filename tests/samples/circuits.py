"""Samples of circuits, their edges, and directions."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions import results
from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit
from sessions.circuits.flow import between_layers, bottlenecks, gathered, hubs
from sessions.directions.findings import Direction, LayerCosine
from sessions.events import Value
from sessions.model.info import Token
from sessions.model.target import Target
from sessions.model.units import Unit
from tests.filling import filled

NEURONS = Unit(24, 1005, 41, 1.5234, 3.21), Unit(3, 12, 0, -0.0401, -0.2), Unit(0, 1, -1, 3e-5, 0), Unit(29, 9)


def target(text: str) -> Target:
    return Target(tokens=(Token(7, text),), counterfactual=Token(8, " Dallas"), value=7.3125)


def samples(text: str) -> Iterator[Value]:
    circuit = filled(
        Circuit, text, neurons=NEURONS, target=target(text), tokens=(text,) * 42, method="lrp", attention="frozen",
        conservation=3.2e-7, prompts=(),
    )  # fmt: skip
    yield results.Discovered(circuit=circuit, candidates=1_935_360)
    row = filled(results.NeuronRow, text, up=(text, " Austin", " Texas"), peak=None)
    rows = tuple(structs.replace(row, neuron=each, share=circuit.share(each)) for each in NEURONS)
    yield results.NeuronTable(circuit=circuit, rows=rows, total=200)
    yield filled(results.NeuronTable, text)
    estimated = results.Estimated(
        prompts=1, tokens=42, forward=1, backward=1, effects=200, peak=3 * 2**28, weights=2**29, device="cuda:0"
    )
    yield estimated
    yield structs.replace(estimated, prompts=12, effects=0, device=text, free=2**20)
    verified = tuple(structs.replace(each, effect=0.5) for each in NEURONS) * 4
    yield filled(results.Verified, text, neurons=verified, agreement=Agreement(4, 0.94, None, 0.75))
    first = results.FaithfulnessRow(size=10, kept=0.12, left=0.62, random_kept=-0.01, random_left=1.0)
    sizes = first, results.FaithfulnessRow(size=25, kept=1.05, left=None)
    yield filled(results.Faithfulness, text, size=25, whole=2.5, none=0.01, rows=sizes)
    yield flowing(text, NEURONS[:3])
    yield flowing(text, NEURONS[:1])
    direction = filled(Direction, text, turned=None, up=())
    yield filled(results.VectorShown, text)
    yield filled(results.VectorShown, text, directions=(direction,), site="neurons", prompts=(12, 1), origin=None)
    unknown = LayerCosine(layer=3, cosine=None, norms=(0.0, 1e-9))
    yield filled(results.VectorsCompared, text, layers=(unknown, LayerCosine(layer=4, cosine=-0.5, norms=(1.0, 2.0))))
    universal = filled(results.UniversalShown, text, published="")
    yield universal
    yield structs.replace(universal, rows=(structs.replace(universal.rows[0], prompts=None),), published=text)


def flowing(text: str, neurons: tuple[Unit, ...]) -> results.Edges:
    """Edges between neurons, each into all others and into the target."""
    places = [neuron.place for neuron in neurons]
    rows = [[1.5 if source != into else 0.0 for source in places] for into in (*places, None)]
    flow = gathered(places, [*places, None], rows, [-2.0, 0.0, 3e-7, 7.3125][: len(rows)], [0.25] * len(rows))
    return filled(
        results.Edges, text, neurons=neurons, tokens=(text,) * 42, total=len(flow.edges), listed=4, edges=flow.edges,
        outputs=flow.outputs, inflows=flow.inflows, hubs=hubs(flow), bottlenecks=bottlenecks(flow),
        layers=between_layers(flow),
    )  # fmt: skip
