"""The messages of a host, numbered from its start and kept as long as there is room.

Text and progress events are evicted first; the result repeats them.

The thread that runs commands and the thread that serves clients write to the log; the latter reads it. Messages are
kept as encoded bytes, so that each is encoded once for any number of clients.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from workbench.host.messages import Logged, written

#: The most messages kept, and the most bytes.
MOST = 20_000
MOST_BYTES = 64 * 2**20


class LogEntry(NamedTuple):
    """An encoded message and the ticket of its line."""

    ticket: str
    data: bytes


class Log:
    """The last messages of a host. `on_news` is called after each one, in the thread that added it."""

    def __init__(self) -> None:
        self.on_news: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._entries: dict[int, LogEntry] = {}  # in the order of their numbers
        self._passing: deque[int] = deque()
        self._first = self._next = 1
        self._bytes = 0

    @property
    def next(self) -> int:
        """The number of the next message."""
        return self._next

    def add(self, make: Callable[[int], Logged], passing: bool = False) -> None:
        """Add the message that `make` returns for its number. `passing` messages are evicted before others."""
        with self._lock:
            message = make(self._next)
            entry = LogEntry(message.ticket, written(message))
            self._entries[self._next] = entry
            if passing:
                self._passing.append(self._next)
            self._next += 1
            self._bytes += len(entry.data)
            while len(self._entries) > 1 and (self._bytes > MOST_BYTES or len(self._entries) > MOST):
                self._forget()
        self.on_news()

    def _forget(self) -> None:
        """Evict one entry."""
        if self._passing:
            oldest = self._passing.popleft()
        else:
            oldest = next(iter(self._entries))
            self._first = oldest + 1
        self._bytes -= len(self._entries.pop(oldest).data)

    def after(self, number: int, room: int) -> tuple[int, int, list[LogEntry]]:
        """Read the messages from `number` on, about `room` bytes of them.

        Returns:
            The number of messages that were evicted (passing ones are not counted), the number to continue from, and
            the messages.
        """
        with self._lock:
            number = min(number, self._next)  # a client may have counted messages of an earlier host
            start = max(number, self._first)
            entries: list[LogEntry] = []
            at = start
            while at < self._next and room > 0:
                entry = self._entries.get(at)
                at += 1
                if entry is not None:
                    entries.append(entry)
                    room -= len(entry.data)
            return start - number, at, entries
