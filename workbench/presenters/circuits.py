"""Circuits: the results of `discover`, `verify`, `neurons`, `keep`, `drop`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.circuits.agreement import Agreement
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import (
    MISSING,
    aim,
    duration,
    facts,
    fitted,
    inline,
    percent,
    quoted,
    signed,
)

#: Neurons that a verification lists.
STRONGEST = 10


@shown.register
def _(value: results.Discovered, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield parts.circuit(value.circuit, sheet, of=value.candidates, took=duration(sheet.seconds))
    yield from _agreement(value.agreement, sheet)


@shown.register
def _(value: results.Verified, sheet: parts.Sheet) -> Iterator[RenderableType]:
    count = parts.counted(len(value.neurons), "neuron")
    aimed = f"{aim(value.circuit.target)} = {signed(value.value)}"
    yield facts(
        [f"verified {count}", f"each alone at {inline(value.held)}", aimed, duration(sheet.seconds)], sheet.width
    )
    yield from _agreement(value.agreement, sheet)
    table = parts.table(sheet, ">L", ">N", ">pos", "token", ">attr", ">effect", ">share")
    for neuron in sorted(value.neurons, key=lambda each: -abs(each.effect or 0.0))[:STRONGEST]:
        effect = neuron.effect or 0.0
        token = value.circuit.token(neuron.position)
        table.add_row(
            str(neuron.layer),
            str(neuron.index),
            parts.position(neuron),
            parts.cell(fitted(quoted(token), 14) if token else MISSING),
            signed(neuron.attribution),
            signed(effect),
            percent(effect / value.value if value.value else None, sign=True),
        )
    yield table
    if len(value.neurons) > STRONGEST:
        yield parts.dim(Line(f"the {STRONGEST} with the largest effects; neurons shows them all"))


@shown.register
def _(value: results.NeuronTable, sheet: parts.Sheet) -> Iterator[RenderableType]:
    measured = any(row.neuron.effect is not None for row in value.rows)
    effect = (">effect",) if measured else ()
    table = parts.table(
        sheet, ">L", ">N", ">pos", "token", ">attr", *effect, ">share", ">act", "pushes up", "pushes down"
    )
    for row in value.rows:
        neuron = row.neuron
        table.add_row(
            str(neuron.layer),
            str(neuron.index),
            parts.position(neuron),
            parts.cell(fitted(quoted(row.token), 14) if row.token else MISSING),
            signed(neuron.attribution),
            *([signed(neuron.effect)] if measured else []),
            percent(row.share, sign=True),
            signed(neuron.activation, 2),
            parts.cell(" ".join(map(quoted, row.up))),
            parts.cell(" ".join(map(quoted, row.down))),
        )
    yield table
    if len(value.rows) < value.total:
        yield parts.dim(Line(f"{len(value.rows):,} of {value.total:,} neurons"))


@shown.register
def _(value: results.Narrowed, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield parts.circuit(value.circuit, sheet, of=value.before)


def _agreement(found: Agreement | None, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if found is not None:
        r, rank = signed(found.pearson, 2), signed(found.spearman, 2)
        same = f"same sign {percent(found.same_sign)}"
        yield facts(["attribution and exact effect", f"r {r}", f"rank {rank}", same], sheet.width)
