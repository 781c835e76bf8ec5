"""The journal: one line of JSON for each finished command, so that a session can be read and replayed.

A line is appended in one write and fsynced. A process that is killed while it writes leaves an incomplete last line:
the next record then starts on a line of its own, and reading skips the incomplete one with a warning.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec
from msgspec import Struct, structs

from sessions.errors import ArtifactError
from sessions.events import Failed, Result, Started, read_value
from sessions.files.disk import make_folder, sync_folder
from sessions.files.json_text import escaped
from sessions.results import OlderResult, Unkept

#: A value whose JSON is longer, in bytes, is not journaled; a `Dropped` stands in its place.
LARGEST_VALUE = 256 * 2**10
#: How much of such values a process holds in memory, in bytes of JSON.
MOST_HELD = 64 * 2**20


class Record(Struct, frozen=True, kw_only=True):
    """A finished command: its line, its outcome, and everything that the outcome depends on.

    `line` is the line as it was typed. `resolved` is the same call as the grammar writes it; it is empty where the line
    could not be read, and in journals of earlier versions. `arguments` are the resolved parameters of the verb; `value`
    is the result, or for a failure its error kind and message (as JSON values once read back). `seconds` is the time it
    took; `rng` the seed of the random numbers; `time` when it ended, ISO 8601 in UTC; `author` who typed it, empty
    where there is one user.
    """

    line: str
    verb: str
    arguments: dict[str, Any]
    outcome: Literal["result", "failed"]
    value: Any
    seconds: float
    rng: int
    time: str
    versions: dict[str, str]
    model: str = ""
    fingerprint: str = ""
    author: str = ""
    resolved: str = ""


class Dropped(Struct, frozen=True):
    """Stands in for a value that is too large to journal: its kind, and its size in words."""

    kind: str
    dropped: str


class RecordSpan(NamedTuple):
    """Where a record stands in the file, in bytes."""

    start: int
    length: int


class Journal:
    """A journal in one file. The first record makes the file and the folders above it.

    Several processes may append to one file; a journal knows which of its records it appended itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._failing = False
        self._own: list[RecordSpan] = []
        self._large: dict[RecordSpan, bytes] = {}  # values that are not in the file, in JSON, oldest first

    def append(self, record: Record) -> None:
        """Write the record to the end of the file; it is on the disk when this returns.

        Every record is tried. Of several failures in a row only the first is raised, so that a full disk is reported
        once and not after every command.

        Raises:
            ArtifactError: the file cannot be written, and the previous record could be.
        """
        value = _json(record.value)
        dropped = len(value) > LARGEST_VALUE
        line = _json(structs.replace(record, value=_dropped(record.value, len(value))) if dropped else record) + b"\n"
        try:
            span = self._write(line)
            self._own.append(span)
            if dropped:
                self._hold(span, value)
        except OSError as error:
            if self._failing:
                return
            self._failing = True
            raise ArtifactError(
                f"cannot write the journal {self.path}: {error.strerror or error}",
                "commands run all the same, unrecorded; free some space or set WORKBENCH_HOME to another folder",
            ) from error
        self._failing = False

    def own(self) -> tuple[list[Record], list[str]]:
        """The records that were appended here, with values that were too large for the file as long as they are held,
        and a warning where some are no longer in the file.

        Raises:
            ArtifactError: the file cannot be read.
        """
        records: list[Record] = []
        try:
            with _opened(self.path) as file:
                for span in self._own:
                    file.seek(span.start)
                    with suppress(ValueError, RecursionError):
                        record = msgspec.json.decode(file.read(span.length), type=Record)
                        if span in self._large:
                            record = structs.replace(record, value=msgspec.json.decode(self._large[span]))
                        records.append(record)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _unreadable(self.path, error) from error
        lost = len(self._own) - len(records)
        return records, [f"{lost:,} lines of this session are no longer in {self.path}"] if lost else []

    def _hold(self, span: RecordSpan, value: bytes) -> None:
        """Hold a value in memory, and let the oldest ones go where they are too many."""
        self._large[span] = value
        while sum(map(len, self._large.values())) > MOST_HELD:
            del self._large[next(iter(self._large))]

    def _write(self, line: bytes) -> RecordSpan:
        make_folder(self.path.parent)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{self.path.name} is not a regular file")
            torn = status.st_size > 0 and os.pread(descriptor, 1, status.st_size - 1) != b"\n"
            data = b"\n" + line if torn else line
            # Never a second write for the rest: another process could append between the two.
            if os.write(descriptor, data) < len(data):
                raise OSError("only a part of the record could be written")
            end = os.lseek(descriptor, 0, os.SEEK_CUR)  # with O_APPEND it is where the write ended
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if status.st_size == 0:
            sync_folder(self.path.parent)
        return RecordSpan(end - len(line), len(line))


def read(path: Path) -> tuple[list[Record], list[str]]:
    """The records of a journal in order, and a warning for each line that is not one.

    A journal that does not exist yet has no records.

    Raises:
        ArtifactError: the file cannot be read.
    """
    records, warnings = [], []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            records.append(msgspec.json.decode(line, type=Record))
        # UnicodeDecodeError and every error of msgspec are ValueErrors.
        except (ValueError, RecursionError) as error:
            warnings.append(f"{path}, line {number} is not a record and was skipped: {error}")
    return records, warnings


def recent(path: Path, count: int, within: int = 2**22) -> list[Record]:
    """The last `count` records of a journal, if they are in its last `within` bytes; incomplete ones are left out.

    Raises:
        ArtifactError: the file cannot be read.
    """
    try:
        with _opened(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - within, 0))
            lines = file.readlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(path, error) from error
    records = []
    for line in lines[1:] if size > within else lines:
        with suppress(ValueError, RecursionError):
            records.append(msgspec.json.decode(line, type=Record))
    return records[-count:]


def told(record: Record) -> tuple[Started, Result | Failed]:
    """The first and the last event of a command when it ran."""
    return Started(record.verb, record.line), _outcome(record)


def _outcome(record: Record) -> Result | Failed:
    try:
        if record.outcome == "failed":
            return msgspec.convert(record.value, type=Failed)
        if "dropped" in record.value:
            dropped = msgspec.convert(record.value, type=Dropped)
            return Result(Unkept(what=dropped.kind, size=dropped.dropped), record.seconds)
        return Result(read_value(record.value), record.seconds)
    except (ValueError, TypeError) as error:
        if record.outcome == "result" and isinstance(record.value, dict):
            return Result(as_data(record.value), record.seconds)
        return Failed("journal", f"its outcome cannot be read: {error}", "another version may have written it")


def as_data(value: dict[str, Any]) -> OlderResult:
    """A result that no kind of today reads, field by field."""
    fields = {name: json.dumps(part, ensure_ascii=False) for name, part in value.items() if name != "kind"}
    return OlderResult(what=str(value.get("kind", "result")), fields=tuple(fields.items()))


def _dropped(value: Any, size: int) -> Dropped:
    """What is journaled in place of a value of so many bytes."""
    kind = value.get("kind") if isinstance(value, dict) else None
    note = f"{size} bytes of JSON, more than the {LARGEST_VALUE} that are journaled"
    return Dropped(str(kind or type(value).__name__), note)


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=str)
    except UnicodeEncodeError:
        # Bytes that a terminal could not decode arrive as lone surrogates, which JSON cannot hold.
        return msgspec.json.encode(escaped(msgspec.to_builtins(value, enc_hook=str, str_keys=True)))


def _lines(path: Path) -> list[bytes]:
    try:
        with _opened(path) as file:
            return file.readlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(path, error) from error


def _opened(path: Path) -> BinaryIO:
    """The file, open for reading. A named pipe is refused, since reading it would block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return os.fdopen(descriptor, "rb")


def _unreadable(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"cannot read the journal {path}: {error.strerror}", "check its permissions")
