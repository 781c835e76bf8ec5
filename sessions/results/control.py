"""What the verbs of the session itself return."""

from __future__ import annotations

from msgspec import Struct

from sessions.circuits.circuit import Circuit
from sessions.events import State, Value
from sessions.model.info import ModelInfo


class Info(Value, frozen=True, kw_only=True):
    """`info`: everything the session holds."""

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
    """`expect`: a statement that is true, and the value that makes it so."""

    statement: str
    actual: str


class Ran(Value, frozen=True, kw_only=True):
    """`run`: a command file that went through, with the number of commands in it."""

    path: str
    lines: int


class CommandFile(Struct, frozen=True, kw_only=True):
    """A command file that comes with the workbench: its name, what it shows, and the values it can be given, each with
    what it is otherwise, None where it has to be given."""

    name: str
    heading: str
    path: str
    values: dict[str, str | None] = {}


class CommandFiles(Value, frozen=True, kw_only=True):
    """`run --list`: the command files that come with the workbench."""

    rows: tuple[CommandFile, ...]


class Restored(Value, frozen=True, kw_only=True):
    """A host that came back: what the session holds again; the notes say what it does not."""

    state: State
    circuit: Circuit | None = None


class Unkept(Value, frozen=True, kw_only=True):
    """Stands for a result that was too large for the journal: which kind it was, and how large."""

    what: str
    size: str


class Help(Value, frozen=True, kw_only=True):
    """`help`: all verbs as (name, summary) pairs by family, or one verb in full.

    `text` is all that is said of a verb; the rest is the same in pieces: the shape of a call, what it does, its
    parameters as (form, what it is) pairs in `groups` by title, and lines that run. `example` is the first of these.
    """

    verb: str = ""
    text: str = ""
    example: str = ""
    families: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    usage: str = ""
    about: str = ""
    groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    examples: tuple[str, ...] = ()


class Quit(Value, frozen=True, kw_only=True):
    """`quit`: the front end should end the session."""
