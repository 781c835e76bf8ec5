"""Directions, and what is like what: the results of `vector`, `compare`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.circuits.comparing import Shared
from sessions.directions.findings import EXPLAINED_BY, Direction, TopOverlap
from sessions.model.units import Neuron
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, bar, facts, inline, percent, quoted, signed

#: Characters of the text a state was captured in that are shown.
_TEXT = 60
#: Whose neurons can write into a site, where it is not the layer's alone.
_WRITERS = {
    "resid_pre": "of the layers below",
    "attn_out": "of the layers below",
    "resid_post": "of this layer and those below",
}


@shown.register
def _(value: results.VectorShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    made = _made(value)
    count = "1 layer" if len(value.directions) == 1 else f"{len(value.directions)} layers"
    saved = f"saved {inline(value.path)}" if value.path else ""
    yield facts(
        [f"vector {inline(value.name)}", inline(value.site), count, made, inline(value.model), saved], sheet.width
    )
    yield _directions(value, sheet)
    if len(value.directions) == 1:
        yield from _one(value.directions[0], sheet)
    else:
        yield parts.dim(_by_most(value, sheet))


def _made(value: results.VectorShown) -> str:
    """What it was made of, or where it was captured."""
    if value.origin is None:
        positives, negatives = value.prompts
        return f"{positives:,} positive and {negatives:,} negative {'prompt' if negatives == 1 else 'prompts'}"
    origin = value.origin
    chosen = f", for {inline(origin.neuron)}" if origin.neuron else ""
    text = inline(origin.text if len(origin.text) <= _TEXT else "…" + origin.text[-_TEXT:])
    return f'captured at {quoted(origin.token)}, position {origin.position} of "{text}"{chosen}'


def _directions(value: results.VectorShown, sheet: parts.Sheet) -> RenderableType:
    most = EXPLAINED_BY[-1]
    table = parts.table(
        sheet, ">L", ">norm", ">turn", f">by {most}", ">chance", ">neuron", ">cos", "pushes up", "pushes down"
    )
    for each in value.directions:
        best = each.neurons[0]
        table.add_row(
            str(each.layer),
            f"{each.norm:.3g}",
            signed(each.turned, 2),
            percent(each.explained[-1]),
            percent(each.chance[-1]),
            f"N{best.neuron.index}",
            signed(best.cosine, 2),
            parts.cell(" ".join(map(quoted, each.up))),
            parts.cell(" ".join(map(quoted, each.down))),
        )
    return table


def _by_most(value: results.VectorShown, sheet: parts.Sheet) -> Line:
    said = [
        f"by {EXPLAINED_BY[-1]}: share of its squared norm that the best {EXPLAINED_BY[-1]} neurons of the layer hold",
        "chance: of a random direction's",
        "" if value.site == "neurons" else "turn: cosine with the layer below",
        f"vector {inline(value.name)} --layers N shows more of one",
    ]
    return facts(said, sheet.width)


def _one(direction: Direction, sheet: parts.Sheet) -> Iterator[RenderableType]:
    shares = zip(EXPLAINED_BY, direction.explained, direction.chance, strict=False)
    said = [f"{count}: {percent(share)} (chance {percent(chance)})" for count, share, chance in shares]
    yield facts([f"share of its squared norm that the best neurons hold, {said[0]}", *said[1:]], sheet.width)
    table = parts.table(sheet, "neuron", ">cos", "")
    for each in direction.neurons:
        table.add_row(str(each.neuron), signed(each.cosine), bar(abs(each.cosine), parts.bar_cells(sheet, 24)))
    yield table


@shown.register
def _(value: results.CircuitsCompared, sheet: parts.Sheet) -> Iterator[RenderableType]:
    found, names = value.comparison, [inline(name) for name in value.names]
    sizes = zip(names, found.sizes, found.distinct, strict=True)
    yield facts([f"{name}: {size:,} at positions, {distinct:,} neurons" for name, size, distinct in sizes], sheet.width)
    table = parts.table(sheet, "", ">shared", ">Jaccard", ">at positions", ">Jaccard")
    for each in found.overlaps:
        row = "all" if each.strongest is None else f"strongest {each.strongest}"
        table.add_row(row, *_shared(each.anywhere), *_shared(each.placed))
    yield table
    held = zip(names, found.held, strict=True)
    said = [f"on shared neurons: {percent(share)} of the attribution of {name}" for name, share in held]
    if found.ranks is not None:
        rank, same = signed(found.ranks.spearman, 2), percent(found.ranks.same_sign)
        said.append(f"there the two rank alike by {rank} (r {signed(found.ranks.pearson, 2)}, same sign {same})")
    yield facts(said, sheet.width)
    for name, missing in zip(names, found.only, strict=True):
        if missing:
            yield Line(f"only in {name}: {_named(missing)}", overflow="fold")


def _shared(found: Shared) -> tuple[str, str]:
    return f"{found.both:,}", f"{found.jaccard:.2f}"


def _named(neurons: tuple[Neuron, ...]) -> str:
    return ", ".join(f"{neuron} {signed(neuron.attribution)}".removesuffix(f" {MISSING}") for neuron in neurons)


@shown.register
def _(value: results.CircuitHeldAgainst, sheet: parts.Sheet) -> Iterator[RenderableType]:
    here, aligned = sum(each.here for each in value.spans), sum(each.aligned for each in value.spans)
    lie = f"{aligned:,} of {here:,} neurons lie along it (chance {percent(0.05)})" if here else ""
    rank = (
        ""
        if value.ranks is None
        else f"|attribution| and |cosine| of these rank alike by {signed(value.ranks.spearman, 2)}"
    )
    yield facts(
        [
            f"circuit {inline(value.circuit)}, {value.size:,} neurons",
            f"vector {inline(value.vector)} at {inline(value.site)}",
            lie,
            rank,
        ],
        sheet.width,
    )
    cells = parts.bar_cells(sheet, 44)
    table = parts.table(sheet, ">L", ">neurons", ">explained", ">chance", "", ">here", ">along")
    for each in (span for span in value.spans if span.neurons):
        table.add_row(
            str(each.layer),
            f"{each.neurons:,}",
            percent(each.explained),
            percent(each.chance),
            f"{bar(each.explained, cells):<{cells}}",
            f"{each.here:,}",
            f"{each.aligned:,}",
        )
    yield table
    which = _WRITERS.get(value.site, "of this layer")
    said = [f"explained: share of the vector's squared norm that the circuit's neurons {which} can write"]
    yield parts.dim(facts([*said, "chance: of as many random neurons"], sheet.width))
    if value.overlap is not None:
        yield from _overlap(value.overlap, sheet)


def _overlap(value: TopOverlap, sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The neurons that lie most along the vector and are among the circuit's strongest."""
    lying = f"of the {value.along:,} neurons most along it {value.both:,} are among the circuit's {value.strongest:,}"
    said = f"by chance {value.expected:.2g} of {value.among:,} (p {value.p:.1e})"
    yield facts([f"{lying} strongest", said], sheet.width)
    if value.neurons:
        table = parts.table(sheet, "in both", ">attribution", ">cosine")
        for each in value.neurons:
            table.add_row(str(each.neuron), signed(each.neuron.attribution), signed(each.cosine, 2))
        yield table


@shown.register
def _(value: results.VectorsCompared, sheet: parts.Sheet) -> Iterator[RenderableType]:
    ours, theirs = (inline(name) for name in value.names)
    same = value.sites[0] if value.sites[0] == value.sites[1] else " and ".join(value.sites)
    yield facts([f"vectors {ours} and {theirs}", inline(same)], sheet.width)
    cells = parts.bar_cells(sheet, 40)
    table = parts.table(sheet, ">L", ">cos", "", f">|{ours}|", f">|{theirs}|")
    for each in value.layers:
        table.add_row(
            str(each.layer),
            signed(each.cosine, 2),
            f"{bar(abs(each.cosine or 0.0), cells):<{cells}}",
            *(f"{norm:.3g}" for norm in each.norms),
        )
    yield table
