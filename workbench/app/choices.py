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
    """An entry of the list: a name and a description; or a heading, which cannot be chosen."""

    name: str
    about: str = ""
    heading: bool = False


class Choices(Widget):
    """A list with a cursor that another widget moves. `at` is the cursor's row, -1 if it is on none.

    Messages:
        Chosen: a row was clicked.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"choices--about", "choices--cursor", "choices--heading"}
    DEFAULT_CSS = """
    Choices { background: $panel; color: $text; }
    Choices > .choices--about { color: $text-muted; }
    Choices > .choices--cursor { text-style: reverse; }
    Choices > .choices--heading { text-style: bold; }
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
        first = self.at - 1 if self.at > 0 and self.choices[self.at - 1].heading else self.at
        self._top = max(min(self._top, first), self.at - height + 1, 0)
        self.refresh()

    def move(self, rows: int) -> None:
        """Move the cursor by some rows, never onto a heading; a single step wraps around at the ends."""
        places = [row for row, choice in enumerate(self.choices) if not choice.heading]
        if not places:
            return
        if abs(rows) > 1:
            self.go(next((row for row in places if row >= self.at + rows), places[-1]))
        elif rows > 0:
            self.go(next((row for row in places if row > self.at), places[0]))
        else:
            self.go(next((row for row in reversed(places) if row < self.at), places[-1]))

    def wanted_width(self) -> int:
        """Cells that show every choice in full."""
        return self._left() + max((cell_len(inline(each.about)) for each in self.choices), default=0) + 5

    def _left(self) -> int:
        names = (cell_len(inline(each.name)) for each in self.choices if not each.heading)
        return min(max(names, default=0), _LEFT)

    def on_resize(self, event: events.Resize) -> None:
        self.go(self.at)

    def on_click(self, event: events.Click) -> None:
        row = self._top + event.y
        if 0 <= row < len(self.choices) and not self.choices[row].heading:
            self.post_message(self.Chosen(row))

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
        if choice.heading:
            style = self.get_component_rich_style("choices--heading", partial=True)
            heading = Strip([Segment(fitted(inline(choice.name), width), style)])
            return heading.adjust_cell_length(width).apply_style(self.rich_style)
        left = min(self._left(), max(width - 3, 1))
        name = fitted(inline(choice.name), left)
        segments = [Segment(("▸ " if here else "  ") + name + " " * (left - cell_len(name)))]
        if width - left - 5 >= _RIGHT and choice.about:
            about = fitted(inline(choice.about), width - left - 5)
            segments.append(Segment("  " + about, None if here else self.get_component_rich_style("choices--about")))
        style = self.rich_style + (self.get_component_rich_style("choices--cursor", partial=True) if here else Style())
        return Strip(segments).adjust_cell_length(width).apply_style(style)
