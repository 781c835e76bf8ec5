"""Command files: one command a line, `#` comments, `\\` at the end continues a line, `${name}` is filled in.

`${name=value}` says what is filled in where no value is given, and `${here}` is the folder of the file.
`$${` stands for a literal `${`.
A file is checked before it runs: a value that is missing or a name nobody asked for is found before
the first command, not after an hour.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path

from msgspec import Struct

from commands.grammar import TEXTS, Call, parse, words_of
from commands.line import is_blank
from commands.permitting import trusts
from sessions.cancel import look
from sessions.errors import ArtifactError, Cancelled, UsageError, WorkbenchError
from sessions.events import Event, Failed, Result, Steps
from sessions.files.disk import read_file
from sessions.results import Quit, Ran
from sessions.session import Session
from sessions.texts.placeholders import HERE, filled

#: What ends a line of a file. Others that Unicode knows, such as a form feed, may stand in a prompt.
_BREAK = re.compile(r"\r\n|\n|\r")

#: No command file is larger, in bytes; a larger one is some other kind of file.
LARGEST = 2**20
_TRUSTED = "to trust it: workbench run FILE --trust"


#: How many command files may run one in another.
DEEPEST = 20


class ScriptLine(Struct, frozen=True):
    """One command of a file, continued lines joined, and the number of its first line (from 1)."""

    number: int
    text: str


class ScriptStopped(WorkbenchError):
    """A command file stopped at a line that failed; the failure itself has been told."""

    def __init__(self, message: str, failed: Failed) -> None:
        super().__init__(message)
        self.kind = Cancelled.kind if failed.error == Cancelled.kind else "script"


def read(path: Path, values: Mapping[str, str] | None = None, *, trust: bool = False) -> tuple[ScriptLine, ...]:
    """The commands of a file, with `${name}` filled in; one that runs a model's own code only with `trust`.

    Raises:
        UsageError: the file cannot be read, is not UTF-8, has a line that is no command or runs code that is not
            trusted, or a value is missing or not used.
    """
    try:
        data = read_file(path, "the path of a .wb file", LARGEST)
    except ArtifactError as error:
        raise UsageError(error.message, error.hint) from error
    return commands_in(data, str(path), {HERE: str(path.absolute().parent)} | dict(values or {}), trust=trust)


def commands_in(data: bytes, source: str, values: Mapping[str, str], *, trust: bool = False) -> tuple[ScriptLine, ...]:
    """The commands in a file's bytes. Raises as `read`; `source` is how a message names the file."""
    used: set[str] = set()
    parsed = []
    for number, raw in _joined(_text(data, source), source):
        look()
        if is_blank(raw):
            continue
        line, where = filled(raw, values, used, f"{source}:{number}"), f"{source}:{number}"
        if is_blank(line):  # all of it was a value
            continue
        call = _checked(line, where)
        if not trust and trusts(call.request):
            raise UsageError(f"{where}: a command file cannot itself trust the code of a model", _TRUSTED)
        parsed.append(ScriptLine(number, line.strip()))
    unused = [name for name in values if name not in used and name != HERE]
    if unused:
        known = ", ".join(sorted(used)) or "none"
        raise UsageError(f"{source} does not use a value named '{unused[0]}'", f"its values: {known}")
    return tuple(parsed)


def _text(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{source}:{number} is not UTF-8 (byte {data[error.start]:#04x})", "save the file as UTF-8"
        ) from error


def _joined(text: str, source: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, those that end in a backslash joined to the next. A comment is never continued."""
    lines, start = _BREAK.split(text), 0
    while start < len(lines):
        count = _count_joined(lines, start)
        if count is None:
            raise UsageError(f"{source}:{start + 1} ends in a backslash with nothing after it", "remove the backslash")
        yield start + 1, "".join([*(line[:-1] for line in lines[start : start + count - 1]), lines[start + count - 1]])
        start += count


def _count_joined(lines: Sequence[str], start: int) -> int | None:
    """How many lines from `start` on are one; None where the last of them is continued by nothing.

    Twice as many are taken in each time, so that a line of very many is read a few times only.
    """
    most = 1
    while True:
        taken = lines[start : start + most]
        whole = next((count for count, line in enumerate(taken, 1) if not line.endswith("\\")), None)
        count = _count_to_comment([line.removesuffix("\\") for line in taken[:whole]]) or whole
        if count is not None:
            return count
        if start + most >= len(lines):
            return None
        most *= 2


def _count_to_comment(parts: Sequence[str]) -> int | None:
    """The part of a continued line, from 1, in which its comment begins; None where none does."""
    line = "".join(parts)
    if "#" not in line:
        return None
    words = words_of(line, unfinished=True)
    end = words[-1].end if words else 0
    at = end + len(line[end:]) - len(line[end:].lstrip())
    if at == len(line):
        return None
    # In a text, what stands behind a # says whether it begins a comment: the part that this stands in is the one.
    deciding = at + 1 if words and words[0].text in TEXTS else at
    return next((count for count, last in enumerate(accumulate(map(len, parts)), 1) if last > deciding), None)


def _checked(line: str, where: str) -> Call:
    try:
        return parse(line)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from error


def play(session: Session, path: Path, values: Mapping[str, str] | None = None, *, trust: bool = False) -> Steps[Ran]:
    """Run a command file in the session: yields the events of all its commands.

    `quit` ends the file and is no failure. With `trust` the file, and those that it runs, may open models that come
    with code of their own.

    Raises:
        UsageError: the file cannot be read, or runs itself.
        Stopped: a command failed; its `Failed` event came before.
    """
    from commands.running import run

    trusting = trust or session.trusting
    lines = read(path, values, trust=trusting)
    real, outer = Path(os.path.realpath(path)), session.files
    if real in outer:
        raise UsageError(f"{path} runs itself", "a command file cannot run a file that is running")
    if len(outer) >= DEEPEST:
        raise UsageError(f"{path} would run in {DEEPEST} files that run each other", "put their lines into fewer files")
    trusted = session.trusting
    session.files, session.trusting = (*outer, real), trusting
    try:
        for done, line in enumerate(lines, 1):
            outcome = yield from _outcome(run(session, line.text, where=f"{path}:{line.number}"))
            if isinstance(outcome, Failed):
                raise ScriptStopped(f"{path} stopped at line {line.number}", outcome)
            if isinstance(outcome.value, Quit):
                return Ran(path=str(path), lines=done)
    finally:
        session.files, session.trusting = outer, trusted
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
