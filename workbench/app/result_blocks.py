"""A result's view as paragraphs of a pane: statements and figures as lines, tables row by row.

Rows of tables, and lines of trees that stand for something, are the places of a pane's cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text
from textual.strip import Strip

from sessions.views import blocks
from sessions.views.markdown import table_markdown, to_markdown
from sessions.views.writing import inline, plain, written
from workbench.app.arm_texts import TextColumns, compared
from workbench.app.filtering import FilterColumn, parts
from workbench.app.scroll_pane import Paragraph
from workbench.app.wrapping import row, strips
from workbench.rendering.curve import curve
from workbench.rendering.tables import TableLayout
from workbench.rendering.terminal import DrawingArea, draw
from workbench.writing import fitted

#: Cells before a row: the cursor, the mark of the user, and a blank.
LEAD = 3
#: The user's mark before a row.
MARKED = "●"
#: The most rows of a table that are listed.
MOST_ROWS = 5000
#: The least and the most rows of a plot.
_PLOT = (6, 16)


class Shown(Paragraph):
    """A part of a result. `block` is what it shows; a place of the cursor has `stands_for`, or `stops` by itself."""

    stops = False
    stands_for: blocks.StandsFor | None = None

    def __init__(self, block: blocks.AnyBlock) -> None:
        self.block = block

    def copied(self) -> str:
        """What `y` copies: one row, or the text."""
        return "\n".join(line.text.rstrip() for line in self.lines(99))

    def markdown(self) -> str:
        """The whole block as Markdown."""
        return to_markdown([self.block])

    def says(self, text: str) -> bool:
        """Whether it has a text, in lower case."""
        return text in self.copied().casefold()


class DrawnBlock(Shown):
    """A block as the terminal draws it."""

    def __init__(self, block: blocks.AnyBlock, seconds: float = 0.0, apart: bool = False) -> None:
        super().__init__(block)
        self._seconds, self._apart = seconds, apart

    def drawn(self, width: int) -> Sequence[Strip]:
        place = DrawingArea(width, self._seconds)
        lines = [line for renderable in draw(self.block, place) for line in strips(renderable, width)]
        return [row(""), *lines] if self._apart and lines else lines


class Plot(Shown):
    """A curve in as many rows as suit the pane."""

    def __init__(self, block: blocks.Curve, rows: Callable[[], int]) -> None:
        super().__init__(block)
        self._rows = rows

    def stamp(self) -> object:
        return self._rows()

    def drawn(self, width: int) -> Sequence[Strip]:
        assert isinstance(self.block, blocks.Curve)
        rows = min(max(self._rows() // 2, _PLOT[0]), _PLOT[1])
        return [line for drawn in curve(self.block, width, rows) for line in strips(drawn, width)]


class SideBySide(Shown):
    """Several texts, with what differs marked, side by side where there is room."""

    def __init__(self, block: blocks.Texts) -> None:
        super().__init__(block)
        self._texts = TextColumns(compared(block))

    def drawn(self, width: int) -> Sequence[Strip]:
        return self._texts.drawn(width)

    def copied(self) -> str:
        assert isinstance(self.block, blocks.Texts)
        return "\n\n".join(f"{' · '.join(arm.facts)}\n{plain(arm.text)}" for arm in self.block.arms)


class BranchLine(Shown):
    """A line of a tree."""

    stops = True

    def __init__(self, block: blocks.Tree, number: int) -> None:
        super().__init__(block)
        self._branch = block.branches[number]
        self.stands_for = self._branch.stands_for

    def drawn(self, width: int) -> Sequence[Strip]:
        indent = "  " * min(self._branch.depth, width // 4)
        return [row(" " * LEAD, fitted(f"{indent}{inline(self._branch.text)}", max(width - LEAD, 1)))]

    def copied(self) -> str:
        return inline(self._branch.text)


class ResultTable:
    """A table whose rows are sorted, narrowed and marked.

    `sorted_by` is the number of a column and whether its largest comes first; None is the order of the result.
    """

    def __init__(self, block: blocks.Table) -> None:
        self.block = block
        self.sorted_by: tuple[int, bool] | None = None
        self.marks: set[int] = set()
        self.version = 0
        self._laid: tuple[object, TableLayout] | None = None
        self._rows = [TableRow(self, number) for number in range(min(len(block.rows), MOST_ROWS))]

    def layout(self, width: int) -> TableLayout:
        """The columns at a width."""
        key = (width, self.sorted_by)
        if self._laid is None or self._laid[0] != key:
            mark = None if self.sorted_by is None else (self.sorted_by[0], "▾" if self.sorted_by[1] else "▴")
            self._laid = key, TableLayout(self.block, max(width, 1), mark)
        return self._laid[1]

    def sort(self, column: int | None) -> None:
        """Sort by a column; the other way round if the rows are sorted by it already. None: the result's order."""
        if column is None:
            self.sorted_by = None
        elif self.sorted_by is not None and self.sorted_by[0] == column:
            self.sorted_by = column, not self.sorted_by[1]
        else:
            self.sorted_by = column, self.block.columns[column].kind in blocks.NUMBERS
        self.version += 1

    def arranged(self, passes: Callable[[TableRow], bool]) -> Iterator[Shown]:
        """The heading, the rows that pass, in their order, and the lines below them."""
        if self.block.title:
            yield DrawnBlock(blocks.Facts(items=(), title=self.block.title), apart=True)
        yield TableHeading(self)
        yield from (line for line in self._ordered() if passes(line))
        yield TableRemarks(self)

    def _ordered(self) -> Sequence[TableRow]:
        if self.sorted_by is None:
            return self._rows
        column, down = self.sorted_by
        known: list[TableRow] = []
        unknown: list[TableRow] = []
        for line in self._rows:
            cell = line.cells[column]
            (unknown if cell in (None, ()) or cell != cell else known).append(line)  # NaN is not equal to itself
        return [*sorted(known, key=lambda line: _sortable(line.cells[column]), reverse=down), *unknown]

    def numbers(self) -> list[FilterColumn]:
        """The columns of numbers, as a filter knows them."""
        return [
            FilterColumn(column.key, inline(column.title) or column.key, column.kind in ("share", "signed share"))
            for column in self.block.columns
            if column.kind in blocks.NUMBERS
        ]

    def filtered(self, text: str) -> tuple[Callable[[TableRow], bool], str]:
        """Whether a row passes a filter, and what is wrong with the filter."""
        wanted = parts(text, self.numbers())
        texts = [word.casefold() for word in (*wanted.quoted, *wanted.words)]
        places = {column.key: at for at, column in enumerate(self.block.columns)}

        def passes(line: TableRow) -> bool:
            compared = (each.holds(line.cells[places[each.key]]) for each in wanted.comparisons)
            return all(map(bool, compared)) and all(map(line.says, texts))

        return passes, wanted.wrong


def _sortable(cell: blocks.Cell) -> tuple[int, float, str]:
    if isinstance(cell, int | float):
        return 0, float(cell), ""
    return 1, 0.0, (" ".join(cell) if isinstance(cell, tuple) else str(cell)).strip().casefold()


class TableHeading(Shown):
    """The titles of a table's columns."""

    def __init__(self, table: ResultTable) -> None:
        super().__init__(table.block)
        self.table = table

    def stamp(self) -> object:
        return self.table.version

    def drawn(self, width: int) -> Sequence[Strip]:
        if not any(column.title for column in self.table.block.columns):
            return []
        return strips(self.table.layout(width - LEAD).grid((), headed=True), width, LEAD)

    def column_at(self, cell: int, width: int) -> int | None:
        """The number of the column whose title is at a cell."""
        return self.table.layout(width - LEAD).column_at(cell - LEAD)


class TableRow(Shown):
    """A row of a table."""

    stops = True

    def __init__(self, table: ResultTable, number: int) -> None:
        super().__init__(table.block)
        self.table, self.number = table, number
        data = table.block.rows[number]
        self.cells, self.stands_for = data.cells, data.stands_for

    @property
    def marked(self) -> bool:
        return self.number in self.table.marks

    def stamp(self) -> object:
        return self.table.version, self.marked

    def drawn(self, width: int) -> Sequence[Strip]:
        layout = self.table.layout(width - LEAD)
        line = layout.line(self.number)
        lines = [row(line)] if line is not None else strips(layout.grid([self.number]), width - LEAD)
        first = row(f" {MARKED} " if self.marked else " " * LEAD)
        return [Strip.join([row(" " * LEAD) if at else first, line]) for at, line in enumerate(lines)]

    def copied(self) -> str:
        return "\t".join(written(cell, column) for cell, column in zip(self.cells, self.block.columns, strict=True))  # type: ignore[union-attr]

    def markdown(self) -> str:
        return table_markdown(self.table.block)


class TableRemarks(Shown):
    """The lines below a table's rows."""

    def __init__(self, table: ResultTable) -> None:
        super().__init__(table.block)
        self.table = table

    def drawn(self, width: int) -> Sequence[Strip]:
        lines: list[RenderableType] = [*self.table.layout(width - LEAD).remarks()]
        more = len(self.table.block.rows) - MOST_ROWS
        if more > 0:
            lines.append(Text(f"and {more:,} more rows: narrow the command, or export", style="dim"))
        return [line for drawn in lines for line in strips(drawn, width, LEAD)]


def shown(of: Sequence[blocks.AnyBlock], seconds: float, rows: Callable[[], int]) -> list[Shown | ResultTable]:
    """The paragraphs of a view, with its tables as wholes. `rows` returns the height of the pane."""
    parts: list[Shown | ResultTable] = []
    for block in of:
        match block:
            case blocks.Table():
                parts.append(ResultTable(block))
            case blocks.Texts(arms=arms) if len(arms) > 1:
                parts.append(SideBySide(block))
            case blocks.Curve():
                parts.append(Plot(block, rows))
            case blocks.Tree(branches=branches, title=title):
                parts += [DrawnBlock(blocks.Facts(items=(), title=title), apart=True)] if title else []
                parts += [BranchLine(block, number) for number in range(len(branches))]
            case _:
                apart = bool(parts) and isinstance(block, blocks.Facts | blocks.Bars | blocks.Note)
                parts.append(DrawnBlock(block, seconds, apart and isinstance(parts[-1], ResultTable | SideBySide)))
    return parts
