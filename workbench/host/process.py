"""The host process: it owns the session, runs one line after another, and outlives its clients.

    python -m workbench.host.process NAME --home PATH

Lines run in the main thread, in the order in which they arrive; another thread serves clients (see `serving`). After
each command that changed the session, its state is on the disk; the next host of that name restores it, also after a
kill. SIGTERM stops the running command and ends the host; SIGHUP is ignored.
"""

from __future__ import annotations

import copy
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click
from msgspec import Raw, structs

from commands import completing, grammar
from commands.calling import call_line
from commands.running import run, with_remark
from sessions import saved_state
from sessions.errors import ArtifactError, Cancelled, WorkbenchError
from sessions.events import Event, Failed, Partial, Progress, Result, Started, State, Steps, Text, to_json
from sessions.journal import recent, told
from sessions.permits import Permits
from sessions.results import Restored
from sessions.saved_state import SavedState
from sessions.session import Session
from workbench.host.log import Log
from workbench.host.messages import (
    JOURNAL_TICKET,
    Acknowledged,
    Busy,
    Complete,
    Completions,
    Finished,
    FoundCompletion,
    Message,
    Numbered,
    Queued,
    RefusedRequest,
    RunForAgent,
    RunLine,
    Welcome,
)
from workbench.host.places import HostPaths, held
from workbench.host.serving import Serving

#: The most lines that wait; more are refused.
MOST_WAITING = 1000
#: Commands of the journal that a host replays when it starts.
RECALLED = 200
_OWN = RunLine("# the session as it was", "restore", "host")


class Host:
    """A session, the lines that wait for it, and the log of its messages.

    The main thread calls `work`; the thread that serves clients calls the other methods.
    """

    def __init__(self, place: HostPaths, session: Session) -> None:
        self.log = Log()
        self._place = place
        self._session = session
        self._state = session.state()
        self._kept = SavedState()
        self._began = self._since = time.time()
        self._lock = threading.Lock()
        self._work = SimpleQueue[None]()  # one item per line that arrived; a signal handler may add one
        self._waiting: list[RunLine] = []
        self._running: RunLine | None = None
        self._cancelled = False
        self._stopping = False

    # Requests of clients

    def take(self, request: RunLine) -> tuple[Message, ...]:
        """Add a line to those that wait; log how many are before it."""
        with self._lock:
            before = len(self._waiting) + (self._running is not None)
            if len(self._waiting) >= MOST_WAITING or self._stopping:
                why = "the host is ending" if self._stopping else f"{MOST_WAITING} lines are waiting already"
                return (RefusedRequest(why, "try again later", request.ticket),)
            if before:
                self.log.add(lambda number: Queued(**_about(request, number), line=request.line, before=before))
            self._waiting.append(request)
        self._work.put(None)
        return ()

    def cancel(self, ticket: str) -> Acknowledged:
        """Stop the line with this ticket, or the running one. A waiting line is removed at once."""
        with self._lock:
            running = self._running
            if running is not None and ticket in ("", running.ticket):
                self._cancelled = True
                self._session.cancel.request()
                return Acknowledged(running.line)
            waiting = next((request for request in self._waiting if ticket and request.ticket == ticket), None)
            if waiting is None:
                return Acknowledged()
            self._waiting.remove(waiting)
        self._tell(waiting, Failed(Cancelled.kind, "cancelled"))
        self.log.add(lambda number: Finished(**_about(waiting, number)))
        return Acknowledged(waiting.line)

    def stopping(self) -> Acknowledged:
        """End the host once the running command has stopped."""
        running = self._running
        self.stop()
        return Acknowledged("" if running is None else running.line)

    def stop(self) -> None:
        """The same from a signal handler: it takes no lock."""
        self._stopping = True
        self._session.cancel.request()
        self._work.put(None)

    def interrupt(self) -> None:
        """Stop the running command, from a signal handler."""
        self._session.cancel.request()

    def welcome(self) -> Welcome:
        """The host's status."""
        with self._lock:
            running, waiting = self._running, tuple(request.line for request in self._waiting)
            number = self.log.next  # under the lock: the `Finished` of a running line has a higher number
        return Welcome(
            name=self._place.name,
            pid=os.getpid(),
            began=self._began,
            next=number,
            state=self._state,
            busy=None if running is None else Busy(running.line, running.ticket, running.author),
            since=self._since,
            waiting=waiting,
        )

    def completions(self, request: Complete) -> Completions:
        """Completions of the word at the cursor, in the session as it is at this moment."""
        try:
            session = copy.copy(self._session)
            session.folder = Path(request.folder)
            words = completing.complete(request.line, request.cursor, session)
        except Exception:  # an unreadable home has no names to offer; using it says why
            words = []
        return Completions(
            tuple(FoundCompletion(word.start, word.text, word.description) for word in words), request.ticket
        )

    # The main thread

    def work(self) -> None:
        """Restore the saved state, then run lines until the host is asked to end."""
        self._recall()
        self._follow(_OWN, self._restored())
        while True:
            self._work.get()
            if self._stopping:
                return
            request = self._next()
            if request is not None:
                self._follow(request, self._events(request))

    def _recall(self) -> None:
        """Replay the journal's last commands."""
        assert self._session.journal is not None
        records = []
        with suppress(ArtifactError):
            records = recent(self._session.journal.path, RECALLED)
        for record in records:
            request = RunLine(record.line, JOURNAL_TICKET, record.author)
            for event in told(record):
                self._tell(request, event)
        if records:
            self._tell(request, self._state)  # the session holds none of it yet

    def _next(self) -> RunLine | None:
        """The next line; None if it was cancelled while it waited."""
        with self._lock:
            return self._begun(self._waiting.pop(0)) if self._waiting else None

    def _begun(self, request: RunLine) -> RunLine:
        self._running, self._cancelled, self._since = request, False, time.time()
        return request

    def _follow(self, request: RunLine, events: Generator[Event, None, None]) -> None:
        """Log the events of a line to its end."""
        if self._running is None:
            with self._lock:
                self._begun(request)
        try:
            with closing(events):
                for event in events:
                    self._tell(request, self._saved(event) if isinstance(event, Result | Failed) else event)
                    if self._cancelled or self._stopping:  # the request may have come before the command began to check
                        self._session.cancel.request()
        except Exception as defect:  # no line may end the host
            self._tell(request, Failed("defect", f"{type(defect).__name__}: {defect}", f"see {self._place.log}"))
            traceback.print_exc()
        with self._lock:
            self._running, self._since = None, time.time()
            self.log.add(lambda number: Finished(**_about(request, number)))

    def _events(self, request: RunLine) -> Generator[Event, None, None]:
        if request.folder:
            try:
                os.chdir(request.folder)
            except (OSError, ValueError) as error:  # ValueError: a null character in the path
                reason = getattr(error, "strerror", None) or str(error)
                yield Failed("usage", f"cannot work in {request.folder}: {reason}", "change to another folder")
                return
        self._session.author, self._session.permits = request.author, self._permits(request)
        with self._place.marked_opening(_opened_by(request.line)):
            yield from run(self._session, request.line)

    def _permits(self, request: RunLine) -> Permits:
        if not isinstance(request, RunForAgent):
            return Permits()
        return Permits(None if request.write_anywhere else self._session.home, request.trust)

    def _tell(self, request: RunLine, event: Event) -> None:
        if isinstance(event, State):
            self._state = event
        data = Raw(to_json(event))
        passing = isinstance(event, Text | Progress | Partial)
        self.log.add(lambda number: Numbered(**_about(request, number), event=data), passing)

    def _saved(self, outcome: Result | Failed) -> Result | Failed:
        """Save the session's state. Returns the outcome, with a remark if the state could not be saved."""
        now = saved_state.kept(self._session)
        if now != self._kept:
            self._kept = now
            try:
                saved_state.write(self._place.state, now)
            except ArtifactError as error:
                return with_remark(outcome, f"this would be lost with the host: {error.message}; {error.hint}")
        return outcome

    def _restored(self) -> Generator[Event, None, None]:
        """Restore the saved state and yield the events of it; none if nothing was saved."""
        start = time.perf_counter()
        try:
            state = saved_state.read(self._place.state)
        except ArtifactError as error:
            aside = self._place.state.with_suffix(".damaged.json")
            with suppress(OSError):
                self._place.state.replace(aside)
            yield Failed(error.kind, error.message, f"the session starts empty; the file is kept as {aside}")
            return
        state, remarks = self._trusted(state)
        if state == SavedState() and not remarks:
            return
        yield Started("", _OWN.line)
        missing = yield from self._bring_back(state, remarks)
        self._kept = saved_state.kept(self._session)  # what was not restored stays on the disk until the next change
        held = self._session.state()
        yield Result(Restored(state=held, circuit=self._session.circuit, notes=missing), time.perf_counter() - start)
        yield held

    def _trusted(self, state: SavedState) -> tuple[SavedState, tuple[str, ...]]:
        """The saved state, without a model whose opening ended the last host; a remark says so."""
        name = self._place.was_opening()
        if name is None:
            return state, ()
        opening = state.opening
        name = name or ("" if opening is None else opening.name)
        left = structs.replace(state, opening=None) if opening is not None and opening.name == name else state
        if not name:
            return left, ()
        remark = f"the model {name} was left out: the last host ended while it opened; {call_line('model', name)} tries"
        return left, (remark,)

    def _bring_back(self, state: SavedState, remarks: tuple[str, ...]) -> Steps[tuple[str, ...]]:
        try:
            with self._place.marked_opening("" if state.opening is None else state.opening.name):
                return (*remarks, *(yield from saved_state.restore(self._session, state)))
        except Exception as defect:  # the host must run to report it
            return (*remarks, f"the rest did not come back: {type(defect).__name__}: {defect}")


def _opened_by(line: str) -> str:
    """The model that a line opens; "" for any other line."""
    call = grammar.understood(line)
    return str(call.params.get("name") or "") if call is not None and call.verb == "model" else ""


def _about(request: RunLine, number: int) -> dict[str, Any]:
    return {"number": number, "ticket": request.ticket, "author": request.author}


def _heed_signals(host: Host) -> None:
    """SIGTERM ends the host, SIGINT stops the running command, SIGHUP is ignored."""
    signal.signal(signal.SIGTERM, lambda *_: host.stop())
    signal.signal(signal.SIGINT, lambda *_: host.interrupt())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@click.command()
@click.argument("name")
@click.option("--home", type=click.Path(file_okay=False, path_type=Path))
def main(name: str, home: Path | None) -> None:
    """Run the host NAME, unless it runs already."""
    faulthandler.enable()
    try:
        place = HostPaths(home, name)
        with held(place) as listening:
            if listening is None:
                return
            host = Host(place, Session(place.home, journal=name))
            _heed_signals(host)
            serving = Serving(host, listening)
            serving.start()
            host.work()
            serving.stop()
    except WorkbenchError as error:
        sys.exit(f"✗ {error}")


if __name__ == "__main__":
    main()
