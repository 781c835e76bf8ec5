"""The protocol between client and host: one JSON object per line, in both directions.

A client that does not attach receives messages about its own lines only. An attached client receives all, numbered from
the host's start. This module and what it imports need no model.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

# A result is decoded by the name of its class, so all classes must be imported.
import sessions.results  # noqa: F401
from sessions.events import Event, State, from_json
from sessions.files.json_text import escaped

#: The most bytes of a client's message, including its newline.
LARGEST = 2**20

#: The ticket of messages that a host replays from its journal when it starts.
JOURNAL_TICKET = "journal"

Ticket = Annotated[str, Meta(max_length=64)]
Number = Annotated[int, Meta(ge=0)]


class Message(Struct, frozen=True, tag=True, tag_field="message"):
    """Base class of all messages. The class name is the JSON field `message`."""


class Attach(Message, frozen=True):
    """Receive all messages from number `since` on; only new ones without it. Answered by `Welcome`."""

    since: Number | None = None


class RunLine(Message, frozen=True, tag="Run"):
    """Run a line after those before it. All messages about it carry its `ticket`.

    Other clients see `author`. Relative paths in the line start from `folder`.
    """

    line: str
    ticket: Ticket
    author: Annotated[str, Meta(max_length=256)] = ""
    folder: str = ""


class RunForAgent(RunLine, frozen=True, tag="RunForAgent"):
    """Run a line that nobody wants once this connection is closed: it is stopped then, or never begins.

    Without `write_anywhere` it writes files only in the home, and without `trust` it lets no model's own code run;
    this holds for the lines of files that it runs too.
    """

    write_anywhere: bool = False
    trust: bool = False


class CancelLine(Message, frozen=True, tag="Cancel"):
    """Stop the running or waiting line with this ticket; without a ticket, the running line."""

    ticket: Ticket = ""


class Ping(Message, frozen=True):
    """Ask for the host's status. Answered by `Welcome`."""


class Stop(Message, frozen=True):
    """End the host once the running command has stopped."""


class Complete(Message, frozen=True):
    """Complete the word at the cursor. Answered by `Completions`. `folder` is as in `RunLine`."""

    line: str
    cursor: Number
    ticket: Ticket = ""
    folder: str = ""


class Busy(Struct, frozen=True):
    """The running line."""

    line: str
    ticket: str
    author: str


class Welcome(Message, frozen=True, kw_only=True):
    """The status of a host.

    `next` is the number of the next message, `busy` the running line, `waiting` the lines after it. `began` is when
    the host started, `since` when the running line began or the last one ended, in seconds since 1970.
    """

    name: str
    pid: int
    began: float
    next: int
    state: State
    busy: Busy | None
    since: float
    waiting: tuple[str, ...] = ()


class Missed(Message, frozen=True):
    """`count` of the requested messages are no longer kept; the messages after them follow."""

    count: int


class Acknowledged(Message, frozen=True):
    """A `CancelLine` or `Stop` was received. `line` is the line that is being stopped, '' if there is none."""

    line: str = ""


class RefusedRequest(Message, frozen=True, tag="Refused"):
    """A request was refused: why, and what to do instead."""

    reason: str
    hint: str = ""
    ticket: str = ""


class FoundCompletion(Struct, frozen=True):
    """A completion of the word that starts at column `start`."""

    start: int
    text: str
    description: str


class Completions(Message, frozen=True):
    """The answer to `Complete`."""

    found: tuple[FoundCompletion, ...]
    ticket: str = ""


class Ended(Message, frozen=True):
    """The last message of a host that was asked to end."""


class Logged(Message, frozen=True, kw_only=True):
    """Base class of messages that are numbered and kept: each is about one line and goes to all attached clients."""

    number: int
    ticket: str
    author: str


class Queued(Logged, frozen=True, kw_only=True):
    """A line waits for `before` other lines."""

    line: str
    before: int


class Numbered(Logged, frozen=True, kw_only=True):
    """An event of the running line."""

    event: Raw

    def told(self) -> Event:
        """Decode the event.

        Raises:
            msgspec.ValidationError: this version does not know the event.
        """
        return from_json(bytes(self.event))


class Finished(Logged, frozen=True, kw_only=True):
    """The last message about a line."""


Request = Attach | RunLine | RunForAgent | CancelLine | Ping | Stop | Complete
Reply = Welcome | Missed | Acknowledged | RefusedRequest | Completions | Ended | Queued | Numbered | Finished

_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Decoder(Reply)


def written(message: Message) -> bytes:
    """Encode a message, including its newline."""
    try:
        return msgspec.json.encode(message) + b"\n"
    except UnicodeEncodeError:  # a path can be bytes that are no text
        return msgspec.json.encode(escaped(msgspec.to_builtins(message))) + b"\n"


def read_request(line: bytes) -> Request:
    """Decode a client's message.

    Raises:
        ValueError, RecursionError: it is not a request.
    """
    return _requests.decode(line)


def read_reply(line: bytes) -> Reply:
    """Decode a host's message.

    Raises:
        ValueError: this version does not know the message.
    """
    return _replies.decode(line)
