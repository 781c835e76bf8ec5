"""The flag that stops a running command. No torch here: the front ends raise it.

What a command does for long looks at it: passes through a model by a hook on their layers, loops over texts by what
they are given. What lies deep below a verb, the reading of a file or the rendering of a template, looks at the flag of
the command that runs: `look`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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

    @property
    def is_requested(self) -> bool:
        return self._requested

    def look(self) -> None:
        """Raise `Cancelled` if it was requested."""
        if self._requested:
            raise Cancelled


_running: ContextVar[Cancel | None] = ContextVar("the flag of the command that runs", default=None)


@contextmanager
def looking_at(cancel: Cancel) -> Iterator[None]:
    """Within the block `look` looks at this flag, in this thread and in those that `in_background` starts."""
    token = _running.set(cancel)
    try:
        yield
    finally:
        _running.reset(token)


def requested() -> bool:
    """Whether the command that runs here was cancelled."""
    cancel = _running.get()
    return cancel is not None and cancel.is_requested


def look() -> None:
    """Raise `Cancelled` if the command that runs here was cancelled. Outside of commands nothing is."""
    cancel = _running.get()
    if cancel is not None:
        cancel.look()
