"""How relevance flows between neurons: `edges`."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import structs

from commands.names import FileName
from commands.verb import argument, option, verb
from commands.verification import explained, read_elsewhere
from commands.words import SelectionWord, Whole
from sessions.circuits.circuit import Circuit, Neuron
from sessions.circuits.diagram import dot
from sessions.circuits.flow import between_layers, bottlenecks, hubs, super_weights
from sessions.disk import write_file
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.results import Edges
from sessions.session import Session

FAMILY = "Circuits"

#: Neurons that take part unless a selection says otherwise.
STRONGEST = "top100"
#: Edges that a result carries, and that a graph has, at most: nobody reads more.
CARRIED, DRAWN = 1000, 200


@verb("edges", family=FAMILY, example="edges top30")
@argument(
    "selection",
    help=f"which neurons of the circuit take part (default: {STRONGEST})",
    type=SelectionWord(),
    default=STRONGEST,
)
@option("--targets", type=Whole(1, 200), default=30, help="edges into so many of them, the strongest (default: 30)")
@option("--top", type=Whole(1, CARRIED), default=20, help="edges to list, the strongest (default: 20)")
@option("--graphviz", type=FileName(".dot"), help="write the strongest edges to this file as a Graphviz graph")
@option("--force", is_flag=True, help="replace that file if it exists")
def edges(session: Session, selection: str, targets: int, top: int, graphviz: Path | None, force: bool) -> Steps[Edges]:
    """Show how relevance flows from neuron to neuron inside the circuit.

    An edge is the part of a neuron's attribution that comes straight from another neuron, past all
    others: through the residual stream and attention alone, in the linearised network. All edges into
    a neuron, those of neurons that do not take part included, and what reaches it from the embeddings
    sum to its attribution, in logits. The neurons that send most (hubs), that most passes through
    (bottlenecks), and whose edges are of another size than all others (super-weight neurons) are
    named; so is the flow from layer to layer.
    """
    from sessions.circuits.edges import check_circuit, divides, trace

    circuit = session.found()
    check_circuit(circuit)
    if graphviz is not None and os.path.isdir(graphviz):
        raise UsageError(f"'{graphviz}' is a folder", f"name a file in it: {graphviz / 'edges.dot'}")
    chosen, notes = _chosen(session, circuit, selection)
    prompt = explained(session)
    traced = yield from trace(session.opened(), prompt.ids, circuit.target, chosen, targets, cancel=session.cancel)
    flow = traced.flow
    notes += read_elsewhere(session, circuit)
    if not divides(circuit):
        notes.append(f"edges are by relp, frozen attention; the circuit's attributions are by {circuit.way}")
    path = ""
    if graphviz is not None:
        drawn = dot(flow, circuit.target, prompt.tokens, max(top, DRAWN)).encode()
        path = str(write_file(graphviz.absolute(), drawn, force=force, what=f"'{graphviz}'"))
    return Edges(
        target=structs.replace(circuit.target, value=traced.value),
        tokens=prompt.tokens,
        neurons=traced.sources,
        targets=len(traced.targets),
        total=len(flow.edges),
        listed=top,
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
