"""Diagrams of edges: a tree of what flows into the output, and Graphviz DOT text for other programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from sessions.circuits.flow import Edge, Flow, Inflow
from sessions.model.target import Target
from sessions.model.units import Place, Unit

#: How many edges a tree follows at each depth: into the output, then into each of their sources, and so on.
BREADTH = (6, 2, 1)


class TreeLine(Struct, frozen=True):
    """A line of a tree: its branches, `│ ├ `, and its edge, None for the output at the root.

    `elsewhere` says that the edges into this edge's source stand in another place of the tree.
    """

    prefix: str
    edge: Edge | None = None
    elsewhere: bool = False


def tree(flow: Flow, breadth: Sequence[int] = BREADTH) -> Iterator[TreeLine]:
    """The strongest edges into the output, under each of them those into its source, and so on.

    The edges into a neuron are drawn once: closest to the root or, at equal depth, where the neuron appears first.
    """
    into = _by_target(flow)
    drawn = {edge.source for edge in into[None][: breadth[0]]}

    def below(place: Place | None, depth: int, indent: str) -> Iterator[TreeLine]:
        edges = into[place][: breadth[depth]]
        for number, edge in enumerate(edges, 1):
            last = number == len(edges)
            more = depth + 1 < len(breadth) and bool(into[edge.source])
            here = more and (depth == 0 or edge.source not in drawn)
            yield TreeLine(f"{indent}{'└' if last else '├'} ", edge, more and not here)
            if here:
                drawn.add(edge.source)
                yield from below(edge.source, depth + 1, f"{indent}{' ' if last else '│'} ")

    yield TreeLine("")
    yield from below(None, 0, "")


def _by_target(flow: Flow) -> defaultdict[Place | None, list[Edge]]:
    by_place: defaultdict[Place | None, list[Edge]] = defaultdict(list)
    for edge in (*flow.outputs, *flow.edges):
        by_place[edge.target].append(edge)
    return by_place


class DrawnEdges(NamedTuple):
    """What a picture of a flow has: the strongest edges, the neurons at their ends in the order of layers and then of
    the text, and the neurons that the embeddings reach directly (`place` None is the output)."""

    edges: tuple[Edge, ...]
    places: tuple[Place, ...]
    embedded: tuple[Inflow, ...]


def drawn_edges(flow: Flow, most: int) -> DrawnEdges:
    """The `most` strongest edges, those into the output among them; and edges from the embeddings that are at least as
    strong as the weakest of these."""
    edges = sorted((*flow.edges, *flow.outputs), key=lambda edge: -abs(edge.weight))[:most]
    least = abs(edges[-1].weight) if edges else 0.0
    places = sorted({place for edge in edges for place in (edge.source, edge.target) if place is not None}, key=_order)
    known = {inflow.place: inflow for inflow in flow.inflows}
    embedded = [known[place] for place in (*places, None) if place in known and abs(known[place].embeddings) >= least]
    return DrawnEdges(tuple(edges), tuple(places), tuple(embedded))


def dot(flow: Flow, target: Target, tokens: Sequence[str], most: int) -> str:
    """The `most` strongest edges as a directed graph in Graphviz's DOT language: layers from bottom to top, the output
    above them, the embeddings below.

    Stronger edges are wider; negative ones are dashed. `tokens` are those of the prompt.
    """
    edges, places, embedded = drawn_edges(flow, most)
    largest = abs(edges[0].weight) if edges else 1.0
    lines = ["digraph edges {", "  rankdir=BT;", '  node [shape=box, fontname="monospace"];']
    lines.append(f"  output [label={_label(target.described(_seen))}, style=rounded];")
    if embedded:
        lines.append('  embeddings [label="embeddings", style=rounded];')
    for layer in sorted({place[0] for place in places}):
        here = [place for place in places if place[0] == layer]
        lines.append("  { rank=same;")
        lines += [f"    {_node(place)} [label={_label(_name(place), _seen(_token(place, tokens)))}];" for place in here]
        lines.append("  }")
    drawn = [(_node(edge.source), edge.target, edge.weight) for edge in edges]
    drawn += [("embeddings", inflow.place, inflow.embeddings) for inflow in embedded]
    for source, end, weight in drawn:
        lines.append(f"  {source} -> {_node(end)} [{_look(weight, largest)}];")
    return "\n".join([*lines, "}", ""])


def _order(place: Place) -> tuple[int, int, str, int]:
    layer, index, position, kind = place
    return layer, -1 if position is None else position, kind, index


def _name(place: Place) -> str:
    return str(Unit.at(place))


def _token(place: Place, tokens: Sequence[str]) -> str:
    return tokens[place[2]] if place[2] is not None and 0 <= place[2] < len(tokens) else ""


def _node(place: Place | None) -> str:
    return "output" if place is None else f'"{_name(place)}"'


def _look(weight: float, largest: float) -> str:
    """The style of an edge: stroke, colour and number show its sign, width its strength."""
    width = 0.5 + 4.5 * min(abs(weight) / largest, 1.0)
    stroke = 'color="#2166ac"' if weight > 0 else 'color="#b2182b", style=dashed'
    return f'label="{weight:+.3g}", penwidth={width:.2f}, {stroke}'


def _label(*lines: str) -> str:
    r"""These lines as a string of DOT, in which `\n` begins a line, and `\\` and `\"` are the characters."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + r"\n".join(escaped) + '"'


def _seen(text: str) -> str:
    r"""A token in quotes, every character of it to be seen: `"\n"`, `"\u200b"`."""
    escapes = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", '"': r"\""}
    return '"' + "".join(escapes.get(c) or (c if c.isprintable() else f"\\u{ord(c):04x}") for c in text) + '"'
