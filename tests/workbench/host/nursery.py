"""Hosts that begin at once: forked from a process that has imported what a host with a model imports.

    python -m tests.workbench.host.nursery

A host that opens a model imports torch and transformers first, seconds of work that is the same in each. Tests that ask
what a host does when it has a model, or when it comes back, let it begin here instead; from its `main` on it is the
product's. How a host process really begins is for the tests that start one as the product does.

A request is a line of JSON on stdin, of a host's name, home and log, and the environment and folder it is started in;
the answer is a line with its process. The first line is the nursery's own, once it is ready.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench.host.places import HostPaths
from workbench.host.starting import environment

ROOT = Path(__file__).parents[3]


class Forked:
    """A host process as the one who started it sees it. Its parent is the nursery, which lets it go when it ends."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def terminate(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> None:
        while self.poll() is None:
            time.sleep(0.01)


class Nursery:
    """The process that hosts are forked from. It has imported everything when this returns."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.workbench.host.nursery"],
            cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def spawned(self, place: HostPaths) -> Forked:
        """What `workbench.host.starting` does to have a host, done here."""
        place.make()
        assert self._process.stdin is not None
        wanted = {"name": place.name, "home": str(place.home), "log": str(place.log), "folder": os.getcwd()}
        self._process.stdin.write(json.dumps(wanted | {"environment": environment()}) + "\n")
        self._process.stdin.flush()
        return Forked(self._answer())

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def close(self) -> None:
        with self._process:
            self._process.kill()


def main() -> None:
    import transformers.models.llama.modeling_llama  # noqa: F401

    import sessions.circuits.discovery
    import sessions.interventions.answering
    import sessions.saved_state
    import sessions.session  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    print(os.getpid(), flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
        print(pid, flush=True)


def _become(wanted: dict[str, Any]) -> None:
    """Be the host that is wanted, as if begun by itself: a session of its own, and nothing of the nursery's open."""
    from workbench.host.process import main as host

    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        log = os.open(wanted["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
            os.dup2(descriptor, number)
        os.closerange(3, 100)
        host([wanted["name"], "--home", wanted["home"]], standalone_mode=False)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
