"""Edges between the neurons of the session's circuit."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from sessions.circuits.circuit import Circuit
from sessions.circuits.diagram import dot
from sessions.circuits.flow import between_layers, bottlenecks, hubs, super_weights
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.files.disk import check_target, write_file
from sessions.model.units import Unit, named
from sessions.procedures.circuits import explained, read_elsewhere
from sessions.results import Edges
from sessions.session import Session

#: Neurons that take part unless a selection says otherwise.
STRONGEST = "top100"
#: Edges that a result carries, and that a graph has, at most: nobody reads more.
CARRIED, DRAWN = 1000, 200


def edges_found(
    session: Session, *, selection: str, targets: int, top: int, graphviz: Path | None, force: bool
) -> Steps[Edges]:
    """Trace the edges, and draw them if a file is named."""
    from sessions.circuits.edges import check_circuit, divides, trace

    circuit = session.found()
    check_circuit(circuit)
    if graphviz is not None:
        check_target(graphviz, "edges.dot", force=force)
    chosen, notes = taking_part(session, circuit, selection)
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


def taking_part(session: Session, circuit: Circuit, selection: str) -> tuple[tuple[Unit, ...], list[str]]:
    """The neurons of the circuit that take part, and a remark where nobody asked for these."""
    chosen = session.select(selection, length=session.circuit_length()).within(circuit.neurons)
    if not chosen:
        raise UsageError(
            f"'{selection}' has none of the circuit's {named(circuit.neurons)}",
            "for example: edges top30, or edges all",
        )
    if selection != STRONGEST or len(chosen) == len(circuit):
        return chosen, []
    return chosen, [f"the {len(chosen)} strongest of {len(circuit):,} neurons take part; edges all takes them all"]
