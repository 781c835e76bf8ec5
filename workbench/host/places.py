"""The files of a host: its folder, the lock that shows whether it runs, its socket.

A host holds the lock of its folder as long as it runs, so that a killed process cannot look alive. The lock file says
who holds it and where the socket is. The socket is in the host's folder. If that path is too long for a socket, or its
disk has no sockets, it is in $XDG_RUNTIME_DIR or in a private folder for temporary files.
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
from sessions.artifacts import checked_name
from sessions.errors import ArtifactError, WorkbenchError
from sessions.files.disk import make_folder, read_file, reported
from sessions.store import Store

#: The most bytes in the path of a socket; the smallest limit of any system is 103.
LONGEST_SOCKET = 100
#: The most connections that wait to be accepted; the system may allow fewer.
BACKLOG = 1024
_PRIVATE = 0o700
_OWN_FILE = 0o600
_TRIES, _BETWEEN = 40, 0.025


class HostError(WorkbenchError):
    """A host does not start, does not answer, or does not exist."""

    kind = "host"


class Holder(Struct, frozen=True):
    """The holder of a host's lock: process, machine, start time, and the path of its socket."""

    pid: int
    node: str
    began: float
    socket: str


class HostPaths:
    """The paths of one host. Nothing is created before the host starts.

    Raises:
        ArtifactError: no host can have that name.
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
        """Make the folder, readable by its owner only.

        Raises:
            ArtifactError: it cannot be made.
        """
        with reported("make", self.folder):
            make_folder(self.folder)
            self.folder.chmod(_PRIVATE)

    @contextmanager
    def marked_opening(self, name: str) -> Iterator[None]:
        """Keep a marker file with the model's name during the block; no file without a name.

        A marker that is still there later shows that the process died in the block.
        """
        if not name:
            yield
            return
        with suppress(OSError):  # the marker is only a precaution: a full disk must not stop the opening
            descriptor = os.open(self.opening, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, _OWN_FILE)
            with open(descriptor, "wb") as file:
                file.write(name.encode(errors="backslashreplace"))
        try:
            yield
        finally:
            self._unmark()

    def was_opening(self) -> str | None:
        """The model during whose opening the last host died, and remove its marker.

        "" if the marker has no name, None if there is no marker.
        """
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
        """The running host, or None. A host that is starting or ending has pid 0 and no socket.

        Raises:
            HostError: it runs on another machine that shares this home.
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
        except (ValueError, RecursionError):  # locked, but not written yet, or emptied already
            return Holder(0, platform.node(), 0, "")
        if holder.node != platform.node():
            raise HostError(
                f"the host {self.name} runs on {holder.node}, with the same home folder",
                "attach there, or choose another name",
            )
        return holder


def hosts(home: Path | None) -> list[HostPaths]:
    """The hosts that run or have run."""
    folder = Store(home).home / "hosts"
    names = sorted(entry.parent.name for entry in folder.glob("*/lock"))
    places = []
    for name in names:
        with suppress(WorkbenchError):
            places.append(HostPaths(home, name))
    return places


@contextmanager
def held(place: HostPaths) -> Iterator[socket.socket | None]:
    """Hold the lock of a host during the block. Yields its listening socket, or None if another process holds it.

    Raises:
        ArtifactError: the folder cannot be written, or its disk has no locks.
        HostError: no socket can be created.
    """
    place.make()
    with reported("lock", place.lock), open(_opened(place.lock), "r+b") as file:
        if not _locked(file.fileno()):
            yield None
            return
        file.truncate(0)  # the earlier holder is dead
        listening, path = listening_at(place)
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
    """Take the lock if no host holds it. Returns whether that worked. Clients share it for a moment: wait for them."""
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # a host holds it
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_BETWEEN)
    return False


def listening_at(place: HostPaths, name: str = "socket") -> tuple[socket.socket, Path]:
    """A listening socket of that name and its path. Whoever holds the lock removes what a dead process left there.

    Raises:
        HostError: no socket can be created.
    """
    refused: OSError | None = None
    for path in _sockets(place, name):
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
        f"no socket can be created: {refused or 'all paths are too long'}",
        "set XDG_RUNTIME_DIR to a folder of your own with a short path",
    )


def _sockets(place: HostPaths, name: str) -> Iterator[Path]:
    """The possible paths of the socket, the preferred first."""
    far = f"{hashlib.sha256(os.fsencode(place.folder)).hexdigest()[:24]}.{name}"
    given = os.environ.get("XDG_RUNTIME_DIR")
    folders = [Path(given, "workbench")] if given else []
    folders.append(Path(tempfile.gettempdir(), f"workbench-{os.geteuid()}"))
    for path in [place.folder / name, *(folder / far for folder in folders)]:
        if len(os.fsencode(path)) <= LONGEST_SOCKET and is_text(str(path)):  # the lock file has it in JSON
            if path.parent != place.folder:
                _make_private(path.parent)
            yield path


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can enter.

    Raises:
        HostError: the folder belongs to another user, or others can enter it.
    """
    with reported("make", folder, "set XDG_RUNTIME_DIR to a folder of your own"):
        with suppress(FileExistsError):
            folder.mkdir(_PRIVATE)
        status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not private or status.st_uid != os.geteuid():
        raise HostError(f"{folder} is not a private folder of yours", "remove it, or set XDG_RUNTIME_DIR to another")


def is_own(peer: socket.socket) -> bool:
    """Whether the process at the other end belongs to the same user.

    Only Linux can tell; elsewhere the private folder has to be enough.
    """
    return not hasattr(socket, "SO_PEERCRED") or _uid(peer) == os.geteuid()


def _uid(peer: socket.socket) -> int:
    form = "iII"  # pid, uid, gid
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    return int(struct.unpack(form, data)[1])
