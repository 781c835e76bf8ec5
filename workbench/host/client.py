"""The other side of a host: run lines in it, hear what it says. `starting` finds one.

Each thing that lasts (`attach`, `run`) has a connection of its own, and so has each short question: a client can
ask, and stop what runs, while it listens, and a connection that is lost costs nothing but itself.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import TypeVar

from commands.completing import Completion
from commands.grammar import parse
from commands.line import is_text
from sessions.errors import Cancelled, UsageError
from sessions.events import Event, Failed, Progress, Result, Started, State
from sessions.results import Quit
from workbench.host.messages import (
    LARGEST,
    Acknowledged,
    Attach,
    CancelLine,
    Complete,
    Completions,
    Finished,
    Logged,
    Message,
    Missed,
    Numbered,
    Ping,
    Queued,
    RefusedRequest,
    Reply,
    RunLine,
    Stop,
    Welcome,
    read_reply,
    written,
)
from workbench.host.places import Holder, HostError, HostPaths, is_own

#: Seconds that a host which lives may take to answer.
ANSWER = 5.0
#: Seconds after which one that could not be connected to is tried again.
_AGAIN = 0.02

M = TypeVar("M", bound=Message)


class Client:
    """A host that was found. It is connected to only while something is asked of it, or heard.

    `author` is who the host says typed a line.
    """

    def __init__(self, place: HostPaths, holder: Holder, author: str = "") -> None:
        self.place = place
        self.name, self.home, self.pid = place.name, place.home, holder.pid
        self.author = author or _author()
        self._holder = holder
        self._open: set[_Connection] = set()
        self._ticket = ""
        self._state = State()

    def welcome(self, seconds: float = ANSWER) -> Welcome:
        """How the host is.

        Raises:
            HostError: it does not answer.
        """
        return self._asked(Ping(), Welcome, seconds)

    def state(self) -> State:
        """What the session holds; what was known last where the host does not answer at once."""
        with suppress(HostError):
            self._state = self.welcome(0.5).state
        return self._state

    def attach(self, since: int | None = None) -> Generator[Reply, None, None]:
        """Everything the host says: `Welcome`, then what was said from number `since` on, and what will be.

        It ends with the host, after `Ended` where that was asked for.

        Raises:
            HostError: the host cannot be reached.
        """
        with self._connection(Attach(since)) as connection:
            yield from connection.replies()

    def run(self, line: str, author: str = "") -> Generator[Event, None, None]:
        """Run a line in the host and yield its events, to its end. While it waits, `Progress` says so.

        As in a session of one's own nothing is raised. Closing the generator only hangs up: a terminal that
        dies in the middle stops nothing, `cancel` does. `quit` is a matter of this client alone.
        """
        own = _answered_here(line)
        if own is not None:
            yield from own
            return
        self._ticket = ticket = secrets.token_hex(8)
        try:
            yield from self._events(RunLine(line, ticket, author or self.author, _folder()))
        except HostError as error:
            yield Failed(error.kind, error.message, error.hint)
        except KeyboardInterrupt:
            self.cancel(ticket)
            hint = f"workbench kill {self.name} ends a host that does not stop"
            yield Failed(Cancelled.kind, "not waited for any longer; the host was asked to stop it", hint)
        finally:
            self._ticket = ""

    def send(self, line: str) -> str:
        """Have a line run, and hear no more of it than who is attached does. Returns its ticket.

        Raises:
            HostError: the host does not take it, or does not answer.
        """
        ticket = secrets.token_hex(8)
        with self._connection(RunLine(line, ticket, self.author, _folder()), ANSWER) as connection:
            connection.say(Ping())
            for reply in connection.replies():
                match reply:
                    case RefusedRequest(reason=reason, hint=hint):
                        raise HostError(reason, hint)
                    case Welcome():
                        return ticket
        raise HostError(f"the host {self.name} hung up", "see whether it lives: workbench hosts")

    def _events(self, request: RunLine) -> Iterator[Event]:
        with self._connection(request) as connection:
            for reply in connection.replies():
                match reply:
                    case Queued(before=before):
                        yield Progress(f"waiting for {'a line' if before == 1 else f'{before} lines'} before it")
                    case Numbered():
                        yield told(reply)
                    case RefusedRequest(reason=reason, hint=hint):
                        yield Failed(HostError.kind, reason, hint)
                        return
                    case Finished():
                        return
        raise HostError(
            f"the host {self.name} ended before the line did", f"workbench attach {self.name} brings the session back"
        )

    def cancel(self, ticket: str = "") -> bool:
        """Stop the line that this client runs, else whichever runs. Returns whether the host has heard it."""
        with suppress(HostError):
            self._asked(CancelLine(ticket or self._ticket), Acknowledged, 1.0)
            return True
        return False

    def complete(self, line: str, cursor: int) -> Sequence[Completion]:
        """What the word at the cursor could become; nothing where the host does not answer at once."""
        if not is_text(line):
            return []
        with suppress(HostError):
            found = self._asked(Complete(line, cursor, folder=_folder()), Completions, 1.0).found
            return [Completion(each.start, each.text, each.description) for each in found]
        return []

    def stop(self) -> None:
        """Ask the host to end.

        Raises:
            HostError: it does not answer.
        """
        self._asked(Stop(), Acknowledged, 1.0)

    def close(self) -> None:
        """Hang up; what runs in the host goes on."""
        for connection in tuple(self._open):
            connection.close()

    def _asked(self, question: Message, kind: type[M], seconds: float) -> M:
        with self._connection(question, seconds) as connection:
            for reply in connection.replies():
                if isinstance(reply, kind):
                    return reply
                if isinstance(reply, RefusedRequest):
                    raise HostError(reply.reason, reply.hint)
        raise HostError(f"the host {self.name} hung up", "see whether it lives: workbench hosts")

    def _connection(self, first: Message, seconds: float | None = None) -> _Connection:
        return _Connection(self, first, seconds)


class _Connection:
    """A connection to a host, and the first thing said in it."""

    def __init__(self, client: Client, first: Message, seconds: float | None) -> None:
        self._client = client
        self._seconds = seconds
        data = written(first)
        if len(data) > LARGEST:
            raise HostError(f"the line has more than {LARGEST} bytes", "put a long text into a command file")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds or ANSWER)
        try:
            self._connect(client._holder.socket, seconds or ANSWER)
            self._check()
            with suppress(BrokenPipeError):  # it has hung up, and may have said why: that is still to be read
                self._socket.sendall(data)
            self._socket.settimeout(seconds)
        except OSError as error:
            self._socket.close()
            raise self._trouble(error) from error
        client._open.add(self)

    def _connect(self, path: str, seconds: float) -> None:
        """Connect, which is tried again while more clients come at once than may wait to be met."""
        until = time.monotonic() + seconds
        while True:
            try:
                self._socket.connect(path)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError from None
                time.sleep(_AGAIN)

    def say(self, message: Message) -> None:
        """Say something more.

        Raises:
            HostError: the host does not listen.
        """
        try:
            self._socket.sendall(written(message))
        except BrokenPipeError:
            pass  # it has hung up, and may have said why: that is still to be read
        except OSError as error:
            raise self._trouble(error) from error

    def replies(self) -> Iterator[Reply]:
        """What the host says, until it hangs up."""
        with self._socket.makefile("rb") as stream:
            while True:
                try:
                    line = stream.readline()
                except OSError as error:
                    raise self._trouble(error) from error
                if not line.endswith(b"\n"):
                    return
                yield _read(line)

    def close(self) -> None:
        self._client._open.discard(self)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        if not is_own(self._socket):
            self._socket.close()
            raise HostError(f"the socket of {self._client.name} belongs to another user", "it is not used")

    def _trouble(self, error: OSError) -> HostError:
        name = self._client.name
        if isinstance(error, TimeoutError):
            return HostError(
                f"the host {name} does not answer", f"wait, or end it: workbench kill {name}; its state is kept"
            )
        return HostError(f"the host {name} cannot be reached: {error.strerror or error}", "workbench hosts lists them")


def _read(line: bytes) -> Reply:
    try:
        return read_reply(line)
    except (ValueError, RecursionError) as error:
        raise HostError(f"the host says what this version does not know: {error}", "end it and start it anew") from None


def told(message: Numbered) -> Event:
    """The event of a message; one that this version cannot read is a failure, not the end of the stream."""
    try:
        return message.told()
    except (ValueError, RecursionError) as error:
        return Failed("host", f"an event could not be read: {error}", "the host may be of another version")


def _answered_here(line: str) -> tuple[Event, ...] | None:
    """What a line says that is not the host's business: `quit`, and bytes that are no text."""
    try:
        call = parse(line)
    except UsageError as error:
        if is_text(line):
            return None  # the host says so, and writes it down
        return (Failed(error.kind, error.message, error.hint, "", error.column),)
    return (Started("quit", line), Result(Quit())) if call.verb == "quit" else None


def _folder() -> str:
    """Where relative paths of a line are; nowhere in particular where the folder itself is gone."""
    with suppress(OSError):
        return os.getcwd()
    return ""


def _author() -> str:
    """This terminal's name, or this process."""
    with suppress(OSError):
        return os.ttyname(0).removeprefix("/dev/")
    return f"process {os.getpid()}"


def caught_up(client: Client, last: int) -> Iterator[Welcome | Missed | Logged]:
    """How the host is, the last so many things it said and, where a line runs, what is said until it ends.

    Raises:
        HostError: the host cannot be reached.
    """
    start = max(client.welcome().next - last, 1)
    with closing(client.attach(start)) as replies:
        welcome = next(replies)
        assert isinstance(welcome, Welcome)
        yield welcome
        running = "" if welcome.busy is None else welcome.busy.ticket
        if not running and welcome.next <= start:
            return
        for reply in replies:
            if isinstance(reply, Logged | Missed):
                yield reply
            if isinstance(reply, Logged) and _is_last(reply, welcome.next - 1, running):
                return


def _is_last(message: Logged, number: int, running: str) -> bool:
    if running:
        return isinstance(message, Finished) and message.ticket == running
    return message.number >= number
