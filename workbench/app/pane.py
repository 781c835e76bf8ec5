"""`Pane`: what all panes have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from workbench.app.session_view import Facet, SessionView

#: Rows that the wheel of a mouse moves.
WHEEL = 3


class Pane(Widget, can_focus=True):
    """A part of the screen that shows a part of the view.

    `heading` stands in the frame that the app draws around it, after its number, and `facts`, a few words of plain
    text, at the right end of the same line; `facets` are the parts of the view whose changes it hears of.
    """

    heading: ClassVar[str] = ""
    facets: ClassVar[Facet]
    facts: reactive[str] = reactive("", repaint=False)

    @dataclass
    class Typed(Message):
        """Put a line into the command line, for the user to go on with."""

        line: str

    @dataclass
    class Sent(Message):
        """Run a line."""

        line: str

    def show(self, view: SessionView, changed: Facet) -> None:
        """Show the view; called at most fifteen times a second, when one of `facets` changed."""
        raise NotImplementedError

    def chosen(self) -> str:
        """What the cursor is on, as text to copy."""
        raise NotImplementedError

    def text(self) -> str:
        """All of the pane as text, for an editor."""
        raise NotImplementedError
