"""A table as lines of a terminal, never wider than it.

On a narrow terminal, bars are dropped first, then columns in the order of `Column.drop`. Before a column is dropped,
texts are cut to `_LEAST` cells, and texts that fold are narrowed to `_FOLDED`. A key column is never dropped or cut: a
name wider than its column continues on the next line. Numbers are never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from sessions.views.blocks import NUMBERS, Cell, Column, Row, Table
from sessions.views.writing import bar, inline, plain, written
from workbench.writing import around, facts, fitted

#: The least cells of a text, of one that folds, of a context, and of a name, before a column is dropped.
_LEAST, _FOLDED, _CONTEXT, _NAME = 10, 20, 14, 32
#: The most cells of a text when rows stand side by side.
_ABREAST = 24
#: The most cells of a title over numbers, before it continues on the next line.
_TITLE = 12
#: The least and the most cells of a bar.
_BARS = (4, 24)
#: The width from which columns are two cells apart.
_WIDE = 100


class _Drawn(NamedTuple):
    """A column with its cells as text, and its full width."""

    column: Column
    place: int
    title: str
    cells: tuple[str, ...]
    bars: tuple[float | None, ...]
    whole: int

    @property
    def key(self) -> bool:
        return self.column.drop is None

    def least(self, width: int) -> int:
        """The least width; with less, the column is dropped."""
        if self.column.kind in NUMBERS:
            return max(min(cell_len(self.title), _TITLE), *map(cell_len, self.cells), 1)
        if self.key:
            return min(self.whole, max(_NAME, width // 2))
        least = _CONTEXT if self.column.kind == "context" else _FOLDED if self.column.folds else _LEAST
        return min(self.whole, max(least, cell_len(self.title)))


def table(block: Table, width: int) -> Iterator[RenderableType]:
    """The rows with as many columns as fit, the meaning of short titles, and the note."""
    layout = TableLayout(block, width)
    if block.title:
        yield Text(inline(block.title), style="dim", overflow="fold")
    if block.abreast and (across := _across(layout.kept, width, layout.gap)) > 1:
        yield _abreast(layout.kept, len(block.rows), across, layout.gap)
    else:
        yield layout.grid(range(len(block.rows)), headed=True)
    yield from layout.remarks()


class TableLayout:
    """A table at a width: which columns are shown, and how wide each is. Rows are then drawn one by one or together.

    `marked` names the column that the rows are sorted by, with the mark that is written behind its title.
    """

    def __init__(self, block: Table, width: int, marked: tuple[int, str] | None = None) -> None:
        self.block, self.width = block, width
        self.gap = 2 if width >= _WIDE else 1
        self._columns = [_drawn(block, at, marked) for at in range(len(block.columns))]
        self.kept = fitting(self._columns, width, self.gap)
        self._widths = _widths(self.kept, width, self.gap)

    def grid(self, rows: Sequence[int], headed: bool = False) -> RenderableType:
        """Some rows; under the titles if `headed`."""
        return _grid(self.block.rows, rows, self.kept, self._widths, self.width, self.gap, headed)

    def line(self, at: int) -> str | None:
        """A row as one line, as `grid` draws it; None if a cell of it takes several lines."""
        barred, bars = _barred(self.kept, self._widths, self.width, self.gap)
        cells: list[str] = []
        for number, (each, wide) in enumerate(zip(self.kept, self._widths, strict=True)):
            text = _cell(each, self.block.rows[at].cells[each.place], at, wide, self.width)
            blank = wide - cell_len(text)
            if blank < 0 or not text.isprintable():
                return None
            cells.append(" " * blank + text if each.column.kind in NUMBERS else text + " " * blank)
            if bars and number in barred:
                drawn = bar(each.bars[at], bars)
                cells.append(drawn + " " * (bars - cell_len(drawn)))
        return (" " * self.gap).join(cells)

    def column_at(self, cell: int) -> int | None:
        """The number of the column at a cell of a row, in the block's order; None to the right of all."""
        left = 0
        for drawn, width in zip(self.kept, self._widths, strict=True):
            left += width + self.gap
            if cell < left:
                return drawn.place
        return None

    def remarks(self) -> Iterator[Text]:
        """The lines below the rows: columns without room, the meaning of short titles, and the note."""
        gone = [inline(each.column.title or each.column.key) for each in self._columns if each not in self.kept]
        if gone:
            yield Text(fitted(f"no room for: {', '.join(gone)}", self.width), style="dim")
        about = [f"{inline(each.title)}: {inline(each.column.about)}" for each in self.kept if each.column.about]
        note = inline(self.block.note)
        for line in ([facts(about, self.width)] if about else []) + ([facts([note], self.width)] if note else []):
            line.stylize("dim")
            yield line


def _drawn(block: Table, at: int, sorted_by: tuple[int, str] | None = None) -> _Drawn:
    column = block.columns[at]
    marks = at == next((n for n, each in enumerate(block.columns) if each.drop is None), 0)
    cells = tuple(_marked(row, at, column) if marks else written(row.cells[at], column) for row in block.rows)
    title = inline(column.title) + (sorted_by[1] if sorted_by is not None and sorted_by[0] == at else "")
    numbers = [row.cells[at] for row in block.rows] if column.bar > 0 else []
    bars = tuple(abs(value) / column.bar if isinstance(value, int | float) else None for value in numbers)
    return _Drawn(column, at, title, cells, bars, max(map(cell_len, (title, *cells))))


def _marked(row: Row, at: int, column: Column) -> str:
    text = written(row.cells[at], column)
    return f"{inline(row.mark)} {text}" if row.mark else text


def fitting(columns: Sequence[_Drawn], width: int, gap: int) -> list[_Drawn]:
    """The columns that fit, after dropping others in their order."""
    kept = list(columns)
    while _sum([each.least(width) for each in kept], gap) > width:
        going = min((each for each in kept if not each.key), key=lambda each: each.column.drop or 0, default=None)
        if going is None:
            break
        kept = [each for each in kept if each.column.drop != going.column.drop]
    return kept


def _sum(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * max(0, len(widths) - 1)


def _widths(kept: Sequence[_Drawn], width: int, gap: int) -> list[int]:
    """The width of each column: the least that it needs, then a share of the remaining room."""
    widths = [each.least(width) for each in kept]
    over = _sum(widths, gap) - width
    for at, each in enumerate(kept):  # key columns alone can be too wide: then names continue on the next line
        if over > 0 and each.column.kind not in NUMBERS:
            taken = min(over, widths[at] - min(widths[at], 8))
            widths[at] -= taken
            over -= taken
    barred = sum(bool(each.bars) for each in kept)
    kept_for_bars = barred * (_BARS[0] + 2 + gap)  # texts do not grow over the bars
    left = max(0, -over - (kept_for_bars if -over >= kept_for_bars else 0))
    # Names first, then texts, those that need least first: so as many as possible are whole.
    order = sorted(range(len(kept)), key=lambda at: (not kept[at].key, kept[at].whole))
    for number, at in enumerate(order):
        share = left if kept[at].key else left // (len(order) - number)
        more = min(share, kept[at].whole - widths[at])
        if more > 0:
            widths[at] += more
            left -= more
    for at in reversed(order):
        more = min(left, kept[at].whole - widths[at])
        if more > 0:
            widths[at] += more
            left -= more
    return widths


def _across(kept: Sequence[_Drawn], width: int, gap: int) -> int:
    """How many rows fit side by side."""
    row = _sum(_abreast_widths(kept), gap)
    return (width + 2 * gap + 1) // (row + 2 * gap + 1)


def _abreast_widths(kept: Sequence[_Drawn]) -> list[int]:
    return [each.whole if each.key or each.column.kind in NUMBERS else min(each.whole, _ABREAST) for each in kept]


def _abreast(kept: Sequence[_Drawn], count: int, across: int, gap: int) -> RenderableType:
    """The rows side by side in several columns, read downwards."""
    grid = Grid(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
    widths = _abreast_widths(kept)
    down = -(-count // across)
    for start in range(0, count, down or 1):
        if start:
            grid.add_column("", width=1)
        for each, wide in zip(kept, widths, strict=True):
            numeric = each.column.kind in NUMBERS
            grid.add_column(Text(each.title), justify="right" if numeric else "left", width=wide)
    for row in range(down):
        cells: list[str] = []
        for at in range(row, count, down):
            cells += [*([""] if at != row else []), *map(fitted, (each.cells[at] for each in kept), widths)]
        grid.add_row(*map(Text, cells))
    return grid


def _grid(
    rows: Sequence[Row],
    wanted: Sequence[int],
    kept: Sequence[_Drawn],
    widths: Sequence[int],
    width: int,
    gap: int,
    headed: bool,
) -> RenderableType:
    headed = headed and any(each.title for each in kept)
    grid = Grid(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim", show_header=headed)
    barred, bars = _barred(kept, widths, width, gap)
    for at, each in enumerate(kept):
        numeric = each.column.kind in NUMBERS
        title = Text(each.title if each.key or numeric else fitted(each.title, widths[at]), overflow="fold")
        grid.add_column(title, justify="right" if numeric else "left", width=widths[at], overflow="fold")
        if bars and at in barred:
            grid.add_column("", width=bars, no_wrap=True)
    for at in wanted:
        cells: list[Text] = []
        for number, each in enumerate(kept):
            text = _cell(each, rows[at].cells[each.place], at, widths[number], width)
            cells.append(Text(text, overflow="fold"))
            if bars and number in barred:
                cells.append(Text(bar(each.bars[at], bars)))
        grid.add_row(*cells)
    return grid


def _barred(kept: Sequence[_Drawn], widths: Sequence[int], width: int, gap: int) -> tuple[list[int], int]:
    """The columns with bars, and the cells of each bar; 0 if there is no room for them."""
    barred = [at for at, each in enumerate(kept) if each.bars]
    room = (width - _sum(widths, gap)) // len(barred) - gap if barred else 0
    return barred, min(room, _BARS[1]) if room >= _BARS[0] else 0


def _cell(each: _Drawn, cell: Cell, at: int, wide: int, width: int) -> str:
    """The text of a row's cell in a column of `wide` cells. Whole and folding texts may be longer."""
    if each.column.folds or (each.column.whole and width >= _WIDE):
        return plain(str(cell or ""))
    if each.column.kind == "context" and isinstance(cell, tuple):
        before, token, after = cell
        return around(before, token, after, wide)
    return each.cells[at] if each.key or each.column.kind in NUMBERS else fitted(each.cells[at], wide)
