"""The flag that stops a running command. No torch here: the front ends raise it."""

from __future__ import annotations

from sessions.errors import Cancelled


class Cancel:
    """Raised by another thread or a signal handler, looked at by the command that runs.

    A plain attribute and not a `threading.Event`: a signal handler that interrupts an event's own
    lock would wait for itself.
    """

    def __init__(self) -> None:
        self._requested = False

    def request(self) -> None:
        """Ask the running command to stop at its next look."""
        self._requested = True

    def clear(self) -> None:
        """Forget an earlier request."""
        self._requested = False

    def look(self) -> None:
        """Raise `Cancelled` if it was requested."""
        if self._requested:
            raise Cancelled
