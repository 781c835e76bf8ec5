"""What a host has said: numbered from its start, and kept as long as there is room.

Text and progress pass: where room is wanted they go first, since the result says in full what they said in bits.

Written by the thread that runs commands and by the one that serves clients; read by the latter. Messages are kept as
the bytes that go over the wire, so that a hundred watchers cost one encoding.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from workbench.host.messages import Logged, written

#: How much is kept: messages, and bytes of them.
MOST = 20_000
MOST_BYTES = 64 * 2**20


class LogEntry(NamedTuple):
    """A message as bytes, and the line it is about."""

    ticket: str
    data: bytes


class Log:
    """The last things said. `on_news` is called, in the thread that wrote, after each of them."""

    def __init__(self) -> None:
        self.on_news: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._entries: dict[int, LogEntry] = {}  # in the order of their numbers
        self._passing: deque[int] = deque()
        self._first = self._next = 1
        self._bytes = 0

    @property
    def next(self) -> int:
        """The number of what will be said next."""
        return self._next

    def add(self, make: Callable[[int], Logged], passing: bool = False) -> None:
        """Say something: `make` is given its number. Where there is no more room, what passes goes before the rest."""
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
        """Let one entry go."""
        if self._passing:
            oldest = self._passing.popleft()
        else:
            oldest = next(iter(self._entries))
            self._first = oldest + 1
        self._bytes -= len(self._entries.pop(oldest).data)

    def after(self, number: int, room: int) -> tuple[int, int, list[LogEntry]]:
        """What was said from `number` on, in about `room` bytes.

        Returns:
            How many of them are no longer kept (of what passes nobody misses any), the number to ask for next, and
            those that are.
        """
        with self._lock:
            number = min(number, self._next)  # it was asked of a host before this one
            start = max(number, self._first)
            found: list[LogEntry] = []
            at = start
            while at < self._next and room > 0:
                entry = self._entries.get(at)
                at += 1
                if entry is not None:
                    found.append(entry)
                    room -= len(entry.data)
            return start - number, at, found
