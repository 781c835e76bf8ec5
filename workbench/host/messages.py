"""What client and host say to each other: one JSON object a line, in both directions.

A client that never attaches hears of its own lines alone; one that attached hears everything, numbered from the
host's start. Nothing in here, and nothing it imports, needs a model.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

# Results are found by their class: a client must know them all to read one.
import sessions.results  # noqa: F401
from sessions.events import Event, State, from_json
from sessions.files.json_text import escaped

#: Bytes of a client's message at most, its newline included.
LARGEST = 2**20

#: What a host says again of its journal, when it begins, has this ticket.
JOURNAL_TICKET = "journal"

Ticket = Annotated[str, Meta(max_length=64)]
Number = Annotated[int, Meta(ge=0)]


class Message(Struct, frozen=True, tag=True, tag_field="message"):
    """Base of everything on the wire. The class name is the JSON field `message`."""


class Attach(Message, frozen=True):
    """Hear everything from number `since` on; from now on where it is left out. Answered by `Welcome`."""

    since: Number | None = None


class RunLine(Message, frozen=True, tag="Run"):
    """Run a line when those before it have ended; `ticket` is what all that is said about it will carry.

    `author` is shown to others, `folder` what relative paths in the line are relative to.
    """

    line: str
    ticket: Ticket
    author: Annotated[str, Meta(max_length=256)] = ""
    folder: str = ""


class CancelLine(Message, frozen=True, tag="Cancel"):
    """Stop the line with this ticket, whether it runs or waits; whichever runs where it is left out."""

    ticket: Ticket = ""


class Ping(Message, frozen=True):
    """Say how you are. Answered by `Welcome`."""


class Stop(Message, frozen=True):
    """End the host, once the running command has been unwound."""


class Complete(Message, frozen=True):
    """What could the word at the cursor become? Answered by `Completions`. `folder` is as in `RunLine`."""

    line: str
    cursor: Number
    ticket: Ticket = ""
    folder: str = ""


class Busy(Struct, frozen=True):
    """The line that runs."""

    line: str
    ticket: str
    author: str


class Welcome(Message, frozen=True, kw_only=True):
    """The host, in a few words.

    `next` is the number that what is said next will have; `busy` the line that runs, if one does; `since` when that
    began or the last one ended, and `began` when the host started, in seconds since 1970; `waiting` the lines behind.
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
    """So many of the things asked for are no longer kept; what follows comes after them."""

    count: int


class Acknowledged(Message, frozen=True):
    """A `CancelLine` or `Stop` was heard. `line` is the one that is being stopped, empty where there was none."""

    line: str = ""


class RefusedRequest(Message, frozen=True, tag="Refused"):
    """Something was not done: why, and what to do instead."""

    reason: str
    hint: str = ""
    ticket: str = ""


class FoundCompletion(Struct, frozen=True):
    """What the word that starts at column `start` could become."""

    start: int
    text: str
    description: str


class Completions(Message, frozen=True):
    """The answer to `Complete`."""

    found: tuple[FoundCompletion, ...]
    ticket: str = ""


class Ended(Message, frozen=True):
    """The last thing a host says when it was asked to end."""


class Logged(Message, frozen=True, kw_only=True):
    """Base of what is numbered and kept: it is about one line, and every watcher hears the same."""

    number: int
    ticket: str
    author: str


class Queued(Logged, frozen=True, kw_only=True):
    """A line waits for `before` others."""

    line: str
    before: int


class Numbered(Logged, frozen=True, kw_only=True):
    """An event of the line that runs."""

    event: Raw

    def told(self) -> Event:
        """The event.

        Raises:
            msgspec.ValidationError: it is one that this version does not know.
        """
        return from_json(bytes(self.event))


class Finished(Logged, frozen=True, kw_only=True):
    """Nothing more will be said about this line."""


Request = Attach | RunLine | CancelLine | Ping | Stop | Complete
Reply = Welcome | Missed | Acknowledged | RefusedRequest | Completions | Ended | Queued | Numbered | Finished

_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Decoder(Reply)


def written(message: Message) -> bytes:
    """The message as it goes over the wire, its newline included."""
    try:
        return msgspec.json.encode(message) + b"\n"
    except UnicodeEncodeError:  # a path can be bytes that are no text
        return msgspec.json.encode(escaped(msgspec.to_builtins(message))) + b"\n"


def read_request(line: bytes) -> Request:
    """What a client said.

    Raises:
        ValueError, RecursionError: it is none of the things a client can say.
    """
    return _requests.decode(line)


def read_reply(line: bytes) -> Reply:
    """What a host said.

    Raises:
        ValueError: it is nothing that this version knows.
    """
    return _replies.decode(line)
