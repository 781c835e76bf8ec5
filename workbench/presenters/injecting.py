"""Hidden states of one text in another: the results of `inject`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.patching.transplants import LayerMap, Placed
from workbench.presenters import parts
from workbench.presenters.interventions import side_by_side, table_of_shifts
from workbench.presenters.parts import shown
from workbench.writing import aim, facts, inline, percent, quoted, signed

#: From which part of the way between the ends of a map on each character stands.
_SHADES = ((0.9, "█"), (0.6, "▓"), (0.3, "▒"), (0.1, "░"), (0.0, "·"))
#: Columns from which a table of neurons has room for whole headings, and for what a random vector gives back.
_ROOMY, _CONTROLLED = 66, 58
#: Where nothing that is put there is seen by what follows.
_UNSEEN = "×"


@shown.register
def _(value: results.Injected, sheet: parts.Sheet) -> Iterator[RenderableType]:
    for each in value.placed:
        yield facts([_moved(each, value), *_about(each)], sheet.width)
    for each in value.placed:
        if not each.reaches:
            yield _unreachable(each)
    if value.observed:
        yield _neurons(value, sheet)
        said = ["given back: share of the source's activation", "random: a vector of the same norm"]
        yield parts.dim(facts(said, sheet.width))
    yield from side_by_side(value.arms, sheet)
    if value.shifts:
        yield from table_of_shifts(value, sheet)


def _moved(each: Placed, value: results.Injected | results.InjectedByLayer) -> str:
    """What was put where."""
    came = f" from {quoted(each.came_from)}" if each.came_from else ""
    how = "added at" if value.adds else "at"
    times = "" if value.scale == 1 else f" ×{value.scale:g}"
    return f"{inline(each.name)}{times}{came} {how} {quoted(each.token)}, position {each.position}"


def _about(each: Placed) -> list[str]:
    """The place, and how the vector is to what stood there."""
    return [
        f"layer {each.layer} {inline(each.site)}",
        f"norm {each.norm:.3g} for {each.replaced:.3g}",
        "" if each.cosine is None else f"cosine {signed(each.cosine, 2)}",
    ]


def _unreachable(each: Placed) -> Line:
    below = f", below layer {each.reaches_below} it can" if each.reaches_below else ""
    return Line(_without_effect(each.position, each.layer) + below, overflow="fold")


def _without_effect(position: int, layer: int) -> str:
    return (
        f"! from layer {layer} on position {position} cannot influence what follows: measured, no logit after it "
        "changes, whatever stands there"
    )


def _neurons(value: results.Injected, sheet: parts.Sheet) -> RenderableType:
    many = len(value.placed) > 1
    where = ("at",) if many else ()
    room = sheet.width - (12 if many else 0)
    back = ">given back" if room >= _ROOMY else ">back"
    columns = (">source", ">without", ">injected", back, ">random", *([back] if room >= _CONTROLLED else []))
    table = parts.table(sheet, "neuron", *where, *columns)
    table.columns[0].no_wrap = True
    for each in value.observed:
        place = value.placed[each.place]
        table.add_row(
            str(each.neuron),
            *(
                [parts.cell(f"{quoted(place.token)} {place.position}" if room >= _ROOMY else f"@{place.position}")]
                if many
                else []
            ),
            signed(each.source),
            signed(each.without),
            signed(each.injected),
            _back(each.given_back),
            signed(each.random),
            *([_back(each.by_chance)] if room >= _CONTROLLED else []),
        )
    return table


def _back(share: float | None) -> str:
    """A share of the source's activation; of a source that is next to nothing, how many times as much."""
    return percent(share) if share is None or abs(share) < 10 else f"{share:,.0f}×"


@shown.register
def _(value: results.InjectedByLayer, sheet: parts.Sheet) -> Iterator[RenderableType]:
    found = value.map
    yield facts([_moved(value.place, value), inline(value.place.site)], sheet.width)
    yield Line(_measured(value), overflow="fold")
    yield facts(_ends(value), sheet.width)
    count = len(found.layers)
    shade = _Shades(value)
    across = max(1, min(3, (sheet.width - _LABEL - 1) // count))
    if across * count + _LABEL > sheet.width:  # more layers than cells: as many columns as there is room for
        yield parts.dim(Line(f"too narrow for {count} layers: the first {sheet.width - _LABEL} are drawn"))
    room = (sheet.width - _LABEL) // across
    for row in reversed(range(count)):
        cells = "".join(shade(cell) * across for cell in found.cells[row][:room])
        yield Line(f"{found.layers[row]:>{_LABEL - 2}} │{cells}")
    random = "".join(shade(cell) * across for cell in found.random[:room])
    yield parts.dim(Line(f"{'rnd':>{_LABEL - 2}} │{random}"))
    yield parts.dim(Line((" " * _LABEL + _axis(found.layers[:room], across)).rstrip()))
    yield parts.dim(facts(shade.legend(), sheet.width))
    if count > found.reaches_below - found.layers[0]:
        first = max(found.reaches_below, found.layers[0])
        said = _without_effect(value.place.position, first)
        yield Line(f"{said} ({_UNSEEN} below the map)", overflow="fold")
        marks = "".join((_UNSEEN if layer >= found.reaches_below else " ") * across for layer in found.layers[:room])
        yield parts.dim(Line((" " * _LABEL + marks).rstrip()))


#: Cells before a row of a map.
_LABEL = 6


def _measured(value: results.InjectedByLayer) -> str:
    """What a cell of the map is."""
    up = "source layers upwards, target layers to the right"
    if value.measure == "activation":
        return f"activation of {value.observed} at the place; {up}"
    if value.measure == "probability" and value.target is not None:
        return f"probability of {aim(value.target).removeprefix('logit ')} as the next token; {up}"
    return f"KL in nats of the next token from the source's; {up}"


def _ends(value: results.InjectedByLayer) -> list[str]:
    """The measure in the source, in the text as it is, at the best cell, and with random vectors."""
    found = value.map
    cells = [(each, s, t) for s, row in enumerate(found.cells) for t, each in enumerate(row) if not isnan(each)]
    if not cells:
        return ["no cell is a number"]
    best = max(cells) if value.measure == "probability" else _nearest(found, cells)
    which = "largest" if value.measure == "probability" else "nearest"
    return [
        "" if found.source is None else f"source {found.source:.4g}",
        f"without {found.without:.4g}",
        f"{which} {best[0]:.4g} from layer {found.layers[best[1]]} at layer {found.layers[best[2]]}",
        f"random {min(found.random):.4g} to {max(found.random):.4g}",
    ]


def _nearest(found: LayerMap, cells: Sequence[tuple[float, int, int]]) -> tuple[float, int, int]:
    """The cell that is nearest to the source."""
    goal = 0.0 if found.source is None else found.source
    return min(cells, key=lambda each: abs(each[0] - goal))


class _Shades:
    """Characters for cells: how far each is on the way from the text as it is to the source or, of a probability, to
    the largest."""

    def __init__(self, value: results.InjectedByLayer) -> None:
        found = value.map
        self._start, self._end = found.without, "the source"
        self._goal = 0.0 if found.source is None else found.source
        if value.measure == "probability":
            self._goal = max((each for row in found.cells for each in row if not isnan(each)), default=0.0)
            self._end = "the largest"

    def __call__(self, cell: float) -> str:
        whole = self._goal - self._start
        if isnan(cell):
            return "?"
        part = (cell - self._start) / whole if whole else 0.0
        return next((shade for least, shade in _SHADES if part >= least), " ")

    def legend(self) -> list[str]:
        """What the characters mean."""
        steps = [f"{shade} {least:.0%}" for least, shade in reversed(_SHADES)]
        return [f"of the way from the text without it to {self._end}", "  ".join(steps), "blank: further away"]


def _axis(layers: Sequence[int], across: int) -> str:
    """Layer numbers below a map, as many as have room."""
    line = ""
    for number, layer in enumerate(layers):
        start = number * across
        if start >= len(line) + bool(line):
            line = line.ljust(start) + str(layer)
    return line[: len(layers) * across]
