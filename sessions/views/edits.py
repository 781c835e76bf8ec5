"""Changes of weights: `edits`, `undo`, `redo`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import AnyBlock, Column, Note, Row, StandsFor, Table
from sessions.views.registry import viewed


@viewed.register
def _(value: results.EditsShown) -> Iterator[AnyBlock]:
    if value.done:
        yield Note(text=f"{value.done}: {', '.join(value.named)}")
    if value.rows:
        yield _ledger(value)
    else:
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
