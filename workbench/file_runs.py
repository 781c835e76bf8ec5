"""Command files as `workbench run` runs them: the model first, then the file, then a report of both."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from commands import library, script
from commands.calling import call_line
from commands.reporting import check_page
from commands.running import run
from sessions.events import Event, Failed
from sessions.session import Session
from sessions.texts.placeholders import assignments


class FileRun(NamedTuple):
    """What the command line asks for. `values` are words NAME=VALUE, `report` is the page to write, which `force`
    replaces."""

    file: Path
    model: str | None = None
    values: tuple[str, ...] = ()
    trust: bool = False
    report: Path | None = None
    force: bool = False

    def checked(self) -> Self:
        """The same with the path of its file, which can be run, and a page that can be written.

        Raises:
            WorkbenchError: the file cannot be read or has a line that is no command; or the page cannot be written.
        """
        file = library.path_of(self.file)
        script.read(file, assignments(self.values), trust=self.trust)
        if self.report is not None:
            check_page(self.report, self.force)
        return self._replace(file=file)

    def play(self, session: Session, show: Callable[[Event], None]) -> Failed | None:
        """Run it and show its events. Returns how it failed; the report is written all the same."""
        session.trusting = self.trust
        failed = self._played(session, show)
        if self.report is None:
            return failed
        line = call_line("report", str(self.report), force=self.force)
        unwritten = _shown(run(session, line, where="--report"), show)
        return failed or unwritten

    def _played(self, session: Session, show: Callable[[Event], None]) -> Failed | None:
        if self.model is not None:
            failed = _shown(run(session, call_line("model", self.model), where="--model"), show)
            if failed is not None:
                return failed
        return _shown(script.play(session, self.file, assignments(self.values)), show)


def _shown(stream: Generator[Event, None, Any], show: Callable[[Event], None]) -> Failed | None:
    """Show the events of a stream. Returns the last failure of a line in it."""
    failed = None
    with closing(stream) as events, suppress(script.ScriptStopped):
        for event in events:
            show(event)
            if isinstance(event, Failed) and event.where:
                failed = event
    return failed
