"""The client of a host: runs lines in it and receives its messages. `starting` finds a host.

Each request has a connection of its own. So a client can send requests and cancel while it listens, and a lost
connection affects one request only.
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
from sessions.results import Cleared, Quit
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

#: Seconds that a running host may take to answer.
ANSWER = 5.0
#: Seconds between two attempts to connect.
_AGAIN = 0.02

M = TypeVar("M", bound=Message)


class Client:
    """The client of one running host. It is connected only during a request.

    `author` names who typed the client's lines.
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
        """The host's status.

        Raises:
            HostError: the host does not answer.
        """
        return self._answer(Ping(), Welcome, seconds)

    def state(self) -> State:
        """The session's state; the last known one if the host does not answer at once."""
        with suppress(HostError):
            self._state = self.welcome(0.5).state
        return self._state

    def attach(self, since: int | None = None) -> Generator[Reply, None, None]:
        """Yield everything the host sends: `Welcome`, then past messages from number `since` on, then new ones.

        It ends with the host; after `Ended` if the host was asked to end.

        Raises:
            HostError: the host cannot be reached.
        """
        with self._connection(Attach(since)) as connection:
            yield from connection.replies()

    def run(self, line: str, author: str = "") -> Generator[Event, None, None]:
        """Run a line in the host and yield its events to the end. While the line waits, `Progress` says so.

        As in a local session, nothing is raised. Closing the generator only disconnects: a terminal that dies stops
        nothing; `cancel` stops the line. `quit` and `clear` are handled here and not sent.
        """
        local = _answered_here(line)
        if local is not None:
            yield from local
            return
        self._ticket = ticket = secrets.token_hex(8)
        try:
            yield from self._events(RunLine(line, ticket, author or self.author, _folder()))
        except HostError as error:
            yield Failed(error.kind, error.message, error.hint)
        except KeyboardInterrupt:
            self.cancel(ticket)
            hint = f"workbench kill {self.name} ends a host that does not stop"
            yield Failed(Cancelled.kind, "stopped waiting; the host was asked to stop the line", hint)
        finally:
            self._ticket = ""

    def send(self, line: str) -> str:
        """Send a line to run; its events go to attached clients. Returns its ticket.

        Raises:
            HostError: the host refuses the line, or does not answer.
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
        raise HostError(f"the host {self.name} closed the connection", "see whether it runs: workbench hosts")

    def _events(self, request: RunLine) -> Iterator[Event]:
        with self._connection(request) as connection:
            for reply in connection.replies():
                if isinstance(reply, Finished):
                    return
                event = event_of(reply)
                if event is not None:
                    yield event
                if isinstance(reply, RefusedRequest):
                    return
        raise self.ended()

    def ended(self) -> HostError:
        """The error of a line whose host ended before it."""
        return HostError(
            f"the host {self.name} ended before the line did", f"workbench attach {self.name} brings the session back"
        )

    def connect(self, seconds: float = ANSWER) -> socket.socket:
        """A connection to the host, on which nothing was sent.

        Raises:
            HostError: the host cannot be reached, or belongs to another user.
        """
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.settimeout(seconds)
        try:
            _connect(connected, self._holder.socket, seconds)
        except OSError as error:
            connected.close()
            raise self.trouble(error) from error
        if not is_own(connected):
            connected.close()
            raise HostError(f"the socket of {self.name} belongs to another user", "choose another name")
        return connected

    def trouble(self, error: OSError) -> HostError:
        """What an error of a connection means."""
        if isinstance(error, TimeoutError):
            return HostError(
                f"the host {self.name} does not answer",
                f"wait, or end it: workbench kill {self.name} (its state is kept)",
            )
        return HostError(
            f"the host {self.name} cannot be reached: {error.strerror or error}", "workbench hosts lists them"
        )

    def cancel(self, ticket: str = "") -> bool:
        """Stop this client's line, else whichever runs. Returns whether the host acknowledged it."""
        with suppress(HostError):
            self._answer(CancelLine(ticket or self._ticket), Acknowledged, 1.0)
            return True
        return False

    def complete(self, line: str, cursor: int) -> Sequence[Completion]:
        """Completions of the word at the cursor; none if the host does not answer at once."""
        if not is_text(line):
            return []
        with suppress(HostError):
            words = self._answer(Complete(line, cursor, folder=_folder()), Completions, 1.0).found
            return [Completion(word.start, word.text, word.description) for word in words]
        return []

    def stop(self) -> None:
        """Ask the host to end.

        Raises:
            HostError: it does not answer.
        """
        self._answer(Stop(), Acknowledged, 1.0)

    def close(self) -> None:
        """Close all connections; the host continues."""
        for connection in tuple(self._open):
            connection.close()

    def _answer(self, question: Message, kind: type[M], seconds: float) -> M:
        with self._connection(question, seconds) as connection:
            for reply in connection.replies():
                if isinstance(reply, kind):
                    return reply
                if isinstance(reply, RefusedRequest):
                    raise HostError(reply.reason, reply.hint)
        raise HostError(f"the host {self.name} closed the connection", "see whether it runs: workbench hosts")

    def _connection(self, first: Message, seconds: float | None = None) -> _Connection:
        return _Connection(self, first, seconds)


class _Connection:
    """A connection to a host, opened with a first message."""

    def __init__(self, client: Client, first: Message, seconds: float | None) -> None:
        self._client = client
        data = short_enough(first)
        self._socket = client.connect(seconds or ANSWER)
        try:
            with suppress(BrokenPipeError):  # the host closed the connection; its last message may say why
                self._socket.sendall(data)
            self._socket.settimeout(seconds)
        except OSError as error:
            self._socket.close()
            raise client.trouble(error) from error
        client._open.add(self)

    def say(self, message: Message) -> None:
        """Send another message.

        Raises:
            HostError: the host cannot be reached.
        """
        try:
            self._socket.sendall(written(message))
        except BrokenPipeError:
            pass  # the host closed the connection; its last message may say why
        except OSError as error:
            raise self._client.trouble(error) from error

    def replies(self) -> Iterator[Reply]:
        """Yield the host's messages until it closes the connection."""
        with self._socket.makefile("rb") as stream:
            while True:
                try:
                    line = stream.readline()
                except OSError as error:
                    raise self._client.trouble(error) from error
                if not line.endswith(b"\n"):
                    return
                yield reply_in(line)

    def close(self) -> None:
        self._client._open.discard(self)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(connected: socket.socket, path: str, seconds: float) -> None:
    """Connect; try again while the host's queue of connections is full."""
    until = time.monotonic() + seconds
    while True:
        try:
            connected.connect(path)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError from None
            time.sleep(_AGAIN)


def short_enough(request: Message) -> bytes:
    """The bytes of a request.

    Raises:
        HostError: it is longer than a host reads.
    """
    data = written(request)
    if len(data) > LARGEST:
        raise HostError(f"the line has more than {LARGEST} bytes", "put a long text into a command file")
    return data


def reply_in(line: bytes) -> Reply:
    """The host's message in a line.

    Raises:
        HostError: this version does not know it.
    """
    try:
        return read_reply(line)
    except (ValueError, RecursionError) as error:
        raise HostError(f"the host may be of another version: {error}", "end it and start it again") from None


def event_of(reply: Reply) -> Event | None:
    """What a message about a line says as an event; None if it says nothing about it."""
    match reply:
        case Queued(before=before):
            return Progress(f"waiting for {'a line' if before == 1 else f'{before} lines'} before it")
        case Numbered():
            return told(reply)
        case RefusedRequest(reason=reason, hint=hint):
            return Failed(HostError.kind, reason, hint)
    return None


def told(message: Numbered) -> Event:
    """The event of a message. An event that this version cannot read becomes a `Failed`; the stream goes on."""
    try:
        return message.told()
    except (ValueError, RecursionError) as error:
        return Failed("host", f"an event could not be read: {error}", "the host may be of another version")


def _answered_here(line: str) -> tuple[Event, ...] | None:
    """The events of a line that is not sent: `quit`, `clear`, and bytes that are no text; None for others."""
    try:
        call = parse(line)
    except UsageError as error:
        if is_text(line):
            return None  # the host reports the error, and records it in the journal
        return (Failed(error.kind, error.message, error.hint, "", error.column),)
    own = {"quit": Quit, "clear": Cleared}.get(call.verb)
    return None if own is None else (Started(call.verb, line), Result(own()))


def _folder() -> str:
    """The folder that a line's relative paths start from; '' if it no longer exists."""
    with suppress(OSError):
        return os.getcwd()
    return ""


def _author() -> str:
    """The name of this terminal, else of this process."""
    with suppress(OSError):
        return os.ttyname(0).removeprefix("/dev/")
    return f"process {os.getpid()}"


def caught_up(client: Client, last: int) -> Iterator[Welcome | Missed | Logged]:
    """Yield the host's `Welcome`, its `last` messages and, if a line is running, its messages until it ends.

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
