"""The flag that stops a running command. Front ends set it, so this file imports no torch.

Long work checks the flag: forward passes through a hook on every layer, loops over texts through the `Cancel` they are
given. Code deep below a verb, such as the reading of a file or the rendering of a template, calls `look`, which checks
the flag of the running command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sessions.errors import Cancelled


class Cancel:
    """Set by another thread or a signal handler, checked by the running command.

    It is a plain attribute, not a `threading.Event`: a signal handler that interrupts the event while it holds its own
    lock would deadlock.
    """

    def __init__(self) -> None:
        self._requested = False

    def request(self) -> None:
        """Ask the running command to stop at its next check."""
        self._requested = True

    def clear(self) -> None:
        """Forget an earlier request."""
        self._requested = False

    @property
    def is_requested(self) -> bool:
        return self._requested

    def look(self) -> None:
        """Raise `Cancelled` if a stop was requested."""
        if self._requested:
            raise Cancelled


_running: ContextVar[Cancel | None] = ContextVar("the flag of the command that runs", default=None)


@contextmanager
def looking_at(cancel: Cancel) -> Iterator[None]:
    """Inside the block `look` checks this flag, in this thread and in those that `in_background` starts."""
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
    """Raise `Cancelled` if the command that runs here was cancelled. Outside of commands it does nothing."""
    cancel = _running.get()
    if cancel is not None:
        cancel.look()
