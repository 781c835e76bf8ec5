"""`LineInput`: a one-line input that shows control characters instead of sending them to the terminal."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.widgets import Input

from workbench.writing import inline

#: The most characters of a line.
LONGEST = 2**16
NEWLINE = re.compile(r"\r\n|\n|\r")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


class LineInput(Input):
    """One line, edited as in a shell. `ghost` is shown in grey after it; the right arrow key takes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+b", "cursor_left", "left", id="line.left", show=False),
        Binding("ctrl+f", "cursor_right", "right, or take the grey text", id="line.right", show=False),
        Binding("alt+b", "cursor_left_word", "a word left", id="line.word_left", show=False),
        Binding("alt+f", "cursor_right_word", "a word right", id="line.word_right", show=False),
        Binding("alt+d", "delete_right_word", "delete a word", id="line.delete_word", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"entry--ghost"}
    DEFAULT_CSS = """
    LineInput, LineInput:focus, LineInput:ansi {
        background: $background; background-tint: transparent; color: $text; border: none; padding: 0; height: 1;
    }
    LineInput > .entry--ghost { color: $text-muted; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(select_on_focus=False, compact=True, max_length=LONGEST, id=id)
        self.cursor_blink = False
        self.ghost = ""
        self._left = 0

    def put(self, line: str) -> None:
        """Replace the text by a line for the user to continue."""
        self.value = line
        self.cursor_position = len(line)

    async def on_key(self, event: events.Key) -> None:
        """Run a key's action at once.

        Textual runs it only after the key has bubbled up to the app, when characters typed after it may be in the line
        already: if keys come all at once, a line would get the beginning of the next.
        """
        active = None if event.is_printable else self.screen.active_bindings.get(event.key)
        if active is None or active.node is not self or active.binding.priority:
            return
        if await self.app.run_action(active.binding.action, self):
            event.stop()
            event.prevent_default()

    def action_cursor_right(self, select: bool = False) -> None:
        if self.ghost and self.cursor_at_end and not select:
            self.put(self.value + self.ghost)
        else:
            super().action_cursor_right(select)

    def action_end(self, select: bool = False) -> None:
        if self.ghost and self.cursor_at_end and not select:
            self.put(self.value + self.ghost)
        else:
            super().action_end(select)

    def on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        value, cursor = self.value, self.cursor_position
        lines = [_CONTROL.sub(" ", line) for line in NEWLINE.split(event.text.rstrip("\r\n"))]
        lines[0] = value[:cursor] + lines[0]
        lines[-1] += value[cursor:]
        self.take_pasted(lines)

    def take_pasted(self, lines: list[str]) -> None:
        """Take pasted lines; the text before and after the cursor is part of the first and the last."""
        if len(lines[0]) <= LONGEST:
            self.put(lines[0])

    # Drawing

    def cell(self, column: int) -> int:
        """The cell in which a column of the text is drawn."""
        return cell_len(inline(self.value[:column])) - self._left

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y != 0 or width < 1:
            return Strip.blank(width, self.rich_style)
        cursor = self.cursor_position
        before = cell_len(inline(self.value[:cursor]))
        self._left = max(min(self._left, before), before - width + 1)
        strip = Strip(self._segments(cursor)).crop(self._left, self._left + width)
        return strip.adjust_cell_length(width).apply_style(self.rich_style)

    def _segments(self, cursor: int) -> list[Segment]:
        reverse = Style(reverse=True)
        start, end = sorted(self.selection)
        under = cursor if self.has_focus else -1
        ghost = self.get_component_rich_style("entry--ghost", partial=True)
        grey = self.ghost if self.has_focus and self.cursor_at_end else ""
        text = self.value + (grey or " ")
        marks = sorted({0, len(self.value), len(text), start, end, *((cursor, cursor + 1) if under >= 0 else ())})
        segments = []
        for here, until in pairwise(marks):
            style = ghost if here >= len(self.value) else Style()
            if here == under or start <= here < end:
                style += reverse
            segments.append(Segment(inline(text[here:until]), style))
        return segments
