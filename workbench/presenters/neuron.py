"""One neuron: the result of `neuron`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.circuits.findings import Moment
from sessions.model.units import Neuron, Place
from sessions.views.atlas import corpus_facts, peaks, spread_facts
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.rendering.tables import table
from workbench.writing import MISSING, aim, bar, facts, fitted, inline, percent, quoted, signed

#: Positions that are listed, those with the strongest attributions.
LISTED = 12
#: Maxima over a corpus that are listed, of either sign.
PEAKS = 5
#: Edges that are listed, of each direction.
EDGES = 6


@shown.register
def _(value: results.NeuronCard, sheet: parts.Sheet) -> Iterator[RenderableType]:
    neuron, target = value.neuron, value.target
    share = None if neuron.attribution is None or not target.value else neuron.attribution / target.value
    place = f"{value.rank:,} of the circuit's {value.circuit_size:,}" if value.rank else ""
    known = "universal: strong whatever the prompt" if value.universal else ""
    yield facts([str(neuron), place, known, f"{aim(target)} = {signed(target.value)}"], sheet.width)
    where = "over all positions" if neuron.position is None else f"at position {neuron.position}"
    everywhere = "" if value.everywhere is None else f"effect everywhere at once {signed(value.everywhere)}"
    said = [f"attribution {signed(neuron.attribution)} ({percent(share, sign=True)}) {where}"]
    if neuron.position is not None:
        said += [f"effect {signed(neuron.effect)}", f"activation {signed(neuron.activation)}"]
    yield facts([*said, everywhere], sheet.width)
    if value.moments:
        yield from _moments(value, sheet)
    yield parts.pairs({**dict(weights(value)), **dict(edges(value))})
    if value.atlas is not None:
        yield facts(map(inline, (*corpus_facts(value.atlas), *spread_facts(value.atlas))), sheet.width)
        at_most = sorted((*value.atlas.high, *value.atlas.low), key=lambda peak: -abs(peak.value))[:PEAKS]
        if at_most:
            yield from table(peaks(at_most), sheet.width)


def _moments(value: results.NeuronCard, sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The strongest positions in the order of the prompt, with bars for the activations."""
    measured = any(moment.effect is not None for moment in value.moments)
    most = max((abs(moment.activation) for moment in value.moments), default=0.0) or 1.0
    cells = min(20, parts.bar_cells(sheet, beside=50))
    rows = parts.table(sheet, ">pos", "token", ">act", "", ">attr", *([">effect"] if measured else []))
    for moment in strongest(value, LISTED):
        drawn = bar(abs(moment.activation) / most, cells)
        rows.add_row(
            str(moment.position),
            parts.cell(fitted(quoted(moment.token), 16)),
            signed(moment.activation, 2),
            f"{drawn:<{cells}}",
            signed(moment.attribution),
            *([signed(moment.effect)] if measured else []),
        )
    yield rows
    if len(value.moments) > LISTED:
        count = f"the {LISTED} positions with the largest attributions, of {len(value.moments):,}"
        yield parts.dim(Line(count, overflow="fold"))


def strongest(value: results.NeuronCard, count: int) -> list[Moment]:
    """The moments with the largest attributions, in the order of the prompt."""
    chosen = sorted(value.moments, key=lambda moment: -abs(moment.attribution))[:count]
    return sorted(chosen, key=lambda moment: moment.position)


def weights(value: results.NeuronCard) -> Iterator[tuple[str, str]]:
    """What its weights say, each with its name."""
    yield "writes", f"norm {value.column_norm:.3g}"
    yield "pushes up", _tokens(value.up)
    yield "pushes down", _tokens(value.down)
    for read in value.reads:
        name = inline(read.name)
        yield name, f"norm {read.norm:.3g} · cosine with what it writes {signed(read.along_output, 2)}"
        for side, (along, against) in (("embeddings", read.embeddings), ("stream", read.stream)):
            yield f"{name} {side} +", _tokens(along)
            yield f"{name} {side} −", _tokens(against)


def edges(value: results.NeuronCard) -> Iterator[tuple[str, str]]:
    """Its strongest edges, each direction with its name."""
    if value.incoming:
        yield "edges in", _listed(value, [(edge.weight, edge.source) for edge in value.incoming])
    if value.outgoing:
        yield "edges out", _listed(value, [(edge.weight, edge.target) for edge in value.outgoing])


def _listed(value: results.NeuronCard, ends: list[tuple[float, Place | None]]) -> str:
    return " · ".join(f"{signed(weight)} {_end(value, place)}" for weight, place in ends[:EDGES])


def _end(value: results.NeuronCard, place: Place | None) -> str:
    if place is None:
        return "the output"
    position = place[2]
    known = position is not None and 0 <= position < len(value.tokens)
    return (
        f"{Neuron(*place)} {quoted(value.tokens[position])}" if known and position is not None else str(Neuron(*place))
    )


def _tokens(tokens: tuple[str, ...]) -> str:
    return " ".join(map(quoted, tokens)) or MISSING
