"""Results so far of long commands, while they run."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import AnyBlock, Column, Curve, Line, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted

_DONE = Column(key="answered", title="answered", kind="number", drop=2)


@viewed.register
def _(value: results.EvaluationSoFar) -> Iterator[AnyBlock]:
    yield facts("so far", counted(value.tasks, "task") + " an arm")
    columns = (
        Column(key="arm", title="arm", kind="name"),
        _DONE,
        Column(key="right", title="right", kind="number", drop=3),
        Column(key="accuracy", title="accuracy", kind="share", digits=1, bar=1.0, drop=1),
    )
    rows = [
        Row(cells=(arm.name, arm.answered, arm.right, arm.right / arm.answered if arm.answered else None))
        for arm in value.arms
    ]
    yield Table(columns=columns, rows=tuple(rows))


@viewed.register
def _(value: results.AtlasSoFar) -> Iterator[AnyBlock]:
    yield facts(
        f"so far {value.documents:,} of {counted(value.of, 'document')}", counted(value.tokens, "position"), value.name
    )
    columns = (
        Column(key="neuron", title="largest in its layer", kind="name"),
        Column(key="peak", title="peak", kind="signed", digits=2, drop=1),
    )
    rows = [
        Row(cells=(str(layer.neuron), layer.peak), stands_for=StandsFor("neuron", str(layer.neuron)))
        for layer in value.layers
    ]
    yield Table(columns=columns, rows=tuple(rows))


@viewed.register
def _(value: results.SweepSoFar) -> Iterator[AnyBlock]:
    yield facts(f"so far {value.done:,} of {counted(value.of, 'cell')}")
    selections = dict.fromkeys(point.selection for point in value.points)
    lines = [
        Line(name=name, points=tuple((each.multiplier, each.height) for each in value.points if each.selection == name))
        for name in selections
    ]
    if any(len(line.points) > 1 for line in lines):
        yield Curve(title=value.measured, x="multiplier", lines=tuple(lines))
    columns = (
        Column(key="selection", title="selection", kind="name"),
        Column(key="multiplier", title="at", kind="multiple"),
        Column(key="prompts", title="prompts", kind="number", drop=1),
        Column(key="height", title="p", kind="number", digits=3, bar=1.0, drop=2),
    )
    rows = [Row(cells=(each.selection, each.multiplier, each.prompts, each.height)) for each in value.points]
    yield Table(columns=columns, rows=tuple(rows))
