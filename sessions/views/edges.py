"""How relevance flows between neurons: `edges`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.circuits.diagram import drawn_edges, tree
from sessions.circuits.flow import Flow
from sessions.model.units import Place, Unit, named
from sessions.views.blocks import AnyBlock, Cell, Column, Fact, Facts, Graph, Heat, Link, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import MISSING, aim, counted, multiple, percent, signed

#: How many hubs, bottlenecks and super-weight neurons are named.
_NAMED = 3
#: How many edges the picture has at most.
_DRAWN = 100
_OUTPUT, _EMBEDDINGS = "output", "embeddings"


@viewed.register
def _(value: results.Edges) -> Iterator[AnyBlock]:
    into = "" if value.targets == len(value.neurons) else f" into the {value.targets:,} strongest"
    yield facts(
        named(value.neurons),
        f"{counted(value.total, 'edge')}{into}" if value.total else "no edges between them",
        f"{aim(value.target)} = {signed(value.target.value)}",
        f"graph in {value.path}" if value.path else "",
    )
    if value.edges:
        yield _strongest(value)
    yield _into_the_output(value)
    if value.edges:
        yield _graph(value)
        yield Facts(items=tuple(_named(value)))
        yield _layers(value)


def _strongest(value: results.Edges) -> Table:
    """The strongest edges, each with its share of its target's attribution."""
    columns = (
        Column(key="weight", title="edge", kind="signed", drop=4),
        Column(key="source", title="from", kind="name"),
        Column(key="source_token", title="", kind="token", drop=1),
        Column(key="target", title="to", kind="name"),
        Column(key="target_token", title="", kind="token", drop=2),
        Column(key="share", title="of attr", kind="signed share", drop=3),
    )
    whole = {inflow.place: inflow.attribution for inflow in value.inflows}
    rows = []
    for edge in value.edges[: value.listed]:
        assert edge.target is not None
        attribution = whole[edge.target]
        share = edge.weight / attribution if attribution else None
        ends = (*_end(value, edge.source), *_end(value, edge.target))
        rows.append(
            Row(cells=(edge.weight, *ends, share), stands_for=StandsFor(edge.source.kind, name_of(edge.source)))
        )
    note = f"the {value.listed:,} strongest edges" if len(value.edges) > value.listed else ""
    return Table(columns=columns, rows=tuple(rows), note=note)


def _graph(value: results.Edges) -> Graph:
    """The strongest edges as a picture, from the embeddings up to the output."""
    edges, places, embedded = drawn_edges(_flow(value), _DRAWN)
    links = [Link(source=name_of(edge.source), target=_node(edge.target), weight=edge.weight) for edge in edges]
    links += [Link(source=_EMBEDDINGS, target=_node(each.place), weight=each.embeddings) for each in embedded]
    layers = sorted({place[0] for place in places})
    rows = [tuple(name_of(place) for place in places if place[0] == layer) for layer in layers]
    tokens = {name_of(place): token_at(place, value.tokens) for place in places}
    more = len(edges) < value.total + len(value.outputs)
    return Graph(
        title=f"{f'the {len(edges)} strongest' if more else 'all'} edges, upwards to the output",
        layers=(*([(_EMBEDDINGS,)] if embedded else ()), *rows, (_OUTPUT,)),
        names=(*([""] if embedded else ()), *(f"L{layer}" for layer in layers), ""),
        links=tuple(links),
        notes={name: token for name, token in tokens.items() if token is not None},
        tabled=True,
    )


def _node(place: Place | None) -> str:
    return _OUTPUT if place is None else name_of(place)


def _flow(value: results.Edges) -> Flow:
    return Flow(edges=value.edges, outputs=value.outputs, inflows=value.inflows)


def name_of(place: Place) -> str:
    """A unit as typed in commands."""
    return str(Unit.at(place))


def token_at(place: Place, tokens: tuple[str, ...]) -> str | None:
    """The token at a neuron's position, where it has one."""
    position = place[2]
    return None if position is None or not 0 <= position < len(tokens) else tokens[position]


def _end(value: results.Edges, place: Place) -> tuple[str, str | None]:
    return name_of(place), token_at(place, value.tokens)


def _into_the_output(value: results.Edges) -> Table:
    """The tree of what flows into the output, with the parts of each neuron's attribution."""
    columns = (
        Column(key="neuron", title="into the output", kind="name"),
        Column(key="token", title="", kind="token", drop=1),
        Column(key="edge", title="edge", kind="signed", drop=6),
        Column(key="attribution", title="attr", kind="signed", drop=5),
        Column(key="chosen", title="= chosen", kind="signed", drop=4),
        Column(key="embeddings", title="+ embeddings", kind="signed", drop=3),
        Column(key="others", title="+ others", kind="signed", drop=2),
    )
    inflows = {inflow.place: inflow for inflow in value.inflows}
    rows = []
    for branch in tree(_flow(value)):
        edge = branch.edge
        source = None if edge is None else edge.source
        named: tuple[Cell, ...] = ("output", None, None)
        if edge is not None:
            name, token = _end(value, edge.source)
            named = (f"{name} …" if branch.elsewhere else name, token, edge.weight)
        made: tuple[Cell, ...] = (None,) * 4
        if (inflow := inflows.get(source)) is not None:
            made = (inflow.attribution, inflow.chosen, inflow.embeddings, inflow.others)
        stands_for = None if source is None else StandsFor(source.kind, name_of(source))
        rows.append(Row(cells=(*named, *made), stands_for=stands_for, mark=branch.prefix.rstrip()))
    return Table(columns=columns, rows=tuple(rows))


def _named(value: results.Edges) -> Iterator[Fact]:
    """Hubs, bottlenecks and super-weight neurons, each with its numbers."""
    hubs = (f"{name_of(each.place)} sends {each.outgoing:.3g}, to {each.reached}" for each in value.hubs[:_NAMED])
    passing = (f"{name_of(each.place)} passes {percent(each.share)}" for each in value.bottlenecks[:_NAMED])
    heavy = (
        f"{name_of(each.place)} {multiple(round(each.times))} the median in {each.targets}"
        for each in value.super_weights[:_NAMED]
    )
    for name, parts in (("hubs", hubs), ("bottlenecks", passing), ("super-weight", heavy)):
        yield Fact(MISSING, name, tuple(parts))


def _layers(value: results.Edges) -> Heat:
    """Σ|edge| from layer (rows) to layer (columns)."""
    flows = {(flow.source, flow.target): flow.weight for flow in value.layers}
    sources, targets = sorted({source for source, _ in flows}), sorted({target for _, target in flows})
    return Heat(
        title="Σ|edge| from layer to layer",
        rows=tuple(f"L{source}" for source in sources),
        columns=tuple(f"L{target}" for target in targets),
        cells=tuple(tuple(flows.get((source, target)) for target in targets) for source in sources),
    )
