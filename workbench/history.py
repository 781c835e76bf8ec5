"""The history of typed lines, in a file that only its owner can read; in memory alone if it cannot be written.

The file has the format of prompt-toolkit: each entry is a comment with the time, then its lines, each after a `+`. Only
the end of the file is read, so that a long history costs no more than a short one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from commands.line import is_text
from sessions.errors import ArtifactError
from sessions.files.disk import make_folder, reading

#: Bytes read from the end of the file.
_READ = 2**20


class History:
    """The lines typed here, and in all terminals before this one started.

    `lines` has the oldest first. The file is read at the first access.
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
        """Add a line to the history, and to the file if it can be written."""
        if not is_text(line):
            return
        self.lines.append(line)
        with suppress(OSError):
            self._write(line)

    def stored(self) -> list[str]:
        """The lines in the file, oldest first; none if it cannot be read."""
        try:
            with reading(self._path) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - _READ, 0))
                text = file.read().decode("utf-8", errors="replace")
        except (OSError, ArtifactError):
            return []
        entries: list[list[str]] = []
        beginning = size <= _READ  # else the first entry may be cut
        for row in text.split("\n"):
            if not row.startswith("+"):
                entries.append([])
                beginning = True
            elif beginning:
                entries[-1:] = [[*entries[-1], row[1:]]] if entries else [[row[1:]]]
        return ["\n".join(entry) for entry in entries if entry]

    def _write(self, line: str) -> None:
        make_folder(self._path.parent)
        rows = "".join(f"+{row}\n" for row in line.split("\n"))
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, f"\n# {datetime.now()}\n{rows}".encode())
        finally:
            os.close(descriptor)
