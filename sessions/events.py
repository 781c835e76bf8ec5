"""The events of a running command, as data.

A command is a generator: it yields `Progress`, `Text` and `Partial` while it works and returns one `Value`, which
`commands.run` wraps into `Result` (or `Failed`). Every event turns into one JSON object and back, so the same stream
feeds a terminal, a file and, over a socket, another process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import msgspec
from msgspec import Struct

from sessions.errors import UsageError
from sessions.files.json_text import escaped
from sessions.short_repr import short_repr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


class Presenter(Protocol):
    """What shows a result in Python. Views stand above this room, so `workbench.notebooks` puts one into `Value`."""

    def text(self, value: Value, width: int) -> str: ...

    def html(self, value: Value) -> str: ...

    def pandas(self, value: Value, table: int | str | None) -> DataFrame: ...

    def plot(self, value: Value, ax: Axes | None) -> Axes: ...


class Value(Struct, frozen=True, kw_only=True, tag=True, tag_field="kind"):
    """Base of everything that a command can return. The class name is the JSON field `kind`.

    `notes` are remarks that a user should see next to the result, such as a default that was taken or a doubt. `table`
    is the path of its main table, where that is not called `rows`.
    """

    table: ClassVar[str] = "rows"
    presenter: ClassVar[Presenter | None] = None

    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return short_repr(self)

    def _repr_html_(self) -> str | None:
        """What notebooks display."""
        return None if self.presenter is None else self.presenter.html(self)

    def to_text(self, width: int = 100) -> str:
        """The whole result as a terminal shows it, without colours, in lines of at most `width` cells."""
        return self._presenter().text(self, width)

    def to_html(self) -> str:
        """The result as a fragment of HTML with its own style; it needs no script and no request."""
        return self._presenter().html(self)

    def to_pandas(self, table: int | str | None = None) -> DataFrame:
        """A table of the result as a `pandas.DataFrame`, its numbers as they are: not rounded, not in percent.

            wb.discover(" Austin").to_pandas().groupby("layer")["attribution"].sum()

        Columns are named by the keys of the table. Where rows stand for something that verbs can name, one column has
        that name: `unit` for neurons, heads and experts, otherwise the kind (`circuit`, `round`, …).

        Args:
            table: which table, by its number from 0 or by its title; None for the first.

        Raises:
            UsageError: the result has no table, or not that one; or pandas is not installed.
        """
        return self._presenter().pandas(self, table)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curve, the map or the distribution of the result with matplotlib.

            wb.sweep("top50", 0, 0.5, 1, 2).plot().set_ylabel("p")

        Args:
            ax: the axes to draw on; None for a new figure.

        Returns:
            the axes, for more drawing on them.

        Raises:
            UsageError: the result has nothing that can be drawn, or `ax` is not axes of matplotlib.
        """
        return self._presenter().plot(self, ax)

    def _presenter(self) -> Presenter:
        if self.presenter is None:
            raise UsageError("results have no views yet", "import workbench.notebooks")
        return self.presenter


class Event(Struct, frozen=True, tag=True, tag_field="event"):
    """Base of all events. The class name is the JSON field `event`."""


class Started(Event, frozen=True):
    """A line was accepted and is about to run. `where` is its file and line number, if it has them."""

    verb: str
    line: str
    where: str = ""


class Progress(Event, frozen=True):
    """How far a long step has come. `total` is 0 where it is not known."""

    label: str
    done: float = 0
    total: float = 0
    unit: str = ""


class Text(Event, frozen=True):
    """The next piece of a generated text. `arm` names the text that it continues."""

    text: str
    arm: str = ""


class Partial(Event, frozen=True):
    """The result so far of a long command. It replaces the one before, and the result replaces it."""

    value: Any


class Result(Event, frozen=True):
    """The command finished. `value` is what it returns in Python."""

    value: Any
    seconds: float = 0.0


class Failed(Event, frozen=True):
    """The command did not finish. The session is as it was before the command, and goes on.

    `error` is the kind of failure (`usage`, `model`, `cancelled`, …), `where` the file and line number of the command,
    `column` the place of a usage error in the line, from 0.
    """

    error: str
    message: str
    hint: str = ""
    where: str = ""
    column: int | None = None
    seconds: float = 0.0


class State(Event, frozen=True):
    """What the session holds now; sent after each command that changed it.

    `suppressed` counts the neurons held at zero, and `first_suppressed` names the first of them. `live` names the
    interventions in force in every text. `edits` are the last applied edits, with their numbers and whether they are
    off; `edits_applied` counts all of them, and `edits_on` those in the weights. `exchanges` counts the exchanges of
    the conversation. `sae` is the sparse autoencoder that was opened last. `atlas` is the latest one of the open model:
    tables and cards of neurons read it.
    """

    model: str = ""
    dtype: str = ""
    device: str = ""
    prompt: str = ""
    seed: str = ""
    circuit: str = ""
    circuit_size: int = 0
    suppressed: int = 0
    first_suppressed: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()
    edits_applied: int = 0
    edits_on: int = 0
    exchanges: int = 0
    sae: str = ""
    atlas: str = ""


T = TypeVar("T")
E = TypeVar("E")
Said = TypeVar("Said")
Told = TypeVar("Told")
Steps = Generator[Event, None, T]
"""A computation that yields events while it runs and returns a `T`."""


#: Seconds between two partial results of a command.
_BETWEEN = 0.5


def with_partials(steps: Steps[T], so_far: Callable[[], Value | None]) -> Steps[T]:
    """The events of a computation and, after its progress, its result so far, at most twice a second.

    `so_far` returns None while there is nothing to show. It is called between two steps, and must be cheap. What is
    thrown in, such as a cancellation, is thrown into `steps`.
    """
    last = monotonic()
    thrown: BaseException | None = None
    with closing(steps):
        while True:
            try:
                event = next(steps) if thrown is None else steps.throw(thrown)
            except StopIteration as stop:
                result: T = stop.value
                return result
            thrown = None
            try:
                yield event
                if isinstance(event, Progress) and monotonic() - last >= _BETWEEN:
                    last = monotonic()
                    value = so_far()
                    if value is not None:
                        yield Partial(value)
            except GeneratorExit:
                raise
            except BaseException as error:
                thrown = error


def collected(steps: Generator[E, None, T]) -> tuple[list[E], T]:
    """Run a generator to its end: everything that it yields, and what it returns."""
    events: list[E] = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as stop:
            return events, stop.value


def finished(steps: Generator[Any, None, T]) -> T:
    """Run a generator to its end and return what it returns: for notebooks, tests and benchmarks."""
    return collected(steps)[1]


def retold(steps: Generator[Said, None, T], tell: Callable[[Said], Told]) -> Generator[Told, None, T]:
    """Run a generator and yield what `tell` makes of each of its events; return what it returns. It is closed."""
    with closing(steps):
        while True:
            try:
                event = next(steps)
            except StopIteration as stop:
                returned: T = stop.value
                return returned
            yield tell(event)


def to_json(event: Event) -> bytes:
    """One line of JSON, without the newline. Numbers that JSON lacks (NaN, infinities) become null."""
    try:
        return msgspec.json.encode(event)
    except UnicodeEncodeError:  # the name of a file need not be valid UTF-8
        return msgspec.json.encode(escaped(msgspec.to_builtins(event)))


def from_json(line: bytes | str) -> Event:
    """The event that `to_json` wrote.

    Raises:
        msgspec.ValidationError: the line is JSON of some other shape.
    """
    event = msgspec.json.decode(line, type=Started | Progress | Text | Partial | Result | Failed | State)
    match event:
        case Result(value=value, seconds=seconds):
            return Result(read_value(value), seconds)
        case Partial(value=value):
            return Partial(read_value(value))
    return event


def read_value(data: Any) -> Value:
    """The value that these JSON values were made of.

    Raises:
        msgspec.ValidationError: they are not those of a `Value`.
    """
    name = str(data.get("kind")) if isinstance(data, dict) else ""
    kind = _KINDS.get(name)
    if kind is None:
        _KINDS.update((each.__name__, each) for each in _subclasses(Value))
        kind = _KINDS.get(name)
    if kind is None:
        raise msgspec.ValidationError(f"'{name}' is not a kind of result")
    # One kind and not the union of all: msgspec prepares a union anew for each call, which takes milliseconds.
    return msgspec.convert(data, type=kind)


#: The kinds of results by the name that they have in JSON, as far as they were met.
_KINDS: dict[str, type[Value]] = {}


def _subclasses(kind: type[Value]) -> list[type[Value]]:
    return [found for sub in kind.__subclasses__() for found in (sub, *_subclasses(sub))]
