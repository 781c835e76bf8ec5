"""The thread that finds the host, or starts it, and hears what it says; it comes back where the host went.

What was said before this client came is handed over in one piece, so that nobody sees the past go by.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sessions.errors import WorkbenchError
from sessions.events import Event
from workbench.host.client import Client, told
from workbench.host.messages import Ended, Finished, Missed, Numbered, Queued, Reply, Welcome
from workbench.host.starting import find_or_start

#: Seconds a host must have lived to be started anew, unasked, when it is suddenly gone.
LIVED = 10.0


@dataclass(frozen=True)
class Starting:
    """The host is being looked for, or started."""

    name: str


@dataclass(frozen=True)
class Gone:
    """There is no host any more, or none could be had."""

    reason: str


@dataclass(frozen=True)
class Told:
    """An event of a line."""

    ticket: str
    author: str
    event: Event


Heard = Starting | Gone | Welcome | Missed | Queued | Told | Finished


class HostListener:
    """Hears one host for as long as the app lives.

    Args:
        name: the host.
        home: folder of named artifacts; None for the user's own.
        deliver: called with what was heard, in this thread, often.
    """

    def __init__(self, name: str, home: Path | None, deliver: Callable[[list[Heard]], None]) -> None:
        self.client: Client | None = None
        self._name, self._home = name, home
        self._deliver = deliver
        self._wanted = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._hear, name="hearing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def again(self) -> None:
        """Find or start the host again, where it has gone."""
        self._wanted.set()

    def stop(self) -> None:
        """Hang up; what runs in the host goes on."""
        self._over = True
        self._wanted.set()
        if self.client is not None:
            self.client.close()

    def _hear(self) -> None:
        while not self._over:
            began = time.monotonic()
            self._deliver([Starting(self._name)])
            asked, reason = self._attached()
            self.client = None
            if self._over:
                return
            self._wanted.clear()
            self._deliver([Gone(reason)])
            if asked or time.monotonic() - began < LIVED:
                self._wanted.wait()

    def _attached(self) -> tuple[bool, str]:
        """Hear the host to its end. Returns whether that was asked for, and what to say of it."""
        try:
            self.client = find_or_start(self._name, self._home)
            ended = self._followed(self.client)
        except WorkbenchError as error:
            return True, str(error)
        return ended, "the host was asked to end" if ended else "the host ended suddenly"

    def _followed(self, client: Client) -> bool:
        """Deliver what the host says. Returns whether it said farewell."""
        past: list[Heard] | None = []
        until = 0
        with closing(client.attach(1)) as replies:
            for reply in replies:
                if isinstance(reply, Ended):
                    return True
                if isinstance(reply, Welcome):
                    until = reply.next - 1
                new = [each for each in (heard(reply),) if each is not None]
                if past is None:
                    self._deliver(new)
                    continue
                past += new
                if until == 0 or (isinstance(reply, Numbered | Queued | Finished) and reply.number >= until):
                    self._deliver(past)
                    past = None
        return False


def heard(reply: Reply) -> Heard | None:
    """What the host says, its events read; None for answers to questions."""
    match reply:
        case Numbered():
            return Told(reply.ticket, reply.author, told(reply))
        case Welcome() | Missed() | Queued() | Finished():
            return reply
    return None
