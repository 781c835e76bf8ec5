"""How relevance flows between neurons: `edges`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import structs

from commands.names import FileName
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import SelectionWord, Whole
from sessions.circuits.circuit import Circuit
from sessions.circuits.diagram import dot
from sessions.circuits.flow import between_layers, bottlenecks, hubs, super_weights
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.files.disk import check_target, write_file
from sessions.model.units import Neuron
from sessions.procedures.circuits import explained, read_elsewhere
from sessions.results import Edges
from sessions.session import Session

FAMILY = "Circuits"

#: Neurons that take part unless a selection says otherwise.
STRONGEST = "top100"
#: Edges that a result carries, and that a graph has, at most: nobody reads more.
CARRIED, DRAWN = 1000, 200


@verb("edges", family=FAMILY, example=("edges top30", "edges L1/*,L2/*"))
class FindEdges(Request, frozen=True):
    """Show how relevance flows from neuron to neuron inside the circuit.

    An edge is the part of a neuron's attribution that comes directly from another neuron, through the residual
    stream and attention alone, in the linearised network. All edges into a neuron, including those from other
    neurons and from the embeddings, sum to its attribution, in logits. The result names hubs (neurons that send
    most), bottlenecks (that most passes through) and super-weight neurons (whose edges are of another size than all
    others), and shows the flow from layer to layer.
    """

    selection: Annotated[
        str, Arg(SelectionWord(), f"which neurons of the circuit take part (default: {STRONGEST})")
    ] = STRONGEST
    targets: Annotated[int, Opt(Whole(1, 200), "trace edges into this many of them, the strongest (default: 30)")] = 30
    top: Annotated[int, Opt(Whole(1, CARRIED), "edges to list, the strongest (default: 20)")] = 20
    graphviz: Annotated[
        Path | None, Opt(FileName(".dot"), "write the strongest edges to this file as a Graphviz graph")
    ] = None
    force: Annotated[bool, Flag("replace that file if it exists")] = False

    def run(self, session: Session) -> Steps[Edges]:
        from sessions.circuits.edges import check_circuit, divides, trace

        circuit = session.found()
        check_circuit(circuit)
        if self.graphviz is not None:
            check_target(self.graphviz, "edges.dot", force=self.force)
        chosen, notes = _chosen(session, circuit, self.selection)
        prompt = explained(session)
        traced = yield from trace(
            session.opened(), prompt.ids, circuit.target, chosen, self.targets, cancel=session.cancel
        )
        flow = traced.flow
        notes += read_elsewhere(session, circuit)
        if not divides(circuit):
            notes.append(f"edges are by relp, frozen attention; the circuit's attributions are by {circuit.way}")
        path = ""
        if self.graphviz is not None:
            drawn = dot(flow, circuit.target, prompt.tokens, max(self.top, DRAWN)).encode()
            path = str(write_file(self.graphviz.absolute(), drawn, force=self.force, what=f"'{self.graphviz}'"))
        return Edges(
            target=structs.replace(circuit.target, value=traced.value),
            tokens=prompt.tokens,
            neurons=traced.sources,
            targets=len(traced.targets),
            total=len(flow.edges),
            listed=self.top,
            edges=flow.edges[:CARRIED],
            outputs=flow.outputs[:CARRIED],
            inflows=flow.inflows,
            hubs=hubs(flow)[:CARRIED],
            bottlenecks=bottlenecks(flow)[:CARRIED],
            super_weights=super_weights(flow)[:CARRIED],
            layers=between_layers(flow),
            path=path,
            notes=tuple(notes),
        )


def _chosen(session: Session, circuit: Circuit, selection: str) -> tuple[tuple[Neuron, ...], list[str]]:
    """The neurons of the circuit that take part, and a remark where nobody asked for these."""
    chosen = session.select(selection, length=session.circuit_length()).within(circuit.neurons)
    if not chosen:
        raise UsageError(
            f"'{selection}' has none of the circuit's {len(circuit):,} neurons",
            "for example: edges top30, or edges all",
        )
    if selection != STRONGEST or len(chosen) == len(circuit):
        return chosen, []
    return chosen, [f"the {len(chosen)} strongest of {len(circuit):,} neurons take part; edges all takes them all"]
