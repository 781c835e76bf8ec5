"""What a host has said: numbered from its start, and kept as long as there is room.

Written by the thread that runs commands and by the one that serves clients; read by the latter. Messages are kept as
the bytes that go over the wire, so that a hundred watchers cost one encoding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from workbench.host.messages import Logged, written

#: How much is kept: messages, and bytes of them.
MOST = 100_000
MOST_BYTES = 64 * 2**20


class Entry(NamedTuple):
    """A message as bytes, and the line it is about."""

    ticket: str
    data: bytes


class Log:
    """The last things said. `on_news` is called, in the thread that wrote, after each of them."""

    def __init__(self) -> None:
        self.on_news: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._entries: dict[int, Entry] = {}
        self._first = self._next = 1
        self._bytes = 0

    @property
    def next(self) -> int:
        """The number of what will be said next."""
        return self._next

    def add(self, make: Callable[[int], Logged]) -> None:
        """Say something: `make` is given its number. The oldest go where there is no more room."""
        with self._lock:
            message = make(self._next)
            entry = Entry(message.ticket, written(message))
            self._entries[self._next] = entry
            self._next += 1
            self._bytes += len(entry.data)
            while len(self._entries) > 1 and (self._bytes > MOST_BYTES or len(self._entries) > MOST):
                self._bytes -= len(self._entries.pop(self._first).data)
                self._first += 1
        self.on_news()

    def after(self, number: int, room: int) -> tuple[int, int, list[Entry]]:
        """What was said from `number` on, in about `room` bytes.

        Returns:
            How many of them are no longer kept, the number to ask for next, and those that are.
        """
        with self._lock:
            number = min(number, self._next)  # it was asked of a host before this one
            start = max(number, self._first)
            found: list[Entry] = []
            at = start
            while at < self._next and room > 0:
                found.append(self._entries[at])
                room -= len(found[-1].data)
                at += 1
            return start - number, at, found
