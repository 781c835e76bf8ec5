"""Ctrl-c while a command runs stops the command, never the session."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_UNWINDING = 1.0  # seconds in which an interrupted command cleans up undisturbed


@contextmanager
def interruptible(cancel: Callable[[], object]) -> Iterator[None]:
    """In the block, the first ctrl-c calls `cancel`; the second raises KeyboardInterrupt inside the command.

    For one second after that, further presses are ignored so that the command can clean up. Outside the main thread,
    where no signal arrives, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    cancelled, raised = False, float("-inf")

    def on_interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal cancelled, raised
        if not cancelled:
            cancelled = True
            cancel()
        elif time.monotonic() - raised > _UNWINDING:
            raised = time.monotonic()
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
