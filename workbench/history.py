"""Lines typed before, in a file that only its owner reads; in memory alone where it cannot be written.

The file is prompt-toolkit's: each entry a comment with the time, and its lines behind `+`. It is read from its end, so
that a history of many years costs no more than that of a month.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from commands.line import is_text
from sessions.errors import ArtifactError
from sessions.files.disk import make_folder, reading

#: Bytes of the file that are read.
_READ = 2**20


class History:
    """The lines typed before, here and in other terminals before this one began.

    `lines` has the oldest first; it is read from the file when it is first asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] | None = None

    @property
    def lines(self) -> list[str]:
        if self._lines is None:
            self._lines = self.stored()
        return self._lines

    def add(self, line: str) -> None:
        """Remember a line that was typed; for the next terminal too, where the file can be written."""
        if not is_text(line):
            return
        self.lines.append(line)
        with suppress(OSError):
            self._write(line)

    def stored(self) -> list[str]:
        """What the file holds, oldest first; nothing where it cannot be read."""
        try:
            with reading(self._path) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - _READ, 0))
                text = file.read().decode("utf-8", errors="replace")
        except (OSError, ArtifactError):
            return []
        found: list[list[str]] = []
        beginning = size <= _READ  # else the first entry was cut
        for row in text.split("\n"):
            if not row.startswith("+"):
                found.append([])
                beginning = True
            elif beginning:
                found[-1:] = [[*found[-1], row[1:]]] if found else [[row[1:]]]
        return ["\n".join(entry) for entry in found if entry]

    def _write(self, line: str) -> None:
        make_folder(self._path.parent)
        rows = "".join(f"+{row}\n" for row in line.split("\n"))
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, f"\n# {datetime.now()}\n{rows}".encode())
        finally:
            os.close(descriptor)
