"""Hidden states of one text injected into another: `inject`."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

from sessions import results
from sessions.patching.transplants import Placed
from sessions.views.blocks import AnyBlock, Cell, Column, Heat, HeatScale, Note, Row, StandsFor, Table
from sessions.views.interventions import bars, texts
from sessions.views.registry import facts, viewed
from sessions.views.writing import aim, quoted, signed


@viewed.register
def _(value: results.Injected) -> Iterator[AnyBlock]:
    for placed in value.placed:
        yield facts(
            _moved(placed, value),
            f"layer {placed.layer} {placed.site}",
            f"norm {placed.norm:.3g} at a state of norm {placed.replaced:.3g}",
            "" if placed.cosine is None else f"cosine {signed(placed.cosine, 2)}",
        )
    for placed in value.placed:
        if not placed.reaches:
            below = f"; below layer {placed.reaches_below} it can" if placed.reaches_below else ""
            yield Note(text=_without_effect(placed.position, placed.layer) + below)
    if value.observed:
        yield _neurons(value)
    yield texts(value.arms)
    if value.shifts:
        yield bars(value.arms, value.shifts, value.target)


def _moved(placed: Placed, value: results.Injected | results.InjectedByLayer) -> str:
    """Which vector was injected where."""
    came = f" from {quoted(placed.came_from)}" if placed.came_from else ""
    how = "added at" if value.adds else "at"
    times = "" if value.scale == 1 else f" ×{value.scale:g}"
    return f"{placed.name}{times}{came} {how} {quoted(placed.token)}, position {placed.position}"


def _without_effect(position: int, layer: int) -> str:
    return (
        f"! from layer {layer} on, position {position} cannot influence later tokens: measured, no later logit "
        "depends on the state there"
    )


def _neurons(value: results.Injected) -> Table:
    """A row for each neuron and place: its activation in the source, without the vector, with it, with a random one."""
    several = len(value.placed) > 1
    columns = (
        Column(key="neuron", title="neuron", kind="name"),
        *([Column(key="position", title="pos", kind="index"), _AT] if several else []),
        Column(key="source", title="source", kind="signed", drop=4),
        Column(key="without", title="without", kind="signed", drop=5),
        Column(key="injected", title="injected", kind="signed", drop=7),
        Column(key="back", title="recovered", kind="share", drop=6, about="share of the source's activation"),
        Column(key="random", title="random", kind="signed", drop=3, about="with a random vector of the same norm"),
        Column(key="by_chance", title="by chance", kind="share", drop=2, about="share that the random vector recovers"),
    )
    rows = []
    for each in value.observed:
        place = value.placed[each.place]
        at: tuple[Cell, ...] = (place.position, place.token) if several else ()
        numbers = (each.source, each.without, each.injected, each.given_back, each.random, each.by_chance)
        rows.append(Row(cells=(str(each.neuron), *at, *numbers), stands_for=StandsFor("neuron", str(each.neuron))))
    return Table(columns=columns, rows=tuple(rows))


_AT = Column(key="token", title="token", kind="token", drop=1)


@viewed.register
def _(value: results.InjectedByLayer) -> Iterator[AnyBlock]:
    found = value.map
    yield facts(_moved(value.place, value), value.place.site)
    yield facts(*_ends(value))
    yield Heat(
        title=f"{_measured(value)}; from the source's layer (rows) to the target's (columns)",
        rows=(*(f"{layer}" for layer in reversed(found.layers)), "random"),
        columns=tuple(f"{layer}" for layer in found.layers),
        cells=(*reversed(found.cells), found.random),
        scale=_scale(value),
    )
    if found.layers[-1] >= found.reaches_below:
        yield Note(text=_without_effect(value.place.position, max(found.reaches_below, found.layers[0])))


def _measured(value: results.InjectedByLayer) -> str:
    """What a cell of the map measures."""
    if value.measure == "activation":
        return f"activation of {value.observed} there"
    if value.measure == "probability" and value.target is not None:
        return f"probability of {aim(value.target).removeprefix('logit ')} as the next token"
    return "KL of the next token from the source's, in nats"


def _ends(value: results.InjectedByLayer) -> Iterator[str]:
    """The measure in the source, in the unchanged text, at the best cell, and with random vectors."""
    found = value.map
    cells = [(cell, s, t) for s, row in enumerate(found.cells) for t, cell in enumerate(row) if not isnan(cell)]
    if not cells:
        yield "no cell is a number"
        return
    by_size = value.measure == "probability"
    best = max(cells) if by_size else min(cells, key=lambda each: abs(each[0] - (found.source or 0.0)))
    yield "" if found.source is None else f"source {found.source:.4g}"
    yield f"without {found.without:.4g}"
    place = f"from layer {found.layers[best[1]]} at layer {found.layers[best[2]]}"
    yield f"{'largest' if by_size else 'nearest'} {best[0]:.4g} {place}"
    yield f"random {min(found.random):.4g} to {max(found.random):.4g}"


def _scale(value: results.InjectedByLayer) -> HeatScale:
    """From the unchanged text to the source or, for a probability, to the largest."""
    found = value.map
    if value.measure != "probability":
        return HeatScale(start=found.without, end=found.source or 0.0, names=("the text without it", "the source"))
    largest = max((cell for row in found.cells for cell in row if not isnan(cell)), default=0.0)
    return HeatScale(start=found.without, end=largest, names=("the text without it", "the largest"))
