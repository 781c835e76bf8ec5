"""The thread that sends lines to the host, one after another, and keeps them while there is no host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from commands.grammar import parse
from sessions.errors import WorkbenchError
from workbench.host.client import Client


class HostSender:
    """Sends lines in the order in which they are given.

    Args:
        client: returns the host's client, or None while there is none.
        refused: called in this thread with the lines that were not sent (the first was refused), the error, and how
        many
            lines were given with them.
    """

    def __init__(
        self,
        client: Callable[[], Client | None],
        refused: Callable[[Sequence[str], WorkbenchError, int], None],
    ) -> None:
        self._client, self._refused = client, refused
        self._waiting: list[list[str]] = []
        self._changed = threading.Condition()
        self._over = self._busy = False
        self._thread: threading.Thread | None = None

    @property
    def idle(self) -> bool:
        """Whether all given lines have been sent."""
        with self._changed:
            return not self._waiting and not self._busy

    def give(self, lines: Sequence[str]) -> None:
        """Send these lines, after those that wait."""
        with self._changed:
            self._waiting.append(list(lines))
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="sender", daemon=True)
                self._thread.start()
            self._changed.notify()

    def attached(self) -> None:
        """Send the kept lines: there is a host now."""
        with self._changed:
            self._changed.notify()

    def stop(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or (self._waiting and self._client() is not None))
                if self._over:
                    return
                lines, self._busy = self._waiting.pop(0), True
            self._send_all(lines)
            with self._changed:
                self._busy = False

    def _send_all(self, lines: list[str]) -> None:
        for number, line in enumerate(lines):
            client = self._client()
            if client is None:
                with self._changed:
                    self._waiting.insert(0, lines[number:])
                return
            try:
                parse(line)
                client.send(line)
            except WorkbenchError as error:
                self._refused(lines[number:], error, len(lines))
                return
