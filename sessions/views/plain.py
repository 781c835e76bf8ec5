"""Blocks as plain data: rows, columns, CSV text.

    rows = to_rows(main_table(view(result)))      # [{"layer": 24, "index": 1005, …}, …]

Numbers stay numbers here: nothing is rounded or written as a percentage. `sessions.views.frames` makes pandas frames.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from sessions.errors import UsageError
from sessions.views.blocks import AnyBlock, Bars, Cell, Column, Curve, Heat, Row, Table
from sessions.views.writing import shortened


def tables(blocks: Iterable[AnyBlock]) -> tuple[Table, ...]:
    """The tables of a view, with its distributions, maps, and curves that have no table, as tables."""
    return tuple(found for block in blocks if (found := _as_table(block)) is not None)


def main_table(blocks: Iterable[AnyBlock]) -> Table:
    """The first table of a view.

    Raises:
        UsageError: it has no table.
    """
    found = tables(blocks)
    if not found:
        raise UsageError("this result has no table", "its fields are in the result itself")
    return found[0]


def to_rows(table: Table) -> list[dict[str, Cell]]:
    """A dictionary for each row, by column key."""
    keys = [column.key for column in table.columns]
    return [dict(zip(keys, row.cells, strict=True)) for row in table.rows]


def to_dict(table: Table) -> dict[str, list[Cell]]:
    """A list for each column, by its key."""
    return {column.key: [row.cells[at] for row in table.rows] for at, column in enumerate(table.columns)}


def to_csv(table: Table) -> str:
    """The table as CSV with a header of keys. Several tokens are joined by spaces; unknown cells are empty."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([column.key for column in table.columns])
    writer.writerows(
        [[" ".join(cell) if isinstance(cell, tuple) else cell for cell in row.cells] for row in table.rows]
    )
    return out.getvalue()


def _as_table(block: AnyBlock) -> Table | None:
    match block:
        case Table():
            return block
        case Bars():
            return bars_table(block)
        case Curve(tabled=False):
            columns = (
                Column(key="line", title="line", kind="name"),
                Column(key="x", title=block.x, kind="number"),
                Column(key="y", title=block.title, kind="number"),
            )
            points = [Row(cells=(line.name, x, y)) for line in block.lines for x, y in line.points]
            return Table(title=block.title, columns=columns, rows=tuple(points))
        case Heat():
            columns = (
                Column(key="row", title="row", kind="name"),
                Column(key="column", title="column", kind="name"),
                Column(key="value", title=block.title, kind="number"),
            )
            named = [
                (name, dict(zip(block.columns, cells, strict=True)))
                for name, cells in zip(block.rows, block.cells, strict=True)
            ]
            rows = tuple(Row(cells=(name, column, value)) for name, cells in named for column, value in cells.items())
            return Table(title=block.title, columns=columns, rows=rows)
    return None


def bars_table(block: Bars) -> Table:
    """A distribution before and after as a table, with a row for each token."""
    before, after = (shortened(name, 24) for name in block.names)
    columns = (
        Column(key="token", title=block.title, kind="token"),
        Column(key="before", title=before, kind="number", digits=3, bar=1.0, drop=3),
        Column(key="after", title=after, kind="number", digits=3, bar=1.0, drop=3),
        Column(key="change", title="change", kind="signed", drop=2),
        Column(key="role", title="", drop=1),
    )
    rows = tuple(
        Row(cells=(each.token, each.before, each.after, each.after - each.before, each.role)) for each in block.bars
    )
    return Table(columns=columns, rows=rows)
