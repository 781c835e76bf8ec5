"""One neuron: `neuron`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sessions import results
from sessions.circuits.findings import Moment
from sessions.circuits.flow import Edge
from sessions.model.units import Place
from sessions.views.atlas import corpus_facts, peaks, spread_facts
from sessions.views.blocks import AnyBlock, Column, Fact, Facts, Row, StandsFor, Table
from sessions.views.edges import name_of, token_at
from sessions.views.registry import facts, viewed
from sessions.views.writing import MISSING, aim, percent, quoted, signed

#: How many positions are listed, strongest attribution first.
_LISTED = 12
#: How many maxima over a corpus are listed of either sign, and how many edges of each direction.
_PEAKS, _EDGES = 5, 6


@viewed.register
def _(value: results.NeuronCard) -> Iterator[AnyBlock]:
    neuron, target = value.neuron, value.target
    share = None if neuron.attribution is None or not target.value else neuron.attribution / target.value
    place = f"{value.rank:,} of the circuit's {value.circuit_size:,}" if value.rank else ""
    known = "universal: strong whatever the prompt" if value.universal else ""
    yield facts(str(neuron), place, known, f"{aim(target)} = {signed(target.value)}")
    where = "over all positions" if neuron.position is None else f"at position {neuron.position}"
    placed = neuron.position is not None
    yield facts(
        f"attribution {signed(neuron.attribution)} ({percent(share, sign=True)}) {where}",
        f"effect {signed(neuron.effect)}" if placed else "",
        f"activation {signed(neuron.activation)}" if placed else "",
        "" if value.everywhere is None else f"effect at all positions {signed(value.everywhere)}",
    )
    if value.moments:
        yield _moments(value)
    yield Facts(items=(*weights(value), *edges(value)))
    if value.atlas is not None:
        yield facts(*corpus_facts(value.atlas), *spread_facts(value.atlas))
        maxima = sorted((*value.atlas.high, *value.atlas.low), key=lambda peak: -abs(peak.value))[:_PEAKS]
        if maxima:
            yield peaks(maxima)


def strongest(value: results.NeuronCard, count: int) -> list[Moment]:
    """The positions with the largest attributions, in the order of the prompt."""
    chosen = sorted(value.moments, key=lambda moment: -abs(moment.attribution))[:count]
    return sorted(chosen, key=lambda moment: moment.position)


def _moments(value: results.NeuronCard) -> Table:
    """A row for each of the strongest positions."""
    measured = any(moment.effect is not None for moment in value.moments)
    largest = max((abs(moment.activation) for moment in value.moments), default=0.0)
    columns = (
        Column(key="position", title="pos", kind="index"),
        Column(key="token", title="token", kind="token", drop=3),
        Column(key="activation", title="act", kind="signed", digits=2, drop=2, bar=largest),
        Column(key="attribution", title="attr", kind="signed", drop=4),
        *([Column(key="effect", title="effect", kind="signed", drop=1)] if measured else []),
    )
    rows = []
    for moment in strongest(value, _LISTED):
        effect = (moment.effect,) if measured else ()
        cells = (moment.position, moment.token, moment.activation, moment.attribution, *effect)
        place = value.neuron.place._replace(position=moment.position)
        rows.append(Row(cells=cells, stands_for=StandsFor("neuron", name_of(place))))
    left = len(value.moments) > _LISTED
    note = f"the {_LISTED} positions with the largest attributions, of {len(value.moments):,}" if left else ""
    return Table(columns=columns, rows=tuple(rows), note=note)


def weights(value: results.NeuronCard) -> Iterator[Fact]:
    """What its weights read and write."""
    yield Fact(f"norm {value.column_norm:.3g}", "writes")
    yield Fact(_tokens(value.up), "pushes up")
    yield Fact(_tokens(value.down), "pushes down")
    for read in value.reads:
        yield Fact(f"norm {read.norm:.3g} · cosine with what it writes {signed(read.along_output, 2)}", read.name)
        for side, (along, against) in (("embeddings", read.embeddings), ("stream", read.stream)):
            yield Fact(_tokens(along), f"{read.name} {side} +")
            yield Fact(_tokens(against), f"{read.name} {side} −")


def edges(value: results.NeuronCard) -> Iterator[Fact]:
    """Its strongest edges, in and out."""
    for name, known in (("edges in", value.incoming), ("edges out", value.outgoing)):
        ends = [edge.source if name == "edges in" else edge.target for edge in known]
        if known:
            yield Fact("", name, tuple(_listed(known, ends, value.tokens)))


def _listed(known: Sequence[Edge], ends: Sequence[Place | None], tokens: tuple[str, ...]) -> Iterator[str]:
    for edge, place in list(zip(known, ends, strict=True))[:_EDGES]:
        token = None if place is None else token_at(place, tokens)
        end = "the output" if place is None else name_of(place)
        yield f"{signed(edge.weight)} {end} {quoted(token)}" if token is not None else f"{signed(edge.weight)} {end}"


def _tokens(tokens: tuple[str, ...]) -> str:
    return " ".join(map(quoted, tokens)) or MISSING
