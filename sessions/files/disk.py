"""Whole files, safely: written completely or not at all, and on the disk when the call returns.

Only regular files up to a size limit are read, and reading can be cancelled. A named pipe or a device is refused before
anything waits for it: by `read_file` and `reading` for files that are read here, by `check_regular` for files that a
library opens.

A file is written under a hidden name in its own folder, fsynced, and only then linked to its real name. Writers of a
folder take turns with an flock on the folder. So a hidden file that is seen while holding the lock was left by a killed
process, and is removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from sessions.cancel import look
from sessions.errors import ArtifactError, UsageError

#: No file larger than this is read or written, in bytes.
LARGEST = 512 * 2**20
#: Bytes that are read at once, between two checks of the cancel flag.
CHUNK = 2**22
READABLE = "check the path and its permissions"
#: Ends the hidden name of a file that is being written.
TEMPORARY = ".wb-tmp"
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
HOME_HINT = "set WORKBENCH_HOME to a folder that you may read and write"


def read_file(path: Path, hint: str = READABLE, largest: int = LARGEST) -> bytes:
    """All bytes of a regular file; `hint` says what to do if it cannot be read.

    Raises:
        ArtifactError: it cannot be read, is not a regular file, or has more than `largest` bytes.
        Cancelled: the command that reads it was cancelled.
    """
    with reading(path, hint) as file:
        _check_size(path, os.fstat(file.fileno()).st_size, largest)
        contents = bytearray(file.read(CHUNK))
        while piece := file.read(CHUNK):
            look()
            contents += piece
            _check_size(path, len(contents), largest)  # it may grow, or not say its size
        return bytes(contents)


@contextmanager
def reading(path: Path, hint: str = READABLE) -> Iterator[BinaryIO]:
    """A regular file, open inside the block; `hint` says what to do if it cannot be read.

    Raises:
        ArtifactError: it cannot be read, or is not a regular file.
    """
    with reported("read", path, hint):
        # Without O_NONBLOCK, opening a named pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check_mode(path, os.fstat(descriptor).st_mode)
            with open(descriptor, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)


def check_regular(path: Path, hint: str = READABLE, largest: int | None = None) -> Path:
    """The path, if it is that of a regular file: for files that a library opens.

    Raises:
        ArtifactError: there is none, it is not a regular file, or has more than `largest` bytes.
    """
    with reported("read", path, hint):
        status = path.stat()
        _check_mode(path, status.st_mode)
        if largest is not None:
            _check_size(path, status.st_size, largest)
    return path


def _check_mode(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = "is a folder, not a regular file" if stat.S_ISDIR(mode) else "is not a regular file"
        raise ArtifactError(f"{path} {what}", "give the path of a file")


def _check_size(path: Path, size: int, largest: int) -> None:
    if size > largest:
        has = f"{size >> 20:,} MiB" if size >> 20 > largest >> 20 else f"{size:,} bytes"
        raise ArtifactError(f"{path} has {has}; at most {largest >> 20} MiB are read", "give another file")


def write_file(
    path: Path,
    data: bytes | Sequence[bytes],
    *,
    force: bool = False,
    what: str = "",
    earlier: Path | None = None,
    hint: str = "choose a place where you may write",
    private: bool = False,
) -> Path:
    """Write `data`, in one or in pieces, to `path`: whole or not at all, and on the disk when this returns.

    Args:
        path: where to; missing folders are made.
        force: replace an existing file.
        what: how an error names the file; by default its path.
        earlier: where to keep the version that is replaced.
        hint: what to do if it cannot be written.
        private: only its owner may read it.

    Raises:
        ArtifactError: it exists and `force` is off, or it cannot be written.
    """
    pieces = [data] if isinstance(data, bytes) else data
    size = sum(map(len, pieces))
    if size > LARGEST:
        raise ArtifactError(f"{what or path} has {size >> 20} MiB; at most {LARGEST >> 20} are written")
    with reported("write", path, hint):
        make_folder(path.parent)
        with turn(path.parent):
            temporary = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY}")
            try:
                _write(temporary, pieces, private)
                _put(temporary, path, force, what or str(path), earlier)
            finally:
                # It is still there after a link or a failure. A second disk error must not hide the first.
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            sync_folder(path.parent)
    return path


def check_target(path: Path, example: str, *, force: bool) -> None:
    """Refuse, before anything is computed, a path that could not be written; `example` is a fitting file name.

    Raises:
        UsageError: it is a folder.
        ArtifactError: it exists, and `force` is off.
    """
    if os.path.isdir(path):
        raise UsageError(f"'{path}' is a folder", f"name a file in it: {path / example}")
    if os.path.lexists(path) and not force:
        raise ArtifactError(f"'{path}' exists already", "replace it with --force, or choose another name")


def _put(temporary: Path, path: Path, force: bool, what: str, earlier: Path | None) -> None:
    try:
        link(temporary, path)
    except FileExistsError as error:
        if not force:
            raise ArtifactError(f"{what} exists already", "replace it with --force, or choose another name") from error
        if earlier is not None:
            # A second link, not a move: the name always has a file, even if the process dies here.
            make_folder(earlier.parent)
            link(path, earlier)
            sync_folder(earlier.parent)
        temporary.replace(path)


def link(source: Path, path: Path) -> None:
    """Give a file a second name that is not taken; on a disk without hard links, move it there."""
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        source.rename(path)


def _write(path: Path, pieces: Sequence[bytes], private: bool) -> None:
    with path.open("xb") as file:
        if private:
            os.fchmod(file.fileno(), 0o600)
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder and the missing folders above it; they are on the disk when this returns."""
    missing = []
    while not folder.is_dir():
        # Checked again: another process may have made it meanwhile.
        if os.path.lexists(folder) and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        missing.append(folder)
        folder = folder.parent
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        sync_folder(parent.parent)


def sync_folder(folder: Path) -> None:
    """Write the folder's list of files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_STAMP = "%Y%m%dT%H%M%S.%f"


def binned(folder: Path, name: str, suffix: str = "") -> Path:
    """The place in the trash for a deleted or replaced file: `NAME~TIME-ID`, later than all of its name there.

    So the file that was deleted last is restored first, even if the clock was set back meanwhile.
    """
    moment = datetime.now(UTC).replace(tzinfo=None)
    for file in folder.glob(f"{name}~*"):
        with suppress(ValueError, OverflowError):  # a name without a time
            there = datetime.strptime(file.name.removeprefix(f"{name}~").partition("-")[0], _STAMP)
            moment = max(moment, there + timedelta(microseconds=1))
    return folder / f"{name}~{moment.strftime(_STAMP)}-{secrets.token_hex(4)}{suffix}"


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Inside the block be the only writer of a folder; files that killed writers left are removed first."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A disk without locks is still written: links alone keep new files from overwriting each other.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _clear(folder)
        yield
    finally:
        # Closing is not enough: a process that was forked meanwhile has the descriptor too, and with it the lock.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def sweep_files(folder: Path) -> None:
    """Remove what killed writers left in a folder, unless somebody writes there now, who has done it already.

    Raises:
        OSError: it cannot be read or written, or has no locks.
    """
    if not any(folder.glob(f".*{TEMPORARY}")):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(folder)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for remains in folder.glob(f".*{TEMPORARY}"):
        if remains.is_file() and not remains.is_symlink():
            remains.unlink()


@contextmanager
def alone(lock: Path, taken: str) -> Iterator[None]:
    """Hold a lock inside the block, which may take hours. Nobody waits for it: a second holder gets an error.

    Raises:
        ArtifactError: another process holds it, with `taken` as the message; or its folder cannot be written.
    """
    with reported("write", lock):
        make_folder(lock.parent)
        descriptor = locked(lock)
    if descriptor is None:
        raise ArtifactError(taken, "wait until it is done, or choose another name")
    with released(lock, descriptor):
        yield


@contextmanager
def ended(lock: Path) -> Iterator[bool]:
    """Whether the holder of a lock is gone. If so, nobody can take it inside the block, and it is removed afterwards.

    False if somebody holds it, or if that cannot be known.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        yield isinstance(error, FileNotFoundError)
        return
    try:
        gone = _held_by_nobody(lock, descriptor)
        yield gone
        if gone:
            with suppress(OSError):
                lock.unlink()
    finally:
        os.close(descriptor)


def _held_by_nobody(lock: Path, descriptor: int) -> bool:
    """Try to take a lock, until the descriptor is closed. Returns whether that succeeded."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    return False


@contextmanager
def released(lock: Path, descriptor: int) -> Iterator[None]:
    """After the block, release a lock and remove its file."""
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()  # while it is held, so that a process that has it open notices that it is gone
        os.close(descriptor)


def locked(lock: Path) -> int | None:
    """A descriptor of the file, locked until it is closed; None if another process holds the lock."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            return descriptor  # a disk without locks is still written
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)  # it was removed between opening and locking


@contextmanager
def reported(doing: str, path: Path, hint: str = HOME_HINT) -> Iterator[None]:
    """Turn errors of the operating system into errors that name the path and what to do."""
    try:
        yield
    except OSError as error:
        culprit = f" ({error.filename})" if error.filename not in (None, path, str(path)) else ""
        reason = f"{error.strerror or error}{culprit}"
        hint = f"free some space, or {hint}" if error.errno in _NO_SPACE else hint
        raise ArtifactError(f"cannot {doing} {path}: {reason}", hint) from error
