"""Where a host is found: its folder, the lock that says whether it lives, its socket.

A host holds the lock of its folder for life, so that a process which was killed leaves nothing that looks alive; the
lock file says who holds it and where the socket is. The socket lies in the host's folder or, where that path is too
long for one (or its disk has no sockets), in a private folder of the user's for things that run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from commands.line import is_text
from sessions.errors import ArtifactError, WorkbenchError
from sessions.files.disk import make_folder, read_file, reported
from sessions.store import Store, checked_name

#: Bytes a socket's path may have; the smallest limit of the systems there are is 103.
LONGEST_SOCKET = 100
#: Clients that may wait to be met, as far as the system allows so many.
BACKLOG = 1024
_PRIVATE = 0o700
_OWN_FILE = 0o600
_TRIES, _BETWEEN = 40, 0.025


class HostError(WorkbenchError):
    """A host that does not start, does not answer, or is not there."""

    kind = "host"


class Holder(Struct, frozen=True):
    """Who holds a host's lock: the process, its machine, when it began, and where it listens."""

    pid: int
    node: str
    began: float
    socket: str


class HostPaths:
    """The folder of one host. Nothing is made before a host starts.

    Raises:
        ArtifactError: the name is not one a host can have.
    """

    def __init__(self, home: Path | None, name: str) -> None:
        self.home = Store(home).home
        self.name = checked_name(name)
        self.folder = self.home / "hosts" / name
        self.lock = self.folder / "lock"
        self.state = self.folder / "state.json"
        self.log = self.folder / "host.log"
        self.opening = self.folder / "opening"

    def make(self) -> None:
        """Make the folder, for its owner alone.

        Raises:
            ArtifactError: it cannot be made.
        """
        with reported("make", self.folder):
            make_folder(self.folder)
            self.folder.chmod(_PRIVATE)

    @contextmanager
    def marked_opening(self, name: str) -> Iterator[None]:
        """Leave a mark with the model's name for the length of the block; none without a name. Where it is still there
        later, the process ended in between."""
        if not name:
            yield
            return
        with suppress(OSError):  # a full disk: it is a precaution
            descriptor = os.open(self.opening, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, _OWN_FILE)
            with open(descriptor, "wb") as file:
                file.write(name.encode(errors="backslashreplace"))
        try:
            yield
        finally:
            self._unmark()

    def was_opening(self) -> str | None:
        """The model that a host before this one opened when it ended; "" where it did not say which, None where it
        ended otherwise. It is asked once: the mark goes."""
        if not os.path.lexists(self.opening):
            return None
        name = ""
        with suppress(ArtifactError):
            name = read_file(self.opening).decode(errors="replace")
        self._unmark()
        return name

    def _unmark(self) -> None:
        with suppress(OSError):
            self.opening.unlink(missing_ok=True)

    def holder(self) -> Holder | None:
        """The host that lives here, or None. One that is just beginning, or ending, has pid 0 and no socket.

        Raises:
            HostError: it lives on another machine that shares this home.
        """
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with reported("lock", self.lock), open(descriptor, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                return self._checked(file.read(2**16))

    def _checked(self, data: bytes) -> Holder:
        try:
            holder = msgspec.json.decode(data, type=Holder)
        except (ValueError, RecursionError):  # locked, and not written yet or any longer
            return Holder(0, platform.node(), 0, "")
        if holder.node != platform.node():
            raise HostError(
                f"the host {self.name} runs on {holder.node}, with the same home folder",
                "attach there, or choose another name",
            )
        return holder


def hosts(home: Path | None) -> list[HostPaths]:
    """The places that have, or had, a host."""
    folder = Store(home).home / "hosts"
    names = sorted(entry.parent.name for entry in folder.glob("*/lock"))
    found = []
    for name in names:
        with suppress(WorkbenchError):
            found.append(HostPaths(home, name))
    return found


@contextmanager
def held(place: HostPaths) -> Iterator[socket.socket | None]:
    """Be the host of a place for the length of the block: its listening socket, or None where another one lives.

    Raises:
        ArtifactError: the folder cannot be written, or its disk has no locks.
        HostError: there is no place for a socket.
    """
    place.make()
    with reported("lock", place.lock), open(_opened(place.lock), "r+b") as file:
        if not _locked(file.fileno()):
            yield None
            return
        file.truncate(0)  # who was here before is dead
        listening, path = _listening(place)
        try:
            file.write(msgspec.json.encode(Holder(os.getpid(), platform.node(), time.time(), str(path))))
            file.flush()
            yield listening
        finally:
            listening.close()
            path.unlink(missing_ok=True)
            file.truncate(0)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWN_FILE)


def _locked(descriptor: int) -> bool:
    """Whether the lock could be had. Those who look at it share it for an instant: they are waited for."""
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # a host's
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_BETWEEN)
    return False


def _listening(place: HostPaths) -> tuple[socket.socket, Path]:
    """A socket that listens, and where. Whatever a dead host left there is swept away; the lock is held."""
    refused: OSError | None = None
    for path in _sockets(place):
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            path.chmod(_OWN_FILE)
            listening.listen(BACKLOG)
            return listening, path
        except OSError as error:
            listening.close()
            refused = error
    raise HostError(
        f"there is no place for a socket: {refused or 'all paths are too long'}",
        "set XDG_RUNTIME_DIR to a folder of your own with a short path",
    )


def _sockets(place: HostPaths) -> Iterator[Path]:
    """Where the socket may lie, the best place first."""
    far = f"{hashlib.sha256(os.fsencode(place.folder)).hexdigest()[:24]}.socket"
    given = os.environ.get("XDG_RUNTIME_DIR")
    folders = [Path(given, "workbench")] if given else []
    folders.append(Path(tempfile.gettempdir(), f"workbench-{os.geteuid()}"))
    for path in [place.folder / "socket", *(folder / far for folder in folders)]:
        if len(os.fsencode(path)) <= LONGEST_SOCKET and is_text(str(path)):  # the lock file says it, in JSON
            if path.parent != place.folder:
                _make_private(path.parent)
            yield path


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can enter.

    Raises:
        HostError: what has its name belongs to somebody else, or is open to others.
    """
    with reported("make", folder, "set XDG_RUNTIME_DIR to a folder of your own"):
        with suppress(FileExistsError):
            folder.mkdir(_PRIVATE)
        status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not private or status.st_uid != os.geteuid():
        raise HostError(f"{folder} is not a private folder of yours", "remove it, or set XDG_RUNTIME_DIR to another")


def is_own(peer: socket.socket) -> bool:
    """Whether the process at the other end is of the same user.

    Asked of Linux alone; elsewhere the folder, which nobody else can enter, has to be enough.
    """
    return not hasattr(socket, "SO_PEERCRED") or _uid(peer) == os.geteuid()


def _uid(peer: socket.socket) -> int:
    form = "iII"  # pid, uid, gid
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    return int(struct.unpack(form, data)[1])
