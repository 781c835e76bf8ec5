"""`TablePane`: a pane of rows in columns; only visible rows are written.

Numbers are right-aligned and never cut. If there is no room, the least important columns are dropped first. Widths grow
with the rows seen so far and never shrink, so that columns stay in place while scrolling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip

from workbench.app.pane import WHEEL, Pane
from workbench.writing import fitted

#: The width from which columns stand two cells apart.
_ROOMY = 90
#: Cells before the first column: the cursor, the mark, and a blank.
_LEAD = 3


class TableColumn(NamedTuple):
    """A column. If not all fit, the one with the lowest `worth` is dropped first.

    A column of texts is `least` to `most` cells wide. A column of numbers has `most` 0.
    """

    key: str
    title: str
    worth: int
    least: int = 0
    most: int = 0


class TableCell(NamedTuple):
    """The content of a cell; `style` names one of the pane's component classes."""

    text: str
    style: str = ""


_NOTHING = TableCell("")


class TablePane(Pane):
    """A pane with a cursor on one of many rows."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--plain",
        "table--heading",
        "table--cursor",
        "table--cursor-blurred",
        "table--faint",
        "table--up",
        "table--down",
        "table--mark",
        "table--note",
    }
    DEFAULT_CSS = """
    TablePane {
        & > .table--heading { text-style: dim; }
        & > .table--cursor { text-style: reverse; }
        & > .table--cursor-blurred { text-style: bold; }
        & > .table--faint { text-style: dim; }
        & > .table--up { color: $text-success; }
        & > .table--down { color: $text-error; }
        & > .table--mark { color: $text-accent; text-style: bold; }
        & > .table--note { text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", id="table.up", show=False),
        Binding("down,j", "move(1)", "down", id="table.down", show=False),
        Binding("pageup", "page(-1)", "page up", id="table.page_up", show=False),
        Binding("pagedown", "page(1)", "page down", id="table.page_down", show=False),
        Binding("home,g", "first", "first row", id="table.first", show=False),
        Binding("end,G", "last", "last row", id="table.last", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.cursor = 0
        self._top = 0
        self._known: dict[int, Mapping[str, TableCell]] = {}
        self._widest: dict[str, int] = {}
        self._laid: tuple[tuple[TableColumn, int], ...] = ()
        self._gap = " "
        self._sampled = False

    # To override

    def count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def columns(self) -> Sequence[TableColumn]:
        """The columns that have content, left to right."""
        raise NotImplementedError

    def cells(self, number: int) -> Mapping[str, TableCell]:
        """The cells of a row by column."""
        raise NotImplementedError

    def marked(self, number: int) -> bool:
        """Whether a row is marked."""
        return False

    def title(self, column: TableColumn) -> str:
        """The heading of a column."""
        return column.title

    def note(self) -> str:
        """A line to show below the rows, or ''."""
        return ""

    def nothing(self) -> str:
        """What to show if there are no rows."""
        return ""

    def settled(self) -> None:
        """Called when the cursor may have moved."""

    def moving(self, act: Callable[[], None]) -> None:
        """Carry out a cursor movement of the user, now or later."""
        act()

    def headed(self, key: str) -> None:
        """Called when a column's heading is clicked."""

    def opened(self) -> None:
        """Called when a row is clicked twice."""

    # Rows

    def renew(self) -> None:
        """Forget all rows and widths: the rows may be different ones."""
        self._widest = {}
        self._sampled = False
        self.rearranged()

    def rearranged(self) -> None:
        """Draw again: the same rows in another order, or with more content."""
        self._known = {}
        self.cursor = min(self.cursor, max(self.count() - 1, 0))
        self._scroll()
        self._lay()
        self.refresh()
        self.settled()

    def go(self, number: int, scroll: int = 0) -> None:
        """Move the cursor to a row and make it visible; scroll all rows by `scroll` as far as possible."""
        before, top = self.cursor, self._top
        self.cursor = max(0, min(number, self.count() - 1))
        self._top = max(self._top + scroll, 0)
        self._scroll()
        if self._top != top:
            widths = self._laid
            self._lay()
            self.refresh() if widths != self._laid else self.refresh(Region(0, 1, self.size.width, self.page))
        elif self.cursor != before:
            self.refresh_row(before)
            self.refresh_row(self.cursor)
        self.settled()

    def note_changed(self) -> None:
        """Draw the line below the rows again."""
        top = self._top
        self._scroll()
        if self._top != top:
            self._lay()
            self.refresh()
        else:
            self.refresh(Region(0, max(self.size.height - 1, 0), self.size.width, 1))

    def refresh_row(self, number: int) -> None:
        """Draw a row again."""
        self._known.pop(number, None)
        if 0 <= number - self._top < self.page:
            self.refresh(Region(0, 1 + number - self._top, self.size.width, 1))

    @property
    def page(self) -> int:
        """The number of rows that fit."""
        return max(self.size.height - 1 - bool(self.note()), 1)

    @property
    def in_sight(self) -> range:
        """The visible rows."""
        return range(self._top, min(self._top + self.page, self.count()))

    def action_move(self, rows: int) -> None:
        self.moving(lambda: self.go(self.cursor + rows))

    def action_page(self, pages: int) -> None:
        self.moving(lambda: self.go(self.cursor + pages * self.page, pages * self.page))

    def action_first(self) -> None:
        self.moving(lambda: self.go(0))

    def action_last(self) -> None:
        self.moving(lambda: self.go(self.count() - 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-WHEEL)

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        if at is None:
            return
        if at.y == 0:
            self.headed(self._column_at(at.x))
        elif at.y <= self.page and self._top + at.y - 1 < self.count():
            self.go(self._top + at.y - 1)
            if event.chain > 1:
                self.opened()

    def on_resize(self) -> None:
        self._scroll()
        self._lay()
        self.refresh()
        self.settled()

    def on_focus(self) -> None:
        self.refresh_row(self.cursor)

    def on_blur(self) -> None:
        self.refresh_row(self.cursor)

    # Drawing

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        number, count, note = self._top + y - 1, self.count(), self.note()
        if y == 0 and not count:
            segments = [Segment(fitted(self.nothing(), width), self._style("faint"))]
        elif y == 0:
            segments = [Segment(self._heading(), self._style("heading"))]
        elif y == height - 1 and note:
            segments = [Segment(fitted(note, width), self._style("note"))]
        elif number < count:
            segments = list(self._row(number))
        else:
            segments = []
        return self.selectable(Strip(segments).adjust_cell_length(width, self._style("plain")), y)

    def written(self, number: int) -> str:
        """A row as drawn, without the cursor."""
        return "".join(segment.text for segment in self._row(number))[1:].rstrip()

    def heading_line(self) -> str:
        """The headings as drawn."""
        return self._heading()[1:].rstrip()

    def _heading(self) -> str:
        cells = (self._placed(self.title(column), column, width) for column, width in self._laid)
        return " " * _LEAD + self._gap.join(cells)

    def _row(self, number: int) -> Iterator[Segment]:
        cells, here = self._cells(number), number == self.cursor
        lead = f"{'▸' if here else ' '}{'*' if self.marked(number) else ' '} "
        if here:
            yield Segment(lead + self._written(cells), self._style("cursor" if self.has_focus else "cursor-blurred"))
            return
        yield Segment(lead, self._style("mark"))
        run, of = "", ""  # cells of one style that follow each other
        for column, width in self._laid:
            cell = cells.get(column.key, _NOTHING)
            if cell.style != of:
                yield Segment(run, self._style(of or "plain"))
                run, of = "", cell.style
            run += self._placed(cell.text, column, width) + self._gap
        yield Segment(run, self._style(of or "plain"))

    def _written(self, cells: Mapping[str, TableCell]) -> str:
        placed = (self._placed(cells.get(column.key, _NOTHING).text, column, width) for column, width in self._laid)
        return self._gap.join(placed)

    def _placed(self, text: str, column: TableColumn, width: int) -> str:
        if column.most:
            return set_cell_size(fitted(text, width), width)
        return " " * (width - cell_len(text)) + text

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"table--{name}")

    # Layout

    def _cells(self, number: int) -> Mapping[str, TableCell]:
        if number not in self._known:
            if len(self._known) > 1000:
                self._known = {}
            self._known[number] = self.cells(number)
        return self._known[number]

    def _scroll(self) -> None:
        """Scroll so that the cursor is visible and no rows are wasted."""
        page = self.page
        self._top = max(min(self._top, self.cursor, self.count() - page), self.cursor - page + 1, 0)

    def _lay(self) -> None:
        """Choose columns and their widths for the visible rows."""
        self._gap = "  " if self.size.width >= _ROOMY else " "
        if not self._sampled and self.size:
            self._sampled = True
            step = max(self.count() // 200, 1)
            self._measure(range(0, self.count(), step))
        self._measure(self.in_sight)
        columns = list(self.columns())
        for column in columns:
            self._widest[column.key] = max(self._widest.get(column.key, 0), cell_len(column.title) + 1)
        room = self.size.width - _LEAD
        widths = self._widths(columns, room)
        while widths is None:
            columns.remove(min(columns, key=lambda column: column.worth))
            widths = self._widths(columns, room)
        self._laid = tuple(zip(columns, widths, strict=True))

    def _widths(self, columns: Sequence[TableColumn], room: int) -> list[int] | None:
        """The columns' widths; columns of higher worth get the room they want first. None if not all fit."""
        wanted = {column: min(self._widest[column.key], column.most or 99) for column in columns}
        widths = {column: min(wanted[column], column.least or 99) for column in columns}
        room -= sum(widths.values()) + len(self._gap) * (len(columns) - 1)
        if room < 0 and len(columns) > 1:
            return None
        texts = sorted((column for column in columns if column.most), key=lambda column: -column.worth)
        for column in texts:
            more = min(max(room, 0), wanted[column] - widths[column])
            room -= more
            widths[column] += more
        if any(widths[column] < wanted[column] for column in texts[:-1]):
            return None  # a column of low worth would take room from others
        return [widths[column] for column in columns]

    def _measure(self, numbers: range) -> None:
        for number in numbers:
            for key, cell in self._cells(number).items():
                length = cell_len(cell.text)
                if length > self._widest.get(key, 0):
                    self._widest[key] = length

    def _column_at(self, x: int) -> str:
        left = _LEAD
        for column, width in self._laid:
            if x < left + width + len(self._gap):
                return column.key
            left += width + len(self._gap)
        return self._laid[-1][0].key if self._laid else ""
