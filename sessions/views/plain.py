"""Blocks as plain data: rows, columns, CSV text, a pandas frame.

    rows = to_rows(main_table(view(result)))              # [{"layer": 24, "index": 1005, …}, …]
    frame = to_pandas(chosen(all_tables(result), None))   # result.to_pandas()

Numbers stay numbers here: nothing is rounded or written as a percentage. A column of numbers of a frame has a number
type even where cells are unknown: whole numbers then become pandas' `Int64`, others NaN. A cell of several tokens stays
a tuple of texts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sessions.errors import UsageError
from sessions.events import Value
from sessions.views import view
from sessions.views.blocks import NUMBERS, UNITS, AnyBlock, Bars, Cell, Column, Curve, Heat, Row, Table
from sessions.views.registry import whole
from sessions.views.writing import counted, shortened

if TYPE_CHECKING:
    from pandas import DataFrame

#: Most characters of a table's name in an error.
_NAME = 60


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


def to_pandas(table: Table) -> DataFrame:
    """The table as a `pandas.DataFrame`: a column for each key, and one that names what the rows stand for.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")  # not a dependency of this package
    except ImportError as error:
        raise UsageError("pandas is not installed", "pip install 'neuron-workbench[notebook]'") from error
    columns = {
        column.key: _series(pandas, column, [row.cells[at] for row in table.rows])
        for at, column in enumerate(table.columns)
    }
    return pandas.DataFrame(_names(pandas, table) | columns)


def all_tables(value: Value) -> tuple[Table, ...]:
    """The tables of a result, with all rows even where its view lists the strongest alone."""
    return whole(value) or tables(view(value))


def chosen(found: Sequence[Table], table: int | str | None) -> Table:
    """One of the tables: the first, or the one with that number or title.

    Raises:
        UsageError: there is none; the error names those that there are.
    """
    if not found:
        raise UsageError("this result has no table", "to_text() shows what it has")
    if table is None:
        return found[0]
    if isinstance(table, int) and not isinstance(table, bool) and -len(found) <= table < len(found):
        return found[table]
    named = [each for each in found if isinstance(table, str) and table and table in (each.title, name_of(each))]
    if named:
        return named[0]
    names = "; ".join(f"{number} {shortened(name_of(each), _NAME)}" for number, each in enumerate(found))
    raise UsageError(f"this result has no table {table!r}", f"it has {counted(len(found), 'table')}: {names}")


def name_of(table: Table) -> str:
    """The title of a table or, without one, the keys of its first columns."""
    return table.title or ", ".join(column.key for column in table.columns[:3])


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


def _series(pandas: Any, column: Column, cells: Sequence[Cell]) -> Any:
    """A column with a type that fits all its cells."""
    known = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, int | float) for cell in known) and (known or column.kind in NUMBERS):
        if not known or not all(isinstance(cell, int) for cell in known):
            return pandas.Series(cells, dtype="float64")
        return pandas.Series(cells, dtype="int64" if len(known) == len(cells) else "Int64")
    return pandas.Series(cells, dtype=None if known and all(map(_is_text, known)) else object)


def _is_text(cell: Cell) -> bool:
    """Whether pandas' own type for texts can hold it; half of a surrogate pair it cannot."""
    if not isinstance(cell, str):
        return False
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _names(pandas: Any, table: Table) -> dict[str, Any]:
    """A column of what the rows stand for, unless a column has these names already."""
    names = [None if row.stands_for is None else row.stands_for.name for row in table.rows]
    kinds = {row.stands_for.kind for row in table.rows if row.stands_for is not None}
    if not kinds or any([row.cells[at] for row in table.rows] == names for at in range(len(table.columns))):
        return {}
    key = "unit" if kinds.issubset(UNITS) else kinds.pop().replace(" ", "_") if len(kinds) == 1 else "name"
    taken = {column.key for column in table.columns}
    key = next(each for each in (key, "name", f"{key}_name") if each not in taken)
    return {key: _series(pandas, Column(key=key, title=key), names)}
