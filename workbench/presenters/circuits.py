"""Circuits: the results of `discover`, `verify`, `neurons`, `keep`, `drop`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit
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

#: Neurons that a discovery and a verification list.
STRONGEST = 10
#: Columns from which a table of neurons has room for what an atlas says, and from which for that and all else.
_MAPPED, _ROOMY = 76, 120


@shown.register
def _(value: results.Discovered, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield parts.circuit(value.circuit, sheet, of=value.candidates, took=duration(sheet.seconds))
    yield from _agreement(value.agreement, sheet)
    if sheet.alone and len(value.circuit):
        yield _strongest(value.circuit, sheet)
        if len(value.circuit) > STRONGEST:
            yield parts.dim(Line(f"the {STRONGEST} strongest; neurons shows them all"))


def _strongest(circuit: Circuit, sheet: parts.Sheet) -> RenderableType:
    """The first neurons of a circuit. A column of what is not known of any of them is left out."""
    neurons = circuit.top(STRONGEST)
    placed = any(neuron.position is not None for neuron in neurons)
    measured = any(neuron.effect is not None for neuron in neurons)
    where, effect = (">pos", "token") if placed else (), (">effect",) if measured else ()
    table = parts.table(sheet, ">L", ">N", *where, ">attr", *effect, ">share", ">act")
    for neuron in neurons:
        token = circuit.token(neuron.position)
        at = (parts.position(neuron), parts.cell(fitted(quoted(token), 14) if token else MISSING))
        table.add_row(
            str(neuron.layer),
            str(neuron.index),
            *(at if placed else ()),
            signed(neuron.attribution),
            *([signed(neuron.effect)] if measured else []),
            percent(circuit.share(neuron), sign=True),
            signed(neuron.activation, 2),
        )
    return table


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
    mapped = sheet.width >= _MAPPED and any(row.peak is not None for row in value.rows)
    roomy = not mapped or sheet.width >= _ROOMY
    effect = (">effect",) if measured else ()
    corpus = () if not mapped else (">peak", "woken by", ">fires") if roomy else (">peak", "woken by")
    pushes = ("pushes up", "pushes down") if roomy else ("pushes up",)
    table = parts.table(sheet, ">L", ">N", ">pos", "token", ">attr", *effect, ">share", ">act", *corpus, *pushes)
    for row in value.rows:
        neuron = row.neuron
        table.add_row(
            str(neuron.layer),
            str(neuron.index),
            parts.position(neuron),
            parts.cell(fitted(quoted(row.token), 14 if roomy else 10) if row.token else MISSING),
            signed(neuron.attribution),
            *([signed(neuron.effect)] if measured else []),
            percent(row.share, sign=True),
            signed(neuron.activation, 2),
            *_over_corpus(row)[: len(corpus)],
            *(parts.cell(" ".join(map(quoted, each))) for each in (row.up, row.down)[: len(pushes)]),
        )
    yield table
    if mapped:
        yield parts.dim(facts(_corpus(value, roomy), sheet.width))
    if len(value.rows) < value.total:
        yield parts.dim(Line(f"{len(value.rows):,} of {value.total:,} neurons"))


def _over_corpus(row: results.NeuronRow) -> tuple[Line | str, ...]:
    """A neuron's strongest activation over a corpus, the token it was at, and how often it fires."""
    if row.peak is None:
        return MISSING, parts.cell(MISSING), MISSING
    return signed(row.peak.value, 2), parts.cell(fitted(quoted(row.peak.token), 12)), percent(row.rate)


def _corpus(value: results.NeuronTable, rates: bool) -> Iterator[str]:
    """What the columns of the atlas are."""
    yield f"atlas {inline(value.atlas)}, {inline(value.corpus)}"
    yield "peak: strongest activation there, at the token that woke it"
    if rates:
        yield "fires: share of positions at which it does"


@shown.register
def _(value: results.Narrowed, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield parts.circuit(value.circuit, sheet, of=value.before)


def _agreement(found: Agreement | None, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if found is not None:
        r, rank = signed(found.pearson, 2), signed(found.spearman, 2)
        same = f"same sign {percent(found.same_sign)}"
        yield facts(["attribution and exact effect", f"r {r}", f"rank {rank}", same], sheet.width)
