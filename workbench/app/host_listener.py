"""The thread that finds or starts the host and receives its messages; it starts the host again if it dies.

Messages from before this client attached are delivered in one piece, so that they are drawn at once.
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

#: A host that dies is started again by itself only if it ran at least so many seconds.
LIVED = 10.0


@dataclass(frozen=True)
class Starting:
    """The host is being found or started."""

    name: str


@dataclass(frozen=True)
class Gone:
    """The host has ended, or could not be started."""

    reason: str


@dataclass(frozen=True)
class Told:
    """An event of a line."""

    ticket: str
    author: str
    event: Event


Heard = Starting | Gone | Welcome | Missed | Queued | Told | Finished


class HostListener:
    """Receives the messages of one host for as long as the app runs.

    Args:
        name: the host's name.
        home: folder of saved artifacts; None for the user's data folder.
        deliver: called often, in this thread, with the messages received.
    """

    def __init__(self, name: str, home: Path | None, deliver: Callable[[list[Heard]], None]) -> None:
        self.client: Client | None = None
        self._name, self._home = name, home
        self._deliver = deliver
        self._wanted = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._hear, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def again(self) -> None:
        """Find or start the host again if it has ended."""
        self._wanted.set()

    def stop(self) -> None:
        """Disconnect; the host keeps running."""
        self._over = True
        self._wanted.set()
        if self.client is not None:
            self.client.close()

    def _hear(self) -> None:
        while not self._over:
            began = time.monotonic()
            self._deliver([Starting(self._name)])
            expected, reason = self._attached()
            self.client = None
            if self._over:
                return
            self._wanted.clear()
            self._deliver([Gone(reason)])
            if expected or time.monotonic() - began < LIVED:
                self._wanted.wait()

    def _attached(self) -> tuple[bool, str]:
        """Receive messages until the host ends. Returns whether it must not be started again by itself, and the reason
        for its end."""
        try:
            self.client = find_or_start(self._name, self._home)
            ended = self._followed(self.client)
        except WorkbenchError as error:
            return True, str(error)
        return ended, "the host was asked to end" if ended else "the host ended suddenly"

    def _followed(self, client: Client) -> bool:
        """Deliver the host's messages. Returns whether the last one was `Ended`."""
        past: list[Heard] | None = []
        until = 0
        with closing(client.attach(1)) as replies:
            for reply in replies:
                if isinstance(reply, Ended):
                    return True
                if isinstance(reply, Welcome):
                    until = reply.next - 1
                message = heard(reply)
                new = [] if message is None else [message]
                if past is None:
                    self._deliver(new)
                    continue
                past += new
                if until == 0 or (isinstance(reply, Numbered | Queued | Finished) and reply.number >= until):
                    self._deliver(past)
                    past = None
        return False


def heard(reply: Reply) -> Heard | None:
    """A message with its event decoded; None for answers to requests."""
    match reply:
        case Numbered():
            return Told(reply.ticket, reply.author, told(reply))
        case Welcome() | Missed() | Queued() | Finished():
            return reply
    return None
