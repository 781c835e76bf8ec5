"""Directions, and comparisons of circuits and vectors: `vector`, `capture`, `compare`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.circuits.comparing import Comparison
from sessions.directions.findings import EXPLAINED_BY, Aligned, Direction, TopOverlap
from sessions.model.units import Unit
from sessions.views.blocks import AnyBlock, Column, Curve, Line, Note, Row, StandsFor, Table
from sessions.views.circuits import PUSHES
from sessions.views.registry import facts, viewed
from sessions.views.writing import MISSING, counted, percent, quoted, signed

#: Most characters shown of the text that a state was captured in.
_TEXT = 60
#: Which neurons can write into a site, where these are not the layer's alone.
_WRITERS = {
    "resid_pre": "of the layers below",
    "attn_out": "of the layers below",
    "resid_post": "of this layer and those below",
}
_LAYER = Column(key="layer", title="L", kind="index")
_NEURON = Column(key="neuron", title="neuron", kind="name")


@viewed.register
def _(value: results.VectorShown) -> Iterator[AnyBlock]:
    count = counted(len(value.directions), "layer")
    saved = f"saved {value.path}" if value.path else ""
    yield facts(f"vector {value.name}", value.site, count, _made(value), value.model, saved)
    yield _directions(value)
    if len(value.directions) == 1:
        yield from _one(value.directions[0])


def _made(value: results.VectorShown) -> str:
    """The prompts it was made from, or where it was captured."""
    if value.origin is None:
        positives, negatives = value.prompts
        return f"{positives:,} positive and {negatives:,} negative {'prompt' if negatives == 1 else 'prompts'}"
    origin = value.origin
    chosen = f", for {origin.neuron}" if origin.neuron else ""
    text = origin.text if len(origin.text) <= _TEXT else "…" + origin.text[-_TEXT:]
    return f'captured at {quoted(origin.token)}, position {origin.position} of "{text}"{chosen}'


def _directions(value: results.VectorShown) -> Table:
    most = EXPLAINED_BY[-1]
    hold = f"share of its squared norm that the best {most} neurons of the layer hold"
    turn = "" if value.site == "neurons" else "cosine with the layer below"
    several = len(value.directions) > 1
    columns = (
        _LAYER,
        Column(key="norm", title="norm", kind="number", drop=9),
        Column(key="turned", title="turn", kind="signed", digits=2, drop=3, about=turn if several else ""),
        Column(key="explained", title=f"by {most}", kind="share", drop=8, about=hold if several else ""),
        Column(key="chance", title="chance", kind="share", drop=2, about="of a random direction" if several else ""),
        Column(key="neuron", title="neuron", kind="name", drop=7),
        Column(key="cosine", title="cos", kind="signed", digits=2, drop=6),
        *PUSHES,
    )
    rows = []
    for each in value.directions:
        best = each.neurons[0]
        held = (each.explained[-1], each.chance[-1], str(best.neuron), best.cosine)
        cells = (each.layer, each.norm, each.turned, *held, each.up, each.down)
        rows.append(Row(cells=cells, stands_for=StandsFor("neuron", str(best.neuron))))
    note = f"vector {value.name} --layers N shows more of one" if several else ""
    return Table(columns=columns, rows=tuple(rows), note=note)


def _one(direction: Direction) -> Iterator[AnyBlock]:
    shares = zip(EXPLAINED_BY, direction.explained, direction.chance, strict=False)
    first, *more = (f"{count}: {percent(share)} (chance {percent(chance)})" for count, share, chance in shares)
    yield facts(f"share of its squared norm that the best neurons hold, {first}", *more)
    yield _aligned(direction.neurons, digits=3)


def _aligned(neurons: tuple[Aligned, ...], digits: int) -> Table:
    cosine = Column(key="cosine", title="cos", kind="signed", digits=digits, bar=1.0, drop=1)
    return Table(
        columns=(_NEURON, cosine),
        rows=tuple(
            Row(cells=(str(each.neuron), each.cosine), stands_for=StandsFor("neuron", str(each.neuron)))
            for each in neurons
        ),
    )


@viewed.register
def _(value: results.CircuitsCompared) -> Iterator[AnyBlock]:
    comparison, names = value.comparison, value.names
    sizes = zip(names, comparison.sizes, comparison.distinct, strict=True)
    yield facts(*(f"{name}: {size:,} at positions, {distinct:,} neurons" for name, size, distinct in sizes))
    yield _overlaps(comparison)
    held = zip(names, comparison.held, strict=True)
    said = [f"on shared neurons: {percent(share)} of the attribution of {name}" for name, share in held]
    if comparison.ranks is not None:
        rank, same = signed(comparison.ranks.spearman, 2), percent(comparison.ranks.same_sign)
        said.append(f"their rank correlation {rank} (r {signed(comparison.ranks.pearson, 2)}, same sign {same})")
    yield facts(*said)
    for name, missing in zip(names, comparison.only, strict=True):
        if missing:
            yield Note(text=f"only in {name}: {_named(missing)}")


def _overlaps(comparison: Comparison) -> Table:
    columns = (
        Column(key="among", title="", kind="name"),
        Column(key="shared", title="shared", kind="number", drop=4),
        Column(key="jaccard", title="Jaccard", kind="number", digits=2, drop=3),
        Column(key="shared_placed", title="at positions", kind="number", drop=2),
        Column(key="jaccard_placed", title="Jaccard", kind="number", digits=2, drop=1),
    )
    rows = []
    for each in comparison.overlaps:
        among = "all" if each.strongest is None else f"strongest {each.strongest}"
        shared = (part for kind in (each.anywhere, each.placed) for part in (kind.both, kind.jaccard))
        rows.append(Row(cells=(among, *shared)))
    return Table(columns=columns, rows=tuple(rows))


def _named(neurons: tuple[Unit, ...]) -> str:
    return ", ".join(f"{neuron} {signed(neuron.attribution)}".removesuffix(f" {MISSING}") for neuron in neurons)


@viewed.register
def _(value: results.CircuitHeldAgainst) -> Iterator[AnyBlock]:
    here, aligned = sum(each.here for each in value.spans), sum(each.aligned for each in value.spans)
    ranks = "" if value.ranks is None else signed(value.ranks.spearman, 2)
    yield facts(
        f"circuit {value.circuit}, {counted(value.size, 'neuron')}",
        f"vector {value.vector} at {value.site}",
        f"{aligned:,} of {here:,} neurons lie along it (chance {percent(0.05)})" if here else "",
        f"rank correlation of their |attribution| and |cosine| {ranks}" if ranks else "",
    )
    yield _spans(value)
    if value.overlap is not None:
        yield from _overlap(value.overlap)


def _spans(value: results.CircuitHeldAgainst) -> Table:
    """A row for each layer in which some of the circuit's neurons can write."""
    writers = _WRITERS.get(value.site, "of this layer")
    explained = f"share of the vector's squared norm that the circuit's neurons {writers} can write"
    columns = (
        _LAYER,
        Column(key="neurons", title="neurons", kind="number", drop=4),
        Column(key="explained", title="explained", kind="share", bar=1.0, drop=5, about=explained),
        Column(key="chance", title="chance", kind="share", drop=3, about="of as many random neurons"),
        Column(key="here", title="here", kind="number", drop=1),
        Column(key="aligned", title="along", kind="number", drop=2),
    )
    rows = (
        Row(cells=(each.layer, each.neurons, each.explained, each.chance, each.here, each.aligned))
        for each in value.spans
        if each.neurons
    )
    return Table(columns=columns, rows=tuple(rows))


def _overlap(overlap: TopOverlap) -> Iterator[AnyBlock]:
    """The neurons that lie most along the vector and are among the circuit's strongest."""
    first, second = f"{overlap.along:,} neurons most along it", f"the circuit's {overlap.strongest:,} strongest"
    yield facts(
        f"of the {first} {overlap.both:,} are among {second}",
        f"by chance {overlap.expected:.2g} of {overlap.among:,} (p {overlap.p:.1e})",
    )
    if overlap.neurons:
        columns = (
            Column(key="neuron", title="in both", kind="name"),
            Column(key="attribution", title="attribution", kind="signed", drop=1),
            Column(key="cosine", title="cosine", kind="signed", digits=2, drop=2),
        )
        rows = (
            Row(
                cells=(str(each.neuron), each.neuron.attribution, each.cosine),
                stands_for=StandsFor("neuron", str(each.neuron)),
            )
            for each in overlap.neurons
        )
        yield Table(columns=columns, rows=tuple(rows))


@viewed.register
def _(value: results.VectorsCompared) -> Iterator[AnyBlock]:
    one, two = value.names
    yield facts(f"vectors {one} and {two}", " and ".join(dict.fromkeys(value.sites)))
    columns = (
        _LAYER,
        Column(key="cosine", title="cos", kind="signed", digits=2, bar=1.0, drop=2),
        Column(key="norm_1", title=f"|{one}|", kind="number", drop=1),
        Column(key="norm_2", title=f"|{two}|", kind="number", drop=1),
    )
    rows = tuple(Row(cells=(each.layer, each.cosine, *each.norms)) for each in value.layers)
    yield Table(columns=columns, rows=rows)
    cosines = tuple((float(each.layer), each.cosine) for each in value.layers)
    yield Curve(title="cosine", x="layer", lines=(Line(name="cosine", points=cosines),), tabled=True)
