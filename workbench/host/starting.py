"""A host's life as seen from outside: found, started where there is none, ended when it is asked for.

Whether one lives is a matter of the lock alone (see `places`). Any number of starters may be at it at once: they all
start a process, one of these gets the lock, and the others go again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from sessions.files.disk import reported
from workbench.host.client import Client
from workbench.host.messages import Welcome
from workbench.host.places import Holder, HostError, HostPaths

#: Seconds that a host may take to come up, and between two looks whether it has.
STARTING = 30.0
_LOOK = 0.02
#: Seconds that `kill` waits after each of its ways, before it takes the next.
PATIENCE = {"asked to end": 5.0, "SIGTERM": 5.0, "SIGKILL": 5.0}
_LARGEST_LOG = 2**20


def find(name: str, home: Path | None = None) -> Client | None:
    """The host of that name, if it lives and listens.

    Raises:
        ArtifactError: no host can have that name.
        HostError: it lives on another machine.
    """
    place = HostPaths(home, name)
    holder = place.holder()
    return Client(place, holder) if holder is not None and holder.socket else None


def find_or_start(name: str, home: Path | None = None, seconds: float = STARTING) -> Client:
    """The host of that name, started where there is none; it answers.

    Raises:
        ArtifactError: no host can have that name, or its folder cannot be made.
        HostError: it did not come up; the message has the last lines of its log.
    """
    place = HostPaths(home, name)
    child: subprocess.Popen[bytes] | None = None
    until = time.monotonic() + seconds
    while True:
        holder = place.holder()
        if holder is not None and holder.socket:
            client = Client(place, holder)
            with suppress(HostError):  # it has bound its socket, and does not serve it yet
                _let_go(child, client.welcome(max(until - time.monotonic(), _LOOK)))
                return client
        elif holder is None and child is None:
            child = _spawned(place)
        elif holder is None and child is not None and child.poll() is not None:
            break
        if time.monotonic() > until:
            break
        time.sleep(_LOOK)
    last = _last_lines(place.log)
    raise HostError(f"the host {name} did not come up" + (f": {last}" if last else ""), f"see {place.log}")


def _spawned(place: HostPaths) -> subprocess.Popen[bytes]:
    """A host process that no terminal can end. Where two are started at once, one of them goes again."""
    place.make()
    with reported("write", place.log):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is not waited for
        descriptor = os.open(place.log, flags, 0o600)
    with open(descriptor, "ab") as log:
        if log.tell() > _LARGEST_LOG:
            log.truncate(0)
        return subprocess.Popen(
            # -P: a folder called `commands` where the user happens to be is not the workbench's.
            [sys.executable, "-P", "-m", "workbench.host.process", place.name, "--home", str(place.home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment(),
        )


def _let_go(child: subprocess.Popen[bytes] | None, welcome: Welcome) -> None:
    """Another starter was faster: a process that comes too late must not outlive the host it came for."""
    if child is not None and child.pid != welcome.pid:
        child.terminate()
        child.wait()


def environment() -> dict[str, str]:
    """This process's, in which the same workbench is found."""
    root = Path(__file__).parents[2]
    if root.name in ("site-packages", "dist-packages"):
        return dict(os.environ)
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _last_lines(path: Path, count: int = 5) -> str:
    with suppress(OSError):
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    return ""


def kill(name: str, home: Path | None = None) -> str:
    """End a host: ask it to, then SIGTERM, then SIGKILL. Returns which of them did it.

    What it kept of its session is on the disk, and comes back with the next host of that name.

    Raises:
        HostError: there is none, or nothing ends it.
    """
    place = HostPaths(home, name)
    holder = place.holder()
    if holder is None:
        raise HostError(f"no host is called {name}", "workbench hosts lists those that live")
    for way, seconds in PATIENCE.items():
        with suppress(HostError, ProcessLookupError):
            _end(way, place, holder)
            if _gone(place, holder, seconds):
                return way
    if _gone(place, holder, 0):
        return "it ended by itself"
    raise HostError(f"the host {name}, process {holder.pid}, does not end", "the machine may be out of order")


def _end(way: str, place: HostPaths, holder: Holder) -> None:
    if way in signal.Signals.__members__:
        _check_is_host(holder)
        os.kill(holder.pid, signal.Signals[way])
    else:
        Client(place, holder).stop()


def _check_is_host(holder: Holder) -> None:
    """Never end a process that only has the number of one that was a host."""
    commands = Path(f"/proc/{holder.pid}/cmdline")
    if not holder.pid or (commands.exists() and b"workbench.host" not in commands.read_bytes()):
        raise HostError(f"process {holder.pid} is no host", "look for it: workbench hosts")


def _gone(place: HostPaths, holder: Holder, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        now = place.holder()
        if now is None or (now.pid and now.pid != holder.pid):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK)
