"""The flag that stops a running command. No torch here: the front ends raise it."""

from __future__ import annotations

import threading

from sessions.errors import Cancelled


class Cancel:
    """Raised by another thread or a signal handler, looked at by the command that runs."""

    def __init__(self) -> None:
        self._flag = threading.Event()

    def request(self) -> None:
        """Ask the running command to stop at its next look."""
        self._flag.set()

    def clear(self) -> None:
        """Forget an earlier request."""
        self._flag.clear()

    def look(self) -> None:
        """Raise `Cancelled` if it was requested."""
        if self._flag.is_set():
            raise Cancelled
