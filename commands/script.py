"""Command files: one command a line, `#` comments, `\\` at the end continues a line, `${name}` is filled in.

`$${` stands for a literal `${`.
A file is checked before it runs: a value that is missing or a name nobody asked for is found before
the first command, not after an hour.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from commands.grammar import parse, words_of
from commands.line import is_blank
from sessions.errors import Cancelled, UsageError, WorkbenchError
from sessions.events import Event, Failed, Result, Steps
from sessions.results import Quit, Ran
from sessions.session import Session

_PLACE = re.compile(r"(\$?)(\$\{([^}]*)\})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What ends a line of a file. Others that Unicode knows, such as a form feed, may stand in a prompt.
_BREAK = re.compile(r"\r\n|\n|\r")

#: No command file is larger, in bytes; a larger one is some other kind of file.
LARGEST = 2**20


#: How many command files may run one in another.
DEEPEST = 20


class Line(Struct, frozen=True):
    """One command of a file, continued lines joined, and the number of its first line (from 1)."""

    number: int
    text: str


class Stopped(WorkbenchError):
    """A command file stopped at a line that failed; the failure itself has been told."""

    def __init__(self, message: str, failed: Failed) -> None:
        super().__init__(message)
        self.kind = Cancelled.kind if failed.error == Cancelled.kind else "script"


def assignments(given: Iterable[str]) -> dict[str, str]:
    """`name=value` words as a mapping.

    Raises:
        UsageError: a word is not of that form.
    """
    values = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError(f"'{word}' is not name=value", "for example: --set model=smollm2")
        values[name] = value
    return values


def read(path: Path, values: Mapping[str, str] | None = None) -> tuple[Line, ...]:
    """The commands of a file, with `${name}` filled in.

    Raises:
        UsageError: the file cannot be read, is not UTF-8, has a line that is no command, or a value is
            missing or not used.
    """
    values = values or {}
    text = _text(path)
    used: set[str] = set()
    found = []
    for number, raw in _joined(text, path):
        if is_blank(raw):
            continue
        line = _filled(raw, values, used, f"{path}:{number}")
        if is_blank(line):  # all of it was a value
            continue
        _checked(line, f"{path}:{number}")
        found.append(Line(number, line.strip()))
    unused = [name for name in values if name not in used]
    if unused:
        asked = ", ".join(sorted(used)) or "no values"
        raise UsageError(f"{path} does not use a value called '{unused[0]}'", f"it asks for {asked}")
    return tuple(found)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "the path of a .wb file") from error
    if len(data) > LARGEST:
        raise UsageError(f"{path} is larger than {LARGEST // 2**20} MiB", "that is no command file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}:{number} is not UTF-8 (byte {data[error.start]:#04x})", "save the file as UTF-8"
        ) from error


def _joined(text: str, path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, those that end in a backslash joined to the next. A comment is never continued."""
    start, parts = 0, list[str]()
    for number, line in enumerate(_BREAK.split(text), 1):
        if not parts:
            start = number
        if line.endswith("\\") and not _ends_in_comment("".join([*parts, line])):
            parts.append(line[:-1])
            continue
        yield start, "".join([*parts, line])
        parts = []
    if parts:
        raise UsageError(f"{path}:{start} ends in a backslash with nothing after it", "remove the backslash")


def _ends_in_comment(line: str) -> bool:
    found = words_of(line, unfinished=True)
    return bool(line[found[-1].end if found else 0 :].strip())


def _filled(line: str, values: Mapping[str, str], used: set[str], where: str) -> str:
    def value(match: re.Match[str]) -> str:
        escaped, written, name = match.groups()
        if escaped:
            return str(written)
        if not _NAME.fullmatch(name):
            raise UsageError(f"{where}: '{written}' does not name a value", "for example: ${model}")
        if name not in values:
            raise UsageError(f"{where}: no value for ${{{name}}}", f"give one: --set {name}=…")
        used.add(name)
        return values[name]

    return _PLACE.sub(value, line)


def _checked(line: str, where: str) -> None:
    try:
        parse(line)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from error


def play(session: Session, path: Path, values: Mapping[str, str] | None = None) -> Steps[Ran]:
    """Run a command file in the session: yields the events of all its commands.

    `quit` ends the file and is no failure.

    Raises:
        UsageError: the file cannot be read, or runs itself.
        Stopped: a command failed; its `Failed` event came before.
    """
    from commands.running import run

    lines = read(path, values)
    real, outer = Path(os.path.realpath(path)), session.files
    if real in outer:
        raise UsageError(f"{path} runs itself", "a command file cannot run a file that is running")
    if len(outer) >= DEEPEST:
        raise UsageError(f"{path} would run in {DEEPEST} files that run each other", "put their lines into fewer files")
    session.files = (*outer, real)
    try:
        for done, line in enumerate(lines, 1):
            outcome = yield from _outcome(run(session, line.text, where=f"{path}:{line.number}"))
            if isinstance(outcome, Failed):
                raise Stopped(f"{path} stopped at line {line.number}", outcome)
            if isinstance(outcome.value, Quit):
                return Ran(path=str(path), lines=done)
    finally:
        session.files = outer
    return Ran(path=str(path), lines=len(lines))


def _outcome(events: Generator[Event, None, None]) -> Steps[Result | Failed]:
    """How a command ended: its last result or failure, those of the commands of a file that it ran before it."""
    outcome: Result | Failed | None = None
    with closing(events):
        for event in events:
            yield event
            if isinstance(event, Result | Failed):
                outcome = event
    assert outcome is not None  # every command ends with one
    return outcome
