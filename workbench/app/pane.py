"""`Pane`: what all panes have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual.message import Message
from textual.reactive import reactive
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from workbench.app.session_view import NOTHING, Facet, SessionView

#: Rows per step of the mouse wheel.
WHEEL = 3


class Pane(Widget, can_focus=True):
    """A part of the screen that shows a part of the session view.

    The app draws the frame around it, with its number, `heading`, and at the right end `facts`, a few words of plain
    text. `facets` are the parts of the view whose changes are passed to `show`. `news` are those that count as news:
    where they change out of sight, the pane's tab carries a dot.
    """

    heading: ClassVar[str] = ""
    facets: ClassVar[Facet]
    news: ClassVar[Facet] = NOTHING
    facts: reactive[str] = reactive("", repaint=False)

    @dataclass
    class Typed(Message):
        """Put a line into the command line for the user to continue."""

        line: str

    @dataclass
    class Sent(Message):
        """Run a line. A `quiet` one fills in what is shown: the history does not list it."""

        line: str
        quiet: bool = False

    @dataclass
    class Noted(Message):
        """Say something under the command line."""

        text: str

    @dataclass
    class Copied(Message):
        """Copy a text."""

        text: str

    def selectable(self, line: Strip, y: int) -> Strip:
        """A drawn line, which the mouse can select, with what it has selected."""
        selection = self.text_selection
        span = None if selection is None else selection.get_span(y)
        if span is not None:
            start, end = span[0], line.cell_length if span[1] < 0 else span[1]
            style = self.screen.get_component_rich_style("screen--selection", partial=True)
            before, inside, after = line.crop(0, start), line.crop(start, end), line.crop(end)
            line = Strip.join([before, inside.apply_style(Style(reverse=True) if style is None else style), after])
        return line.apply_offsets(0, y)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        lines = (self.render_line(y).text.rstrip() for y in range(self.size.height))
        return selection.extract("\n".join(lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def show(self, view: SessionView, changed: Facet) -> None:
        """Show the view. Called when one of `facets` changed, at most fifteen times a second."""
        raise NotImplementedError

    def chosen(self) -> str:
        """The text to copy: what the cursor is on."""
        raise NotImplementedError

    def text(self) -> str:
        """The whole pane as text, for an editor."""
        raise NotImplementedError
