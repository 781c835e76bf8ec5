"""Weight edits: `edits`, `undo`, `redo`, and the contents of one: `inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sessions import results
from sessions.edits.findings import DeltaPart, DeltaPush, EditedMatrix, EditedNeuron, NeuronDelta
from sessions.model.units import Unit
from sessions.views.blocks import AnyBlock, Column, Fact, Facts, Note, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import percent, quoted


@viewed.register
def _(value: results.EditsShown) -> Iterator[AnyBlock]:
    if value.done:
        yield Note(text=f"{value.done}: {', '.join((*value.lines, *value.named))}")
    if value.rows:
        yield _ledger(value)
    elif not value.lines:
        yield Note(text="no edit is applied")
    if value.undone:
        yield Note(text=f"redo brings back {', '.join(value.undone)}")


def _ledger(value: results.EditsShown) -> Table:
    columns = (
        Column(key="number", title="#", kind="index"),
        Column(key="state", title="", drop=4),
        Column(key="name", title="edit", kind="name"),
        Column(key="verb", title="by", drop=2),
        Column(key="norm", title="norm", kind="number", drop=3),
        Column(key="about", title="what", drop=1),
    )
    rows = tuple(
        Row(
            cells=(row.number, "on" if row.on else "off", row.name, row.verb, row.norm, row.about),
            stands_for=StandsFor("edit", row.name),
        )
        for row in value.rows
    )
    return Table(columns=columns, rows=rows)


#: Up to this difference, the edit in the weights and the edit as hooks count as the same.
SAME = 1e-5

_NEURON = Column(key="neuron", title="neuron", kind="name")
_PART = Column(key="part", title="part", kind="name")
#: Columns for what a row of weights reads.
_READS = (
    Column(key="reads", title="reads", kind="token", drop=5, about="tokens whose embedding lies most along it"),
    Column(key="stream", title="logit lens", kind="token", drop=1, about="tokens that a stream along it predicts"),
)
_PUSHES = (
    Column(key="up", title="pushes up", kind="token", drop=5),
    Column(key="down", title="pushes down", kind="token", drop=1),
)


@viewed.register
def _(value: results.EditInspected) -> Iterator[AnyBlock]:
    place = f"number {value.number}, {'on' if value.on else 'off'}" if value.number else "not applied"
    yield facts(f"edit {value.name}", value.verb, value.about, place, value.model, f"norm {value.norm:.4g}")
    if value.command:
        yield Note(text=value.command)
    if value.facts:
        yield Facts(items=tuple(Fact(text, name) for name, text in value.facts.items()))
    if value.neurons:
        yield _parts(value.neurons)
        yield _pushes(value)
    yield from _counted(f"pushed most by {value.total:,} neurons", value.tokens, value)
    yield from _change(value)
    if value.matrices:
        yield _matrices(value.matrices)
        if any(each.directions for each in value.matrices):
            yield _directions(value.matrices)
    if value.apart is not None:
        mark = "✓" if value.apart <= SAME else "!"
        apart = f"as weights and as hooks, the prompt's logits differ by {value.apart:.1e} of the largest"
        yield Note(text=f"{mark} {apart}")


def _of(neuron: Unit) -> StandsFor:
    return StandsFor("neuron", str(neuron))


def _parts(neurons: Sequence[EditedNeuron]) -> Table:
    """Each row and column of each neuron: its norm, how far it turned, and what the rows read."""
    columns = (
        _NEURON,
        _PART,
        Column(key="before", title="before", kind="number", drop=3),
        Column(key="after", title="after", kind="number", drop=4),
        Column(key="cosine", title="cos", kind="signed", digits=2, drop=2),
        *_READS,
    )
    rows = []
    for each in neurons:
        for part in each.parts:
            numbers = (part.before, part.after, part.cosine)
            cells = (str(each.neuron), part.part, *numbers, part.embeddings, part.stream)
            rows.append(Row(cells=cells, stands_for=_of(each.neuron)))
    return Table(title="rows and columns", columns=columns, rows=tuple(rows))


def _pushes(value: results.EditInspected) -> Table:
    """The tokens that each neuron's column pushes, and how far the first one dominates."""
    columns = (
        _NEURON,
        Column(
            key="share",
            title="share",
            kind="share",
            drop=4,
            about="probability of the first token, from the column alone",
        ),
        Column(
            key="cosine",
            title="cos 1st",
            kind="signed",
            digits=2,
            drop=3,
            about="cosine with the first token's unembedding",
        ),
        Column(key="second", title="2nd", kind="signed", digits=2, drop=2),
        *_PUSHES,
    )
    rows = []
    for each in value.neurons:
        first, second = (*each.cosines, None, None)[:2]
        cells = (str(each.neuron), each.share, first, second, each.up, each.down)
        rows.append(Row(cells=cells, stands_for=_of(each.neuron)))
    more = value.total - len(value.neurons)
    return Table(
        title="what the columns push",
        columns=columns,
        rows=tuple(rows),
        note=f"{more:,} more neurons: inspect --rows N" if more > 0 else "",
    )


def _counted(head: str, tokens: Sequence[tuple[str, int]], value: results.EditInspected) -> Iterator[AnyBlock]:
    """Tokens by how many neurons push each of them most, where there are several tokens and neurons."""
    if len(tokens) > 1 and value.total > 1:
        first, *others = (f"{quoted(token)} {count:,}" for token, count in tokens)
        yield facts(f"{head}: {first}", *others)


def _change(value: results.EditInspected) -> Iterator[AnyBlock]:
    """The change of the neurons: how large it is, what it reads, what it pushes."""
    if value.delta:
        sizes = [f"{part.part} {part.norm:.3g}{_of_before(part)}" for part in value.delta if part.norm]
        concentrated = value.total > 10 and value.delta_top10
        held = f"{percent(value.delta_top10)} of it in 10 neurons" if concentrated else ""
        yield facts("weight change", *(sizes or ["none"]), held)
    deltas = [(each.neuron, each.delta) for each in value.neurons if each.delta is not None]
    if deltas:
        yield _changed_parts(deltas)
    pushes = [(neuron, delta.push) for neuron, delta in deltas if delta.push is not None]
    if pushes:
        yield _pushed(pushes)
    yield from _counted(f"pushed most by {value.total:,} changes", value.delta_tokens, value)


def _of_before(part: DeltaPart) -> str:
    return "" if part.relative is None else f" (×{part.relative:.3g} of the original)"


def _changed_parts(deltas: Sequence[tuple[Unit, NeuronDelta]]) -> Table:
    """The size of each row's and column's change, and what the change of a row reads."""
    columns = (
        _NEURON,
        _PART,
        Column(key="norm", title="norm", kind="number", drop=4),
        Column(key="relative", title="/ before", kind="number", drop=3),
        *_READS,
    )
    rows = [
        Row(
            cells=(str(neuron), part.part, part.norm, part.relative, part.embeddings, part.stream),
            stands_for=_of(neuron),
        )
        for neuron, delta in deltas
        for part in delta.parts
        if part.norm
    ]
    return Table(title="change of rows and columns", columns=columns, rows=tuple(rows))


def _pushed(pushes: Sequence[tuple[Unit, DeltaPush]]) -> Table:
    """The tokens that the changes of columns push, and how far the first one dominates."""
    columns = (
        _NEURON,
        Column(key="token", title="token", kind="token", drop=6),
        Column(key="share", title="share", kind="share", drop=3),
        Column(key="z", title="z", kind="signed", digits=1, drop=4),
        Column(key="cosine", title="cos", kind="signed", digits=2, drop=2),
        *_PUSHES,
    )
    rows = [
        Row(
            cells=(str(neuron), push.token, push.concentration, push.z, push.cosine, push.up, push.down),
            stands_for=_of(neuron),
        )
        for neuron, push in pushes
    ]
    return Table(title="what the change of the columns pushes", columns=columns, rows=tuple(rows))


_MATRIX = Column(key="matrix", title="matrix", kind="name")


def _matrices(matrices: Sequence[EditedMatrix]) -> Table:
    """A row for each matrix: what was removed or added, and how much that is."""
    added = all(each.kind == "added" for each in matrices)
    columns = (
        _MATRIX,
        Column(key="kind", title="", drop=3),
        Column(key="dims", title="rank" if added else "dims", kind="number", drop=2),
        Column(key="share", title="of its norm" if added else "variance removed", kind="share", drop=1),
        Column(key="change", title="norm of change", kind="number", drop=4),
    )
    rows = []
    for each in matrices:
        gone = each.share if added or each.kind != "added" else None
        rows.append(Row(cells=(each.where, each.kind, each.dims, gone, each.change)))
    return Table(columns=columns, rows=tuple(rows))


def _directions(matrices: Sequence[EditedMatrix]) -> Table:
    """The strongest directions of each change: what it reads, and what it writes when it reads that."""
    columns = (
        _MATRIX,
        Column(key="direction", title="#", kind="index"),
        Column(key="share", title="share", kind="share", drop=5),
        Column(key="size", title="size", kind="number", drop=2),
        Column(key="reads", title="reads", drop=3),
        Column(key="writes", title="writes", drop=4),
        Column(key="z", title="z", kind="signed", digits=1, drop=1),
    )
    rows = []
    for each in matrices:
        for number, along in enumerate(each.directions, 1):
            push = along.push
            reads = " ".join(map(str, along.reads)) or along.stream or along.embeddings
            pushed = push.up if push is not None else ()
            writes = pushed or " ".join(map(str, along.writes)) or None
            z = None if push is None else push.z
            rows.append(Row(cells=(each.where, number, along.share, along.size, reads, writes, z)))
    return Table(title="strongest directions of the change", columns=columns, rows=tuple(rows))
