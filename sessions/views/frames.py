"""Tables as `pandas.DataFrame`s.

    frame = to_pandas(chosen(all_tables(result), None))     # result.to_pandas()

A column of numbers has a number type even where cells are unknown: whole numbers then become pandas' `Int64`, others
NaN. A cell of several tokens stays a tuple of texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sessions.errors import UsageError
from sessions.events import Value
from sessions.views import view
from sessions.views.blocks import NUMBERS, Cell, Column, Table
from sessions.views.plain import tables
from sessions.views.registry import whole
from sessions.views.writing import counted, shortened

if TYPE_CHECKING:
    from pandas import DataFrame

#: What verbs select by name; the column of these names is called `unit`.
_UNITS = ("neuron", "head", "expert")
#: Most characters of a table's name in an error.
_NAME = 60


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
    key = "unit" if kinds.issubset(_UNITS) else kinds.pop().replace(" ", "_") if len(kinds) == 1 else "name"
    taken = {column.key for column in table.columns}
    key = next(each for each in (key, "name", f"{key}_name") if each not in taken)
    return {key: _series(pandas, Column(key=key, title=key), names)}
