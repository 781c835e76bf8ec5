"""Changes of weights: the results of `edits`, `undo`, `redo`, `inspect`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.edits.findings import EditedMatrix, EditedNeuron
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, facts, fitted, inline, percent, quoted, signed

#: Below which the edit in the weights and the edit as hooks are the same.
SAME = 1e-5


@shown.register
def _(value: results.EditsShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if value.done:
        yield Line(f"{value.done}: {inline(', '.join(value.named))}", overflow="fold")
    if value.rows:
        yield _ledger(value, sheet)
    else:
        yield parts.dim(Line("no edit is applied"))
    if value.undone:
        yield parts.dim(Line(f"redo brings back {inline(', '.join(value.undone))}", overflow="fold"))


def _ledger(value: results.EditsShown, sheet: parts.Sheet) -> RenderableType:
    table = parts.table(sheet, ">#", "", "edit", "by", ">norm", "what")
    for row in value.rows:
        norm = MISSING if row.norm is None else f"{row.norm:.4g}"
        names = [parts.cell(fitted(inline(text), 24)) for text in (row.name, row.verb)]
        line = [str(row.number), "on" if row.on else "off", *names, norm, parts.cell(inline(row.about))]
        table.add_row(*line, style="" if row.on else "dim")
    return table


@shown.register
def _(value: results.EditInspected, sheet: parts.Sheet) -> Iterator[RenderableType]:
    place = f"number {value.number}, {'on' if value.on else 'off'}" if value.number else "not applied"
    said = [f"edit {inline(value.name)}", inline(value.verb), inline(value.about), place, inline(value.model)]
    yield facts([*said, f"norm {value.norm:.4g}"], sheet.width)
    if value.command:
        yield parts.dim(Line(inline(value.command), overflow="fold"))
    if value.facts:
        yield parts.pairs({f"  {inline(name)}": text for name, text in value.facts.items()})
    if value.neurons:
        yield _parts(value, sheet)
        yield _pushes(value, sheet)
        if value.total > len(value.neurons):
            yield parts.dim(Line(f"{value.total - len(value.neurons):,} more neurons: inspect --rows N"))
    if len(value.tokens) > 1 and value.total > 1:
        counted = [f"{quoted(token)} {count:,}" for token, count in value.tokens]
        yield facts([f"pushed most by {value.total:,} neurons: {counted[0]}", *counted[1:]], sheet.width)
    if value.matrices:
        yield _matrices(value.matrices, sheet)
    if value.apart is not None:
        mark = "✓" if value.apart <= SAME else "!"
        yield Line(f"{mark} as weights and as hooks the prompt's logits are {value.apart:.1e} apart, of the largest")


def _parts(value: results.EditInspected, sheet: parts.Sheet) -> RenderableType:
    """Each row and column of each neuron: how long, how far turned, and what the rows read."""
    table = parts.table(sheet, "neuron", "part", ">before", ">after", ">cos", "reads", "in the stream")
    for neuron in value.neurons:
        for number, part in enumerate(neuron.parts):
            table.add_row(
                "" if number else str(neuron.neuron),
                part.part,
                f"{part.before:.3g}",
                f"{part.after:.3g}",
                MISSING if part.cosine is None else signed(part.cosine, 2),
                parts.cell(" ".join(map(quoted, part.embeddings))),
                parts.cell(" ".join(map(quoted, part.stream))),
            )
    return table


def _pushes(value: results.EditInspected, sheet: parts.Sheet) -> RenderableType:
    """What each neuron's column pushes, and how much it is of one token."""
    table = parts.table(sheet, "neuron", ">share", ">cos 1st", ">2nd", "pushes up", "pushes down")
    for each in value.neurons:
        table.add_row(
            str(each.neuron),
            percent(each.share),
            *_cosines(each),
            parts.cell(" ".join(map(quoted, each.up))),
            parts.cell(" ".join(map(quoted, each.down))),
        )
    return table


def _cosines(each: EditedNeuron) -> tuple[str, str]:
    first, second = (signed(cosine, 2) for cosine in each.cosines[:2]) if each.cosines else (MISSING, MISSING)
    return first, second


def _matrices(matrices: tuple[EditedMatrix, ...], sheet: parts.Sheet) -> RenderableType:
    table = parts.table(sheet, "matrix", "", ">dims", ">variance gone", ">norm of change")
    added = all(each.kind == "added" for each in matrices)
    if added:
        table = parts.table(sheet, "matrix", "", ">rank", ">of its norm", ">norm of change")
    for each in matrices:
        gone = percent(each.share) if added or each.kind != "added" else MISSING
        table.add_row(parts.cell(inline(each.where)), inline(each.kind), f"{each.dims:,}", gone, f"{each.change:.4g}")
    return table
