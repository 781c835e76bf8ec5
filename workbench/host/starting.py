"""Finding, starting and ending hosts.

The lock alone shows whether a host runs (see `places`). Several callers may start one at the same time: each starts a
process, one process gets the lock, and the others exit.
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

#: Seconds that a host may take to start, and between two checks.
STARTING = 30.0
_LOOK = 0.02
#: Seconds that `kill` waits after each means before it takes the next.
PATIENCE = {"asked to end": 5.0, "SIGTERM": 5.0, "SIGKILL": 5.0}
_LARGEST_LOG = 2**20


def find(name: str, home: Path | None = None) -> Client | None:
    """The client of a host, if it runs and listens; else None.

    Raises:
        ArtifactError: no host can have that name.
        HostError: it runs on another machine.
    """
    place = HostPaths(home, name)
    holder = place.holder()
    return Client(place, holder) if holder is not None and holder.socket else None


def find_or_start(name: str, home: Path | None = None, seconds: float = STARTING) -> Client:
    """The client of a host, which is started if it does not run. The host has answered.

    Raises:
        ArtifactError: no host can have that name, or its folder cannot be made.
        HostError: it did not start; the message has the last lines of its log.
    """
    place = HostPaths(home, name)
    child: subprocess.Popen[bytes] | None = None
    until = time.monotonic() + seconds
    while True:
        holder = place.holder()
        if holder is not None and holder.socket:
            client = Client(place, holder)
            with suppress(HostError):  # the socket exists but is not served yet
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
    raise HostError(f"the host {name} did not start" + (f": {last}" if last else ""), f"see {place.log}")


def _spawned(place: HostPaths) -> subprocess.Popen[bytes]:
    """Start a host process that outlives the terminal. It exits if another one has the lock."""
    place.make()
    with reported("write", place.log):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC  # do not block on a pipe
        descriptor = os.open(place.log, flags, 0o600)
    with open(descriptor, "ab") as log:
        if log.tell() > _LARGEST_LOG:
            log.truncate(0)
        return subprocess.Popen(
            # -P: do not import `commands` from the current folder.
            [sys.executable, "-P", "-m", "workbench.host.process", place.name, "--home", str(place.home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment(),
        )


def _let_go(child: subprocess.Popen[bytes] | None, welcome: Welcome) -> None:
    """End our process if another caller's process became the host."""
    if child is not None and child.pid != welcome.pid:
        child.terminate()
        child.wait()


def environment() -> dict[str, str]:
    """This process's environment, with PYTHONPATH set so that a child imports the same workbench."""
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
    """End a host: ask it, then SIGTERM, then SIGKILL. Returns which of them worked.

    The session's state is on the disk; the next host of that name restores it.

    Raises:
        HostError: there is no such host, or nothing ends it.
    """
    place = HostPaths(home, name)
    holder = place.holder()
    if holder is None:
        raise HostError(f"there is no host '{name}'", "workbench hosts lists those that run")
    for way, seconds in PATIENCE.items():
        with suppress(HostError, ProcessLookupError):
            _end(way, place, holder)
            if _gone(place, holder, seconds):
                return way
    if _gone(place, holder, 0):
        return "it ended by itself"
    raise HostError(
        f"the host {name}, process {holder.pid}, does not end", "end the process by its number, or restart the machine"
    )


def _end(way: str, place: HostPaths, holder: Holder) -> None:
    if way in signal.Signals.__members__:
        _check_is_host(holder)
        os.kill(holder.pid, signal.Signals[way])
    else:
        Client(place, holder).stop()


def _check_is_host(holder: Holder) -> None:
    """Raise `HostError` if the process is not a host: the system may have reused its number."""
    commands = Path(f"/proc/{holder.pid}/cmdline")
    if not holder.pid or (commands.exists() and b"workbench.host" not in commands.read_bytes()):
        raise HostError(f"process {holder.pid} is not a host", "workbench hosts lists those that run")


def _gone(place: HostPaths, holder: Holder, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        now = place.holder()
        if now is None or (now.pid and now.pid != holder.pid):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK)
