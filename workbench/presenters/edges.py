"""How relevance flows between neurons: the result of `edges`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.circuits.diagram import Branch, tree
from sessions.circuits.flow import Flow
from sessions.model.units import Neuron, Place
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, aim, facts, fitted, inline, multiple, percent, quoted, signed

#: Hubs, bottlenecks and super-weight neurons that are named, of each.
NAMED = 3
#: Cells of a token.
_TOKEN = 10
#: From which part of the largest flow on each character stands; what is less is a dot.
_SHADES = {0.5: "█", 0.2: "▓", 0.05: "▒", 0.005: "░", 0.0: "·"}
#: Cells of a layer's column in the map of layers, and of what stands to the left of them.
_COLUMN, _BESIDE = 3, 5


@shown.register
def _(value: results.Edges, sheet: parts.Sheet) -> Iterator[RenderableType]:
    count = counted(len(value.neurons), "neuron")
    into = "" if value.targets == len(value.neurons) else f" into the {value.targets:,} strongest"
    between = f"{value.total:,} edges{into}" if value.total else "no edges between them"
    graph = f"graph in {inline(value.path)}" if value.path else ""
    yield facts([count, between, f"{aim(value.target)} = {signed(value.target.value)}", graph], sheet.width)
    if value.edges:
        yield _table(value, sheet)
    if len(value.edges) > value.listed:
        yield parts.dim(Line(f"the {value.listed:,} strongest edges", overflow="fold"))
    yield _tree(value, sheet)
    if value.edges:
        yield parts.pairs(dict(_named(value)))
        yield _layers(value, sheet)


def _table(value: results.Edges, sheet: parts.Sheet) -> RenderableType:
    """The strongest edges, each with its share of what its target's attribution is."""
    whole = {inflow.place: inflow.attribution for inflow in value.inflows}
    table = parts.table(sheet, ">edge", "from", "", "to", "", ">of attr")
    for edge in value.edges[: value.listed]:
        assert edge.target is not None
        attribution = whole[edge.target]
        table.add_row(
            signed(edge.weight),
            _name(edge.source),
            parts.cell(_token(value, edge.source)),
            _name(edge.target),
            parts.cell(_token(value, edge.target)),
            percent(edge.weight / attribution if attribution else None, sign=True),
        )
    return table


def _name(place: Place) -> str:
    return str(Neuron(*place))


def _token(value: results.Edges, place: Place) -> str:
    position = place[2]
    known = position is not None and 0 <= position < len(value.tokens)
    return fitted(quoted(value.tokens[position]), _TOKEN) if known and position is not None else MISSING


def _tree(value: results.Edges, sheet: parts.Sheet) -> RenderableType:
    """What flows into the output; beside each neuron what its attribution is made of."""
    inflows = {inflow.place: inflow for inflow in value.inflows}
    table = parts.table(sheet, "into the output", ">attr", ">= chosen", ">+ embeddings", ">+ others")
    for branch in tree(Flow(edges=value.edges, outputs=value.outputs, inflows=value.inflows)):
        inflow = inflows.get(None if branch.edge is None else branch.edge.source)
        numbers = [] if inflow is None else [inflow.attribution, inflow.chosen, inflow.embeddings, inflow.others]
        table.add_row(parts.cell(_branch(value, branch)), *map(signed, numbers))
    return table


def _branch(value: results.Edges, branch: Branch) -> str:
    if branch.edge is None:
        return aim(value.target)
    source = branch.edge.source
    more = " …" if branch.elsewhere else ""
    return f"{branch.prefix}{signed(branch.edge.weight)} {_name(source)} {_token(value, source)}{more}"


def _named(value: results.Edges) -> Iterator[tuple[str, str]]:
    """Hubs, bottlenecks and super-weight neurons, each with its numbers."""
    hubs = (f"{_name(each.place)} sends {each.outgoing:.3g}, to {each.reached}" for each in value.hubs[:NAMED])
    yield "hubs", " · ".join(hubs)
    passing = (f"{_name(each.place)} passes {percent(each.share)}" for each in value.bottlenecks[:NAMED])
    yield "bottlenecks", " · ".join(passing) or MISSING
    heavy = (
        f"{_name(each.place)} {multiple(round(each.times))} the median in {each.targets}"
        for each in value.super_weights[:NAMED]
    )
    yield "super-weight", " · ".join(heavy) or MISSING


def _layers(value: results.Edges, sheet: parts.Sheet) -> RenderableType:
    """Σ|edge| from layer (rows) to layer (columns), as shades."""
    flows = {(flow.source, flow.target): flow.weight for flow in value.layers}
    room = max(1, (sheet.width - _BESIDE) // _COLUMN)
    # Where not all layers fit, those stay that most arrives at.
    arriving = {target: sum(w for (_, to), w in flows.items() if to == target) for _, target in flows}
    columns = sorted(sorted(arriving, key=lambda layer: -arriving[layer])[:room])
    largest = max(flows.values())
    lines = [f"{'':{_BESIDE}}" + "".join(f"{layer:>{_COLUMN}}" for layer in columns)]
    for row in sorted({source for source, _ in flows}):
        cells = (f"{_shade(flows.get((row, column)), largest):>{_COLUMN}}" for column in columns)
        lines.append(f"{f'L{row}':>{_BESIDE}}" + "".join(cells))
    steps = (f"{shade} ≥ {part * largest:.2g}" for part, shade in _SHADES.items() if part)
    legend = f"Σ|edge| from layer to layer  {'  '.join(steps)}"
    return Line("\n".join([legend, *lines]), no_wrap=True, overflow="ellipsis")


def _shade(weight: float | None, largest: float) -> str:
    if weight is None or not largest:
        return ""
    return next(shade for part, shade in _SHADES.items() if weight >= part * largest)
