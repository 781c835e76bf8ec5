"""`LineSource`: the interface through which the REPL runs lines, in a local session or in a host's."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from commands import completing
from commands.completing import Completion
from commands.running import run
from sessions.events import Event, State
from sessions.session import Session


class LineSource(Protocol):
    """A session to type lines into."""

    @property
    def home(self) -> Path:
        """The folder of saved artifacts."""

    def run(self, line: str) -> Generator[Event, None, None]:
        """Run one line; raises nothing. Closing the generator stops a local line; from a host it only disconnects."""

    def cancel(self) -> object:
        """Request that the running line stop. Safe in a signal handler."""

    def state(self) -> State:
        """What the session holds."""

    def complete(self, line: str, cursor: int) -> Sequence[Completion]:
        """Completions of the word at the cursor."""


class Local:
    """A session of this process."""

    def __init__(self, session: Session) -> None:
        self.home = session.home
        self._session = session

    def run(self, line: str) -> Generator[Event, None, None]:
        return run(self._session, line)

    def cancel(self) -> None:
        self._session.cancel.request()

    def state(self) -> State:
        return self._session.state()

    def complete(self, line: str, cursor: int) -> Sequence[Completion]:
        return completing.complete(line, cursor, self._session)
