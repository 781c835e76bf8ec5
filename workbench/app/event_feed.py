"""From the thread that hears to the view, at a pace that a screen can follow; nothing happens while all is quiet."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.message import Message
from textual.timer import Timer

from workbench.app.host_listener import Heard
from workbench.app.session_view import NOTHING, Facet, SessionView

#: Seconds between two drawings of what is heard. Fifteen in a second are the most there may be: that leaves room for a
#: clock that ticks, a key that is pressed, and a drawing that falls into two frames.
BETWEEN = 0.08
#: Seconds that the view may be fed at a stretch, before keys are looked at again; and until what it has is drawn.
_STRETCH, _AT_LAST = 0.02, 0.5


class EventFeed:
    """Feeds a view.

    Args:
        app: posted `Arrived` when something was heard; it calls `arrived` then.
        draw: called with what has changed.
    """

    class Arrived(Message):
        """Something was heard."""

    def __init__(self, app: App[Any], view: SessionView, draw: Callable[[Facet], None]) -> None:
        self._app, self._view, self._draw = app, view, draw
        self._heard: deque[Heard] = deque()
        self._told = False
        self._changed = NOTHING
        self._drawn = 0.0
        self._due: Timer | None = None

    def deliver(self, heard: list[Heard]) -> None:
        """Called in the thread that hears."""
        self._heard.extend(heard)
        if not self._told:
            self._told = True
            self._app.post_message(self.Arrived())

    def arrived(self) -> None:
        """Take it to the view now, or when it is time to."""
        self._told = False
        wait = self._drawn + BETWEEN - time.monotonic()
        if self._due is None:
            if wait <= 0:
                self._feed()
            else:
                self._due = self._app.set_timer(wait, self._feed)

    def _feed(self) -> None:
        """Take what was heard to the view, and draw it once all of it is there."""
        self._due = None
        start = time.monotonic()
        while self._heard and time.monotonic() - start < _STRETCH:
            self._changed |= self._view.feed(self._heard.popleft())
        if self._heard:
            self._due = self._app.set_timer(0.001, self._feed)
            if time.monotonic() - self._drawn < _AT_LAST:
                return
        changed, self._changed = self._changed, NOTHING
        self._drawn = time.monotonic()
        self._draw(changed)
