"""How relevance flows between neurons: `edges`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from commands.names import OutputFile
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import SelectionWord, Whole
from sessions.events import Steps
from sessions.procedures.edges import CARRIED, STRONGEST, edges_found
from sessions.results import Edges
from sessions.session import Session

FAMILY = "Circuits"


@verb(
    "edges",
    family=FAMILY,
    synonyms=("graph", "flow", "connections", "links"),
    needs=("model", "circuit"),
    example=("edges top30", "edges L1/*,L2/*"),
)
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
        Path | None, Opt(OutputFile(".dot"), "write the strongest edges to this file as a Graphviz graph")
    ] = None
    force: Annotated[bool, Flag("replace that file if it exists")] = False

    def run(self, session: Session) -> Steps[Edges]:
        return (
            yield from edges_found(
                session,
                selection=self.selection,
                targets=self.targets,
                top=self.top,
                graphviz=self.graphviz,
                force=self.force,
            )
        )
