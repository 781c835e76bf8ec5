"""`Choices`: a list to choose from, each entry with a description. Completions and the palette are such lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from workbench.writing import fitted, inline

#: The most cells of the left column, and the least for which the right column is shown.
_LEFT, _RIGHT = 36, 12


@dataclass(frozen=True)
class Choice:
    """An entry of the list: a name and a description."""

    name: str
    about: str = ""


class Choices(Widget):
    """A list with a cursor that another widget moves. `at` is the cursor's row, -1 if it is on none.

    Messages:
        Chosen: a row was clicked.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"choices--about", "choices--cursor"}
    DEFAULT_CSS = """
    Choices { background: $panel; color: $text; }
    Choices > .choices--about { color: $text-muted; }
    Choices > .choices--cursor { text-style: reverse; }
    """

    @dataclass
    class Chosen(Message):
        """The row was clicked."""

        row: int

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.choices: Sequence[Choice] = ()
        self.at = -1
        self._top = 0

    def offer(self, choices: Sequence[Choice], at: int = -1) -> None:
        """Show these choices."""
        self.choices, self._top = choices, 0
        self.go(at)
        self.refresh()

    def go(self, at: int) -> None:
        """Move the cursor to a row."""
        self.at = min(at, len(self.choices) - 1)
        height = max(self.size.height, 1)
        self._top = max(min(self._top, self.at), self.at - height + 1, 0)
        self.refresh()

    def move(self, rows: int) -> None:
        """Move the cursor by some rows; a single step wraps around at the ends."""
        if self.choices:
            last = len(self.choices) - 1
            new = self.at + rows
            if abs(rows) > 1:
                new = min(max(new, 0), last)
            self.go(last if new < 0 else 0 if new > last else new)

    def wanted_width(self) -> int:
        """Cells that show every choice in full."""
        return self._left() + max((cell_len(inline(each.about)) for each in self.choices), default=0) + 5

    def _left(self) -> int:
        return min(max((cell_len(inline(each.name)) for each in self.choices), default=0), _LEFT)

    def on_resize(self, event: events.Resize) -> None:
        self.go(self.at)

    def on_click(self, event: events.Click) -> None:
        if 0 <= self._top + event.y < len(self.choices):
            self.post_message(self.Chosen(self._top + event.y))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.move(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.move(-1)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        row = self._top + y
        if row >= len(self.choices):
            return Strip.blank(width, self.rich_style)
        choice, here = self.choices[row], row == self.at
        left = min(self._left(), max(width - 3, 1))
        name = fitted(inline(choice.name), left)
        segments = [Segment(("▸ " if here else "  ") + name + " " * (left - cell_len(name)))]
        if width - left - 5 >= _RIGHT and choice.about:
            about = fitted(inline(choice.about), width - left - 5)
            segments.append(Segment("  " + about, None if here else self.get_component_rich_style("choices--about")))
        style = self.rich_style + (self.get_component_rich_style("choices--cursor", partial=True) if here else Style())
        return Strip(segments).adjust_cell_length(width).apply_style(style)
