"""What is in an edit: the result of `inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.edits.findings import DeltaPart, DeltaPush, EditedMatrix, EditedNeuron, NeuronDelta
from sessions.model.units import Neuron
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, facts, inline, percent, quoted, signed

#: Below which the edit in the weights and the edit as hooks are the same.
SAME = 1e-5


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
    yield from _change(value, sheet)
    if value.matrices:
        yield _matrices(value.matrices, sheet)
        if any(each.directions for each in value.matrices):
            yield _directions(value.matrices, sheet)
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


def _change(value: results.EditInspected, sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The change of the neurons alone: how large, what it reads, what it pushes."""
    if value.delta:
        sizes = [f"{part.part} {part.norm:.3g}{_of_before(part)}" for part in value.delta if part.norm]
        held = [f"{percent(value.delta_top10)} of it in 10 neurons"] if value.total > 10 and value.delta_top10 else []
        yield facts(["the change alone", *(sizes or ["none"]), *held], sheet.width)
    deltas = [(each.neuron, each.delta) for each in value.neurons if each.delta is not None]
    if deltas:
        yield _changed_parts(deltas, sheet)
    pushes = [(str(neuron), delta.push) for neuron, delta in deltas if delta.push is not None]
    if pushes:
        yield _pushed(pushes, "change of", sheet)
    if len(value.delta_tokens) > 1 and value.total > 1:
        counted = [f"{quoted(token)} {count:,}" for token, count in value.delta_tokens]
        yield facts([f"pushed most by {value.total:,} changes: {counted[0]}", *counted[1:]], sheet.width)


def _of_before(part: DeltaPart) -> str:
    return "" if part.relative is None else f" (×{part.relative:.3g} of before)"


def _changed_parts(deltas: Sequence[tuple[Neuron, NeuronDelta]], sheet: parts.Sheet) -> RenderableType:
    table = parts.table(sheet, "change of", "part", ">norm", ">/ before", "reads", "in the stream")
    for neuron, delta in deltas:
        for number, part in enumerate(each for each in delta.parts if each.norm):
            table.add_row(
                "" if number else str(neuron),
                part.part,
                f"{part.norm:.3g}",
                MISSING if part.relative is None else f"{part.relative:.3g}",
                parts.cell(" ".join(map(quoted, part.embeddings))),
                parts.cell(" ".join(map(quoted, part.stream))),
            )
    return table


def _pushed(pushes: Sequence[tuple[str, DeltaPush]], of: str, sheet: parts.Sheet) -> RenderableType:
    """What changes push, and how much of it is of one token."""
    table = parts.table(sheet, of, "token", ">share", ">z", ">cos", "pushes up", "pushes down")
    for name, push in pushes:
        table.add_row(
            parts.cell(name),
            parts.cell(quoted(push.token)),
            percent(push.concentration),
            signed(push.z, 1),
            MISSING if push.cosine is None else signed(push.cosine, 2),
            parts.cell(" ".join(map(quoted, push.up))),
            parts.cell(" ".join(map(quoted, push.down))),
        )
    return table


def _directions(matrices: tuple[EditedMatrix, ...], sheet: parts.Sheet) -> RenderableType:
    """The strongest directions of each change: what it reads, and what it writes when it reads that."""
    table = parts.table(sheet, "direction of", ">share", ">size", "reads", "writes", ">z")
    for each in matrices:
        for number, along in enumerate(each.directions):
            push = along.push
            read = " ".join(map(str, along.reads)) or " ".join(map(quoted, along.stream or along.embeddings))
            pushed = "" if push is None else " ".join(map(quoted, push.up))
            table.add_row(
                parts.cell("" if number else inline(each.where)),
                percent(along.share),
                f"{along.size:.3g}",
                parts.cell(read or MISSING),
                parts.cell(pushed or " ".join(map(str, along.writes)) or MISSING),
                MISSING if push is None else signed(push.z, 1),
            )
    return table


def _matrices(matrices: tuple[EditedMatrix, ...], sheet: parts.Sheet) -> RenderableType:
    table = parts.table(sheet, "matrix", "", ">dims", ">variance gone", ">norm of change")
    added = all(each.kind == "added" for each in matrices)
    if added:
        table = parts.table(sheet, "matrix", "", ">rank", ">of its norm", ">norm of change")
    for each in matrices:
        gone = percent(each.share) if added or each.kind != "added" else MISSING
        table.add_row(parts.cell(inline(each.where)), inline(each.kind), f"{each.dims:,}", gone, f"{each.change:.4g}")
    return table
