"""A sweep on disk: `sweeps/NAME/` with its plan, its cells, and the table and charts made from them.

    plan.json      the plan, with the header of every artifact and a sha256
    cells.jsonl    a line for each cell, in the order of the plan's rows; the same bytes in every run
    cells.csv, chart.svg, chart.png

The cells of a batch are appended in one write and fsynced. A process that dies while it writes leaves an incomplete
batch, which the next process removes and computes again. A process that works on a sweep holds a lock on its
`cells.jsonl`, which is released when the process ends. Damaged data is set aside; replaced data moves to the trash.
"""

from __future__ import annotations

import csv
import difflib
import fcntl
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sessions.artifacts import checked_name, now
from sessions.comparisons.sweep_points import SweepPoint
from sessions.errors import ArtifactError
from sessions.files.disk import binned, make_folder, read_file, reported, sync_folder, write_file
from sessions.files.layouts import Header, Json

if TYPE_CHECKING:  # completion needs names without waiting for torch
    from sessions.comparisons.sweep_plan import SweepPlan

FOLDER = "sweeps"
KIND, FORMAT = "sweep", 1
PLAN, CELLS, TABLE = "plan.json", "cells.jsonl", "cells.csv"
COLUMNS = (
    "prompt", "selection", "multiplier", "target", "target_probability", "top_id", "top", "top_probability",
    "top_logit", "length", "stopped", "fired", "text", "ids",
)  # fmt: skip
_ANEW = "the same line with --force begins it again; the old one moves to the trash"


class BegunSweep(NamedTuple):
    """A saved plan, and the fields of its header."""

    header: Header
    plan: SweepPlan


class KeptPoints(NamedTuple):
    """The cells of the complete batches of a sweep, and remarks on what was lost."""

    cells: list[SweepPoint]
    notes: tuple[str, ...]


def names(home: Path) -> list[str]:
    """The names of the saved sweeps."""
    return sorted(path.parent.name for path in (home / FOLDER).glob(f"*/{PLAN}"))


@contextmanager
def taken(home: Path, name: str, *, new: bool) -> Iterator[Sweep]:
    """The folder of a sweep, locked for this process inside the block.

    Args:
        new: create the folder if it is missing.

    Raises:
        ArtifactError: the name is invalid, there is no such sweep and `new` is off, another process works on it, or it
            cannot be written.
    """
    folder = home / FOLDER / checked_name(name)
    if not new and not (folder / PLAN).is_file():
        raise ArtifactError(f"no sweep is called '{name}'", _nearest(home, name))
    with reported("write", folder):
        make_folder(folder)
        descriptor = _locked(folder, name)
    try:
        yield Sweep(home, folder, descriptor)
    finally:
        # Closing alone is not enough: a process forked meanwhile has the descriptor, and with it the lock.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _locked(folder: Path, name: str) -> int:
    """The file of cells, open for appending and locked.

    Raises:
        ArtifactError: another process holds the lock, or is replacing the file.
    """
    descriptor = os.open(folder / CELLS, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):  # a file system without locks is still usable
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _busy(name) from error
        if not os.path.samestat(os.fstat(descriptor), os.stat(folder / CELLS)):  # it was moved to the trash meanwhile
            raise _busy(name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _busy(name: str) -> ArtifactError:
    return ArtifactError(f"another process is working on the sweep '{name}'", "wait for it, or choose another name")


def _nearest(home: Path, name: str) -> str:
    known = names(home)
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(known[:5])}" if known else "sweep top50 0 1 2 --save NAME begins one"


class Sweep:
    """The locked folder of a sweep."""

    def __init__(self, home: Path, folder: Path, descriptor: int) -> None:
        self.home = home
        self.folder = folder
        self._descriptor = descriptor

    @property
    def name(self) -> str:
        return self.folder.name

    def begun(self) -> BegunSweep | None:
        """The saved plan; None where none has been written yet.

        Raises:
            ArtifactError: it is damaged, or was written by a newer workbench; the message says where.
        """
        from sessions.comparisons.sweep_plan import SweepPlan

        path = self.folder / PLAN
        if not path.exists():
            return None
        data, source, layout = read_file(path), str(path), Json()
        try:
            stamp = layout.stamp(data, source)
            if (stamp.kind, stamp.format) != (KIND, FORMAT):
                raise ArtifactError(f"{source} is a {stamp.kind} of format {stamp.format}, not a {KIND} of {FORMAT}")
            header, body, sha256 = layout.read(data, source)
            if sha256 != header.sha256:
                raise ArtifactError(f"{source} was changed or damaged after it was written")
            return BegunSweep(header, layout.body(body, SweepPlan, source).sound())
        except ArtifactError as error:
            raise ArtifactError(error.message, _ANEW) from error

    def begin(self, plan: SweepPlan, *, model: str, fingerprint: str, command: str) -> None:
        """Write the plan of a new sweep."""
        header = {
            "kind": KIND,
            "format": FORMAT,
            "name": self.name,
            "model": model,
            "fingerprint": fingerprint,
            "command": command,
            "created": now(),
            "size": len(plan.places),
        }
        write_file(
            self.folder / PLAN, Json().written(header, plan, f"sweep '{self.name}'"), what=f"sweep '{self.name}'"
        )

    def kept(self, plan: SweepPlan) -> KeptPoints:
        """The cells that are already computed; the file is cut to complete batches.

        A line that does not belong to this plan, and all lines after it, are set aside in another file.
        """
        with reported("read", self.folder / CELLS):
            data = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        *lines, _ = data.split(b"\n")
        cells, wrong = _read(lines, plan)
        whole = plan.whole(len(cells))
        cut = sum(len(line) + 1 for line in lines[:whole])
        notes: tuple[str, ...] = ()
        if wrong is not None:
            aside = self._aside(data[cut:])
            notes = (
                f"line {len(cells) + 1} of {CELLS} {wrong}: from line {whole + 1} on the file is kept as {aside}, "
                "and those cells are computed again",
            )
        if cut < len(data):
            with reported("write", self.folder / CELLS):
                os.ftruncate(self._descriptor, cut)
                os.fsync(self._descriptor)
        return KeptPoints(cells[:whole], notes)

    def append(self, cells: Sequence[SweepPoint]) -> None:
        """Write the cells of a batch; they are on disk when this returns."""
        data = b"".join(msgspec.json.encode(cell) + b"\n" for cell in cells)
        with reported("write", self.folder / CELLS):
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)

    def finish(self, files: Mapping[str, bytes]) -> None:
        """Write the files made from the cells, each atomically."""
        for name, data in files.items():
            write_file(self.folder / name, data, force=True)

    def discard(self) -> str:
        """Move the sweep to the trash, so that another one can have its name. Returns its new place."""
        trash = binned(self.home / "trash" / FOLDER, self.name)
        with reported("write", trash):
            make_folder(trash.parent)
            self.folder.rename(trash)
            sync_folder(trash.parent)
            sync_folder(self.folder.parent)
        return str(trash.relative_to(self.home))

    def _aside(self, data: bytes) -> str:
        number = 1
        while (self.folder / f"damaged-{number}.jsonl").exists():
            number += 1
        name = f"damaged-{number}.jsonl"
        write_file(self.folder / name, data)
        return name


def _read(lines: Sequence[bytes], plan: SweepPlan) -> tuple[list[SweepPoint], str | None]:
    """The cells of complete lines up to the first invalid one, and what is wrong with that line, if there is one."""
    cells: list[SweepPoint] = []
    for row, line in enumerate(lines):
        if row >= len(plan.places):
            return cells, "is one too many"
        try:
            cell = msgspec.json.decode(line, type=SweepPoint)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return cells, f"is damaged ({error})"
        if not plan.is_place_of(cell, row):
            return cells, "belongs to another cell"
        cells.append(cell)
    return cells, None


def table(cells: Sequence[SweepPoint]) -> bytes:
    """The cells as a table: texts are quoted, numbers are not, unknown values are empty, ids are joined by spaces."""
    text = io.StringIO(newline="")
    # Every text is quoted since one may have a carriage return, which a csv reader ends a row at.
    rows = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    rows.writerow(COLUMNS)
    for cell in cells:
        top = (None,) * 4 if cell.top is None else (cell.top.id, cell.top.text, cell.top.probability, cell.top.logit)
        key = cell.prompt, cell.selection, cell.multiplier, cell.target, cell.target_probability
        ids = " ".join(map(str, cell.ids))
        rows.writerow((*key, *top, cell.length, cell.stopped, cell.fired, cell.text, ids))
    return text.getvalue().encode()
