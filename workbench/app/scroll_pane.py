"""`ScrollPane`: a pane of lines that scroll; only visible lines are laid out and drawn.

A pane is a list of blocks. A scroll position is a line of a block, not a number of lines from the top, so that nothing
above has to be laid out: ten thousand blocks cost as much as the few that are visible, and after a resize the same
block is at the top. Only rows that have changed are painted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.strip import Strip

from workbench.app.pane import WHEEL, Pane
from workbench.app.wrapping import row, strips


class Paragraph:
    """A block of lines, laid out when it is first visible at a width."""

    _laid: tuple[object, Sequence[Strip]] | None = None

    def lines(self, width: int) -> Sequence[Strip]:
        """The lines at this width."""
        key = (width, self.stamp())
        if self._laid is None or self._laid[0] != key:
            self._laid = key, self.drawn(width)
        return self._laid[1]

    def stamp(self) -> object:
        """A key of the content: it changes when the lines change."""
        return None

    def drawn(self, width: int) -> Sequence[Strip]:
        """Lay the lines out."""
        raise NotImplementedError


class RichParagraph(Paragraph):
    """A block of Rich renderables."""

    def __init__(self, *renderables: RenderableType) -> None:
        self._renderables = renderables

    def drawn(self, width: int) -> Sequence[Strip]:
        return [line for renderable in self._renderables for line in strips(renderable, width)]


class ScrollPane(Pane):
    """A pane of lines that scroll. If `follows`, a pane that is at its end stays there when it grows."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"scroll--cursor"}
    DEFAULT_CSS = """
    ScrollPane > .scroll--cursor { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", id="paper.up", show=False),
        Binding("down,j", "move(1)", "down", id="paper.down", show=False),
        Binding("pageup", "page(-1)", "page up", id="paper.page_up", show=False),
        Binding("pagedown,space", "page(1)", "page down", id="paper.page_down", show=False),
        Binding("home,g", "first", "first", id="paper.first", show=False),
        Binding("end,G", "last", "last", id="paper.last", show=False),
    ]
    follows: ClassVar[bool] = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.blocks: Sequence[Paragraph] = ()
        self.at_end = self.follows
        self._top: Paragraph | None = None
        self._line = 0
        self._of = self._at_width = 0  # lines of the block at the top when it was laid out last, and their width
        self._seen = Size(0, 0)
        self._rows: list[Strip] = []
        self._owners: list[Paragraph | None] = []
        self._remark = ""

    # To override

    def shaped(self) -> None:
        """Rebuild the blocks if they depend on the size, which has changed."""

    def head(self, width: int) -> Sequence[Strip]:
        """Lines that stay at the top when the others scroll."""
        return ()

    def dressed(self, block: Paragraph, number: int, line: Strip) -> Strip:
        """A line as it is drawn, with the cursor if it is there."""
        return line

    def under_cursor(self, line: Strip, first: bool = True) -> Strip:
        """A line with the cursor on it: in reverse, the first of a block with `▸` in its first cell."""
        cursor = self.get_component_rich_style("scroll--cursor", partial=True)
        segments = [(text, (style or Style()) + cursor) for text, style, _ in line]
        if first and segments and segments[0][0]:
            text, style = segments[0]
            segments[0] = f"▸{text[1:]}", style
        return row(*segments)

    def remarks(self) -> str:
        """Short facts for the frame."""
        return ""

    # Scrolling

    def settle(self) -> None:
        """Draw what has changed. Call it after any change."""
        if not self.is_attached:
            return
        before, size = self._rows, self._seen
        self._arrange()
        self.facts = self._remark
        if self._seen == size:
            self._repaint(before)

    def scroll(self, rows: int) -> None:
        """Move by some rows, down where it is positive."""
        width, room = self._room()
        if room <= 0 or not self.blocks:
            return
        index, line = self._place(width, room)
        self.at_end = False
        self._stand(*self._moved(index, line + rows, width), width)
        self.settle()

    def jump(self, block: Paragraph) -> None:
        """Scroll to a block: its first line, and as much of the rest as fits."""
        width, _ = self._room()
        self.reveal(block, 0, len(block.lines(width)))

    def reveal(self, block: Paragraph, line: int, count: int = 1) -> None:
        """Scroll to some lines of a block, to the first of them in any case."""
        width, room = self._room()
        if room > 0 and block in self.blocks:
            top, wanted = self._place(width, room), (self.blocks.index(block), line)
            below = self._back(wanted[0], width, room - line - count)
            if wanted < top or below > top:
                self.at_end = False
                self._stand(*min(wanted, max(below, (0, 0))), width)
        self.settle()

    def begin(self) -> None:
        """Scroll to where new content begins: the end if the pane follows, else the top."""
        self.at_end, self._top, self._line = self.follows, None, 0

    def action_move(self, rows: int) -> None:
        self.scroll(rows)

    def action_page(self, pages: int) -> None:
        self.scroll(pages * max(self._room()[1] - 1, 1))

    def action_first(self) -> None:
        self.at_end, self._top, self._line = False, None, 0
        self.settle()

    def action_last(self) -> None:
        width, room = self._room()
        if room > 0 and self.blocks:
            self.at_end = self.follows
            self._stand(*self._back(len(self.blocks), width, room), width)
            self.settle()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll(WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll(-WHEEL)

    def at_row(self, y: int) -> Paragraph | None:
        """The block that is drawn in a row."""
        return self._owners[y] if 0 <= y < len(self._owners) else None

    # Drawing

    def render_line(self, y: int) -> Strip:
        if self._seen != self.size:
            self._arrange()
        line = self._rows[y] if y < len(self._rows) else Strip([])
        line = line.adjust_cell_length(self.size.width).apply_style(self.visual_style.rich_style).simplify()
        return self.selectable(line, y)

    def on_resize(self) -> None:
        self.settle()

    def notify_style_update(self) -> None:
        """Lay the visible rows out again: their styles may be those of another theme."""
        super().notify_style_update()
        self._seen = Size(0, 0)

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.settle()

    def _room(self) -> tuple[int, int]:
        """Columns, and rows under the head."""
        width, height = self.size
        return width, height - len(self.head(width)[: max(height - 1, 0)])

    def _arrange(self) -> None:
        """Determine the visible rows."""
        if self._seen != self.size:
            self._seen = self.size
            self.shaped()
        width, height = self.size
        if not width or not height:
            self._rows, self._owners = [], []
            return
        head = self.head(width)[: height - 1]
        room = height - len(head)
        index, line = self._place(width, room)
        self._rows, self._owners = list(head), [None] * len(head)
        end = self._fill(index, line, width, height)
        self.at_end = self.follows and end
        self._stand(index, line, width)
        self._remark = self.remarks() if end else f"{self.remarks()} ↓".strip()

    def _fill(self, index: int, line: int, width: int, height: int) -> bool:
        """Fill the rows under the head from a place on. Returns whether they reach the end."""
        while index < len(self.blocks):
            block = self.blocks[index]
            lines = block.lines(width)
            while line < len(lines):
                if len(self._rows) == height:
                    return False
                self._rows.append(self.dressed(block, line, lines[line]))
                self._owners.append(block)
                line += 1
            index, line = index + 1, 0
        return True

    def _place(self, width: int, room: int) -> tuple[int, int]:
        """The block and the line in the top row."""
        if self.at_end or not self.blocks:
            return self._back(len(self.blocks), width, room)
        index = self._top_index()
        line, lines = self._line, len(self.blocks[index].lines(width))
        if self._of and self._at_width != width:
            line = line * lines // self._of
        place = self._moved(index, min(line, max(lines - 1, 0)), width)
        return min(place, self._back(len(self.blocks), width, room))  # no blank rows while there are lines above

    def _top_index(self) -> int:
        try:
            return 0 if self._top is None else self.blocks.index(self._top)
        except ValueError:  # the block is gone: start at the first one
            self._line = 0
            return 0

    def _stand(self, index: int, line: int, width: int) -> None:
        """Make a line of a block the top row."""
        if index < len(self.blocks):
            self._top, self._line, self._at_width = self.blocks[index], line, width
            self._of = len(self.blocks[index].lines(width))

    def _moved(self, index: int, line: int, width: int) -> tuple[int, int]:
        """The place of a line whose number may lie before or after its block."""
        while line < 0 and index > 0:
            index -= 1
            line += len(self.blocks[index].lines(width))
        while index < len(self.blocks) - 1 and line >= len(self.blocks[index].lines(width)):
            line -= len(self.blocks[index].lines(width))
            index += 1
        return index, max(line, 0)

    def _back(self, index: int, width: int, room: int) -> tuple[int, int]:
        """The place `room` rows above the start of a block; after it if `room` is negative."""
        if room < 0:
            return index, -room
        while index > 0:
            index -= 1
            room -= len(self.blocks[index].lines(width))
            if room <= 0:
                return index, -room
        return 0, 0

    def _repaint(self, before: list[Strip]) -> None:
        regions: list[Region] = []
        for y in range(max(len(before), len(self._rows))):
            old = before[y] if y < len(before) else None
            new = self._rows[y] if y < len(self._rows) else None
            if old is not new and old != new:
                regions.append(Region(0, y, self.size.width, 1))
        if regions:
            self.refresh(*regions)
