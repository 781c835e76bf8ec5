"""The lines of a journal as a command file that runs them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from commands.grammar import understood
from sessions.journal import Record
from sessions.lines import comment_of, line_of
from sessions.settings import Settings

#: Verbs whose lines are left out: those of a file are there themselves, and the others change nothing.
_LEFT_OUT = {"run", "report", "help", "quit"}


def command_file(records: Sequence[Record], source: str, folder: str = "") -> str:
    """The lines that succeeded, each as the grammar writes it; those that failed as comments. `folder` is the one that
    relative paths are read from, where that is known."""
    heading = [comment_of(f"The lines of {source}, as a report of them has it."), "#", "#   workbench run report.wb"]
    if folder:
        heading += ["#", comment_of(f"Relative paths are read from {folder}: run it there.")]
    lines = [line for record in records for line in _again(record)]
    if any(_trusts(record) for record in records):
        heading += ["#", "# It opens a model that comes with code of its own: add --trust."]
    return "\n".join([*heading, "", *_before(records), *lines, ""])


def _before(records: Sequence[Record]) -> Iterator[str]:
    """What the session held before its first line, as far as a journal says it."""
    first = next((record for record in records if record.verb not in _LEFT_OUT), None)
    if first is None or not first.model or first.verb == "model":
        return
    yield "# The model was open before the first line. What else the session held then is not known here."
    yield _line(line_of(["model", first.model]))
    if first.rng != Settings().rng and first.verb != "set":
        yield f"set rng {first.rng}"
    yield ""


def _again(record: Record) -> Iterator[str]:
    if record.verb in _LEFT_OUT:
        return
    if record.outcome == "failed":
        yield comment_of(f"failed: {record.line}")
        return
    call = understood(record.line)
    yield comment_of(f"not understood today: {record.line}") if call is None else _line(call.request.line())


def _line(text: str) -> str:
    """A line as a command file has it, in which `${` begins a value to be filled in."""
    return text.replace("${", "$${")


def _trusts(record: Record) -> bool:
    return record.outcome == "result" and bool(record.arguments.get("trust_remote_code"))
