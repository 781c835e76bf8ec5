"""How long a step still takes, when it goes on as it has gone since it was first heard of."""

from __future__ import annotations

import time

from sessions.events import Progress

#: Seconds of progress from which on the time left is guessed.
GUESSED_FROM = 2.0


class Pace:
    """The pace of one step after another; a step is another one where its label changes or it begins again."""

    def __init__(self) -> None:
        self._first: tuple[str, float, float] | None = None  # what a step's progress began with, and when

    def hear(self, progress: Progress | None) -> None:
        """How far the step is now; None where there is none."""
        if progress is None:
            self._first = None
        elif self._first is None or self._first[0] != progress.label or self._first[1] > progress.done:
            self._first = progress.label, progress.done, time.monotonic()

    def left(self, progress: Progress | None) -> float | None:
        """Seconds that are left; None where that cannot be said."""
        if progress is None or self._first is None or not progress.total:
            return None
        _, done, began = self._first
        taken = time.monotonic() - began
        if progress.done <= done or taken < GUESSED_FROM:
            return None
        return max(progress.total - progress.done, 0) * taken / (progress.done - done)


def clock(seconds: float) -> str:
    """`02:10`, `1:02:10`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
