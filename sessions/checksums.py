r"""Lists of sha256 sums as `sha256sum` writes and checks them: on each line a digest, two spaces and a path.

The variants of `sha256sum` are read too: ` *` before the path (binary), a line that starts with a backslash (newlines
and backslashes in the path are escaped), and the BSD form `SHA256 (path) = digest`. Empty lines and lines that start
with `#` are skipped. Relative paths are relative to the folder of the list.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sessions.cancel import Cancel, look
from sessions.errors import ArtifactError
from sessions.events import Progress, Steps
from sessions.files.disk import read_file, reading

CHUNK = 4 * 2**20
_LINE = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9A-Fa-f]{64}) [ *](?P<path>.+)")
_BSD = re.compile(r"(?P<escaped>\\?)SHA256 \((?P<path>.+)\) = (?P<digest>[0-9A-Fa-f]{64})")


class Sum(NamedTuple):
    """A file and the sha256 it has, or should have."""

    path: str
    sha256: str


def read_sums(path: Path) -> tuple[Sum, ...]:
    """The lines of a list.

    Raises:
        ArtifactError: it cannot be read, a line has none of these forms, or there is no line.
    """
    try:
        text = read_file(path).decode("utf-8-sig", errors="surrogateescape")
    except ValueError as error:
        raise ArtifactError(f"{path} is not a text file: {error}") from error
    sums = []
    for number, line in enumerate(text.splitlines(), 1):
        look()
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip()) or _BSD.fullmatch(line.rstrip())
        if match is None:
            raise ArtifactError(
                f"line {number} of {path} is malformed", "expected: 64 hex digits, two spaces and a path"
            )
        listed_path = _unescaped(match["path"]) if match["escaped"] else match["path"]
        sums.append(Sum(listed_path, match["digest"].lower()))
    if not sums:
        raise ArtifactError(f"{path} lists no file", "sha256sum FILE… > LIST makes such a list")
    return tuple(sums)


def written(sums: Sequence[Sum]) -> bytes:
    """The bytes of a list that `read_sums` and `sha256sum --check` can read."""
    lines = []
    for path, digest in sums:
        escaped = path.replace("\\", "\\\\").replace("\n", "\\n")
        lines.append(f"{'' if escaped == path else chr(92)}{digest}  {escaped}\n")
    return "".join(lines).encode(errors="surrogateescape")


def sha256_of(path: Path, cancel: Cancel | None = None) -> Steps[str]:
    """The sha256 of a file, read piece by piece.

    Raises:
        ArtifactError: it cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    with reading(path) as file:
        total = os.fstat(file.fileno()).st_size
        while piece := file.read(CHUNK):
            if cancel is not None:
                cancel.look()
            digest.update(piece)
            done += len(piece)
            if done < total:
                yield Progress(f"reading {path.name}", done, total, "B")
    return digest.hexdigest()


def _unescaped(path: str) -> str:
    return re.sub(r"\\([\\n])", lambda match: "\n" if match[1] == "n" else "\\", path)
