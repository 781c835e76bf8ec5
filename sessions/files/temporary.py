"""Unfinished work on disk: it has a hidden name, and is removed when its writer is gone.

Files are written one at a time, by the process whose turn it is in their folder (see `disk`). Writing a whole folder
takes longer, and others may work beside it meanwhile:

    .HEX.wb-work          the folder that is being filled; renamed to its place, or removed at the end
    .HEX.wb-work.lock     held by its writer as long as there is one, killed or not
    .NAME.wb-aside        what was at a place, while the new folder is put there

If a lock can be taken, its writer is gone. `swept_home` looks for such locks when a session begins, in the home and in
the other folders that were written to; `temporary_folder` looks beside whatever is written next. Unfinished work is
then removed, and what was moved aside for it comes back, unless the new folder is in its place. On a disk without locks
nobody can know whether a writer is gone, and everything stays.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sessions.errors import ArtifactError
from sessions.files.disk import (
    HOME_HINT,
    TEMPORARY,
    ended,
    locked,
    make_folder,
    read_file,
    released,
    sweep_files,
    sync_folder,
    write_file,
)

_WORK, _ASIDE, _LOCK = ".wb-work", ".wb-aside", ".lock"
#: Folders that are kept while something is trained or built: their locks are those of `disk.alone`.
_UNFINISHED = "unfinished"
#: Notes of a home on what is written outside it.
_ELSEWHERE = "elsewhere"
#: Names of folders of rounds and adapters from before there were locks, and the seconds after which one is removed.
_EARLIER, _LONG = re.compile(r"\.[0-9a-f]{16}(\.wb-tmp)?"), 24 * 3600
#: How deep below the home folders are searched: `sweeps/NAME` is two deep.
_DEPTH = 2


@contextmanager
def temporary_folder(parent: Path, mode: int = 0o777) -> Iterator[Path]:
    """A new hidden folder inside `parent`, to be filled and renamed. If it was not renamed, it is removed afterwards.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(parent)
    swept(parent)
    folder = parent / f".{secrets.token_hex(8)}{_WORK}"
    with _claimed(folder):
        folder.mkdir(mode)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def noted(home: Path, parent: Path) -> Iterator[None]:
    """Inside the block a note in the home says that something is written in a folder outside it.

    If the writer is killed, the next session cleans up there as well.

    Raises:
        ArtifactError: the home cannot be written.
    """
    note = write_file(home / _ELSEWHERE / f"{secrets.token_hex(8)}.txt", os.fsencode(parent), hint=HOME_HINT)
    try:
        yield
    finally:
        with suppress(OSError):
            note.unlink()


def put_in_place(folder: Path, place: Path) -> None:
    """Rename a finished folder to its place. An existing folder is moved aside first, and removed afterwards.

    Raises:
        OSError: it cannot be renamed; the existing folder is in its place again.
    """
    if not (os.path.lexists(place) and any(place.iterdir())):
        folder.rename(place)
        sync_folder(place.parent)
        return
    aside = place.with_name(f".{place.name}{_ASIDE}")
    with _claimed(aside):
        place.rename(aside)
        try:
            folder.rename(place)
        except BaseException:
            with suppress(OSError):
                aside.rename(place)
            raise
        sync_folder(place.parent)
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Inside the block this process holds the lock of a hidden folder."""
    lock = _lock_of(folder)
    descriptor = locked(lock)
    if descriptor is None:
        raise BlockingIOError(errno.EWOULDBLOCK, "another process works there", str(folder))
    with released(lock, descriptor):
        yield


def swept_home(home: Path) -> None:
    """Remove unfinished work of writers that are gone from the folders of a home; what cannot be removed stays."""
    folders = [home]
    for _ in range(_DEPTH + 1):
        for folder in folders:
            swept(folder)
        folders = [
            Path(entry.path)
            for folder in folders
            for entry in _entries(folder)
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        ]
    for note in (home / _ELSEWHERE).glob("*.txt"):
        with suppress(OSError, ArtifactError):
            parent = Path(os.fsdecode(read_file(note)))
            swept(parent)
            if not any(entry.name.endswith(_WORK) for entry in _entries(parent)):
                note.unlink()
    for leftover in (*_entries(home / "rounds"), *_entries(home / "adapters")):
        with suppress(OSError):
            if _EARLIER.fullmatch(leftover.name) and time.time() - leftover.stat().st_mtime > _LONG:
                shutil.rmtree(leftover.path, ignore_errors=True)


def swept(folder: Path) -> None:
    """Remove unfinished work of writers that are gone from a folder; what cannot be removed stays."""
    hidden = [entry for entry in _entries(folder) if entry.name.startswith(".")]
    if any(entry.name.endswith(TEMPORARY) for entry in hidden):
        with suppress(OSError):
            sweep_files(folder)
    for entry in hidden:
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                _sweep_folder(Path(entry.path))
            elif entry.name.endswith(_LOCK):
                _sweep_lock(Path(entry.path))


def _sweep_folder(work: Path) -> None:
    if work.name.endswith(_WORK):
        with ended(_lock_of(work)) as gone:
            if gone:
                shutil.rmtree(work, ignore_errors=True)
    elif work.name.endswith(_ASIDE):
        with ended(_lock_of(work)) as gone:
            place = work.with_name(work.name[1:].removesuffix(_ASIDE))
            if gone and os.path.lexists(place):
                shutil.rmtree(work, ignore_errors=True)
            elif gone:
                work.rename(place)


def _sweep_lock(lock: Path) -> None:
    """Remove a lock if both its writer and its folder are gone."""
    work = lock.with_name(lock.name.removesuffix(_LOCK))
    if lock.parent.name == _UNFINISHED or (work.name.endswith((_WORK, _ASIDE)) and not work.exists()):
        with ended(lock):
            pass


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where it cannot be read."""
    with suppress(OSError), os.scandir(folder) as entries:
        return list(entries)
    return []


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")
