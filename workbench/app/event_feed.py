"""Feeds messages from the listener's thread into the session view, at a pace that a screen can follow."""

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

#: Seconds between two drawings of messages. At most fifteen drawings a second may happen; this leaves room for the
#: clock, for keys, and for a drawing that takes two frames.
BETWEEN = 0.08
#: Seconds of feeding at a stretch before keys are handled, and the most seconds until the fed part is drawn.
_STRETCH, _AT_LAST = 0.02, 0.5


class EventFeed:
    """Feeds a session view.

    Args:
        app: gets the message `Arrived` when the listener delivered something; it then calls `arrived`.
        view: the view to feed.
        draw: called with the facets that changed.
    """

    class Arrived(Message):
        """The listener delivered messages."""

    def __init__(self, app: App[Any], view: SessionView, draw: Callable[[Facet], None]) -> None:
        self._app, self._view, self._draw = app, view, draw
        self._heard: deque[Heard] = deque()
        self._told = False
        self._changed = NOTHING
        self._drawn = 0.0
        self._due: Timer | None = None

    def deliver(self, heard: list[Heard]) -> None:
        """Queue messages. Called in the listener's thread."""
        self._heard.extend(heard)
        if not self._told:
            self._told = True
            self._app.post_message(self.Arrived())

    def arrived(self) -> None:
        """Feed the view now, or when the next drawing is due."""
        self._told = False
        wait = self._drawn + BETWEEN - time.monotonic()
        if self._due is None:
            if wait <= 0:
                self._feed()
            else:
                self._due = self._app.set_timer(wait, self._feed)

    def _feed(self) -> None:
        """Feed queued messages into the view; draw when none is left, or after `_AT_LAST` seconds."""
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
