"""`Pane`: what all panes have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.message import Message
from textual.reactive import reactive
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
    class Copied(Message):
        """Copy a text."""

        text: str

    def show(self, view: SessionView, changed: Facet) -> None:
        """Show the view. Called when one of `facets` changed, at most fifteen times a second."""
        raise NotImplementedError

    def chosen(self) -> str:
        """The text to copy: what the cursor is on."""
        raise NotImplementedError

    def text(self) -> str:
        """The whole pane as text, for an editor."""
        raise NotImplementedError
