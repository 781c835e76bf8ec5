"""Ctrl-c while a command runs: it ends the command, never the session."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_UNWINDING = 1.0  # seconds that a command is left in peace to undo what it did


@contextmanager
def interruptible(cancel: Callable[[], object]) -> Iterator[None]:
    """Within the block the first ctrl-c calls `cancel`, a second one raises KeyboardInterrupt where the command is.

    Presses that follow a raised one within a second are not raised: the first is being unwound, and its
    clean-up has to come to its end. Outside the main thread, where no signal arrives, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked, raised = False, float("-inf")

    def on_interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked, raised
        if not asked:
            asked = True
            cancel()
        elif time.monotonic() - raised > _UNWINDING:
            raised = time.monotonic()
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
