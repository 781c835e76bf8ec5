"""An estimate of the time that a step still takes, from its pace so far."""

from __future__ import annotations

import time

from sessions.events import Progress

#: Seconds of progress after which the time left is estimated.
GUESSED_FROM = 2.0


class Pace:
    """The pace of the current step. A new step begins when the label changes or the count falls."""

    def __init__(self) -> None:
        self._first: tuple[str, float, float] | None = None  # label, first count and time of the step

    def hear(self, progress: Progress | None) -> None:
        """Take the latest progress; None when no step runs."""
        if progress is None:
            self._first = None
        elif self._first is None or self._first[0] != progress.label or self._first[1] > progress.done:
            self._first = progress.label, progress.done, time.monotonic()

    def left(self, progress: Progress | None) -> float | None:
        """Seconds left; None if unknown."""
        speed = self.speed(progress, GUESSED_FROM)
        if progress is None or speed is None or not progress.total:
            return None
        return max(progress.total - progress.done, 0) / speed

    def speed(self, progress: Progress | None, after: float = 0.5) -> float | None:
        """Units a second, since `after` seconds after the step began; None if unknown."""
        if progress is None or self._first is None:
            return None
        _, done, began = self._first
        taken = time.monotonic() - began
        return (progress.done - done) / taken if progress.done > done and taken >= after else None


def clock(seconds: float) -> str:
    """Seconds written as `02:10` or `1:02:10`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
