"""Results of the verbs about the session itself."""

from __future__ import annotations

from msgspec import Struct

from sessions.circuits.circuit import Circuit
from sessions.events import State, Value
from sessions.model.info import ModelInfo


class Info(Value, frozen=True, kw_only=True):
    """`info`: the state of the session."""

    state: State
    model: ModelInfo | None
    settings: dict[str, str]
    home: str
    versions: dict[str, str]


class SettingsShown(Value, frozen=True, kw_only=True):
    """`set`: all settings; `changed` names the one that was set, if one was."""

    settings: dict[str, str]
    described: dict[str, str]
    changed: str = ""


class Expected(Value, frozen=True, kw_only=True):
    """`expect`: a statement that holds, and the value that it was checked against."""

    statement: str
    actual: str


class Ran(Value, frozen=True, kw_only=True):
    """`run`: a command file that ran to its end, with the number of its commands."""

    path: str
    lines: int


class CommandFile(Struct, frozen=True, kw_only=True):
    """A command file that comes with the workbench: its name, what it shows, and its parameters with their defaults,
    None where one is required."""

    name: str
    heading: str
    path: str
    values: dict[str, str | None] = {}


class CommandFiles(Value, frozen=True, kw_only=True):
    """`run --list`: the command files that come with the workbench."""

    rows: tuple[CommandFile, ...]


class Restored(Value, frozen=True, kw_only=True):
    """A host that was restarted: the restored session. Its notes say what could not be restored."""

    state: State
    circuit: Circuit | None = None


class Unkept(Value, frozen=True, kw_only=True):
    """Stands in the journal for a result that was too large for it: its kind and size."""

    what: str
    size: str


class OlderResult(Value, frozen=True, kw_only=True):
    """Stands for a result of a journal whose kind has other fields now: its kind, and each field with its JSON."""

    what: str
    fields: tuple[tuple[str, str], ...]


class Help(Value, frozen=True, kw_only=True):
    """`help`: all verbs as (name, summary) pairs by family, or one verb in full.

    `text` is the whole help page of a verb. The other fields are its parts: the usage, what it does, its parameters as
    (form, description) pairs in `groups` by title, and example lines. `example` is the first of these.
    """

    verb: str = ""
    text: str = ""
    example: str = ""
    families: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    usage: str = ""
    about: str = ""
    groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    examples: tuple[str, ...] = ()


class Cleared(Value, frozen=True, kw_only=True):
    """`clear`: asks the front end to clear the screen."""


class Quit(Value, frozen=True, kw_only=True):
    """`quit`: asks the front end to end the session."""
