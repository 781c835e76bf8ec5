"""Where the programs of other people run: chat templates, which come with models, and regular expressions.

A template may loop for ever or double a text until the memory is full; an expression may go back and forth longer than
the universe has. No thread can be stopped in that. So a child process runs them (`sandbox_child`), within bounds: of
computing, of memory, of length. While it works, the command that waits for it can be cancelled. It is started once for
a process, and anew after it was ended.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from signal import SIGPROF
from time import monotonic
from typing import Any

from sessions.cancel import look, requested
from sessions.errors import ModelError

#: What one request may take: seconds of computing, bytes of memory, characters of text.
SECONDS, MEMORY, LONGEST = 2.0, 512 * 2**20, 2**24
#: Seconds between two looks at the cancel flag, and after which a child that does not answer is given up.
_LOOK, _PATIENCE = 0.05, 60.0
_LIMITS = {
    "time": f"computes for more than {SECONDS:g} seconds",
    "memory": f"takes more than {MEMORY >> 20} MiB of memory",
    "length": f"writes more than {LONGEST:,} characters",
    "broken": "ended the process that it ran in",
}


class ProgramError(Exception):
    """The program raised an error, which is what this says."""


class TooMuch(ModelError):
    """The program went beyond a bound. `what` is which one, `said` how it is told behind the program's name."""

    def __init__(self, what: str) -> None:
        self.what, self.said = what, _LIMITS[what]
        super().__init__(f"a program that came with a file {self.said}")


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """What the child says to a request: see `sandbox_child`.

    Raises:
        Refused: the program raised an error.
        TooMuch: it went beyond a bound.
        Cancelled: the command that waits for it was cancelled meanwhile.
    """
    with _lock:
        answer = _asked(json.dumps(request, default=str).encode() + b"\n")
    if "limit" in answer:
        raise TooMuch(answer["limit"])
    if "error" in answer:
        raise ProgramError(answer["error"])
    return answer


def warm() -> None:
    """Start the child, so that it is there when it is needed."""
    with _lock:
        _child()


# The child

_lock = threading.RLock()
_running: subprocess.Popen[bytes] | None = None
_owner = 0  # the process that started it


def _asked(request: bytes) -> dict[str, Any]:
    """The child's answer. Whatever else happens ends the child: it would answer to nobody."""
    child = _child()
    try:
        line = _exchanged(child, request)
    except BaseException:
        end()
        raise
    if line.endswith(b"\n"):
        found: dict[str, Any] = json.loads(line)
        return found
    return {"limit": "time" if end(patience=2.0) == -SIGPROF else "broken"}


def _exchanged(child: subprocess.Popen[bytes], request: bytes) -> bytes:
    """Write the request and read the answer, a line; less than a line where the child ended before."""
    assert child.stdin is not None and child.stdout is not None
    into, out = child.stdin.fileno(), child.stdout.fileno()
    left, answer, begun = memoryview(request), bytearray(), monotonic()
    is_cleaning_up = requested()  # then the command was cancelled before, and ends in its own way
    while not answer.endswith(b"\n"):
        readable, writable, _ = select.select([out], [into] if left else [], [], _LOOK)
        try:
            if writable:
                left = left[os.write(into, left) :]
        except BrokenPipeError:
            left = left[:0]
        if readable:
            piece = os.read(out, 2**20)
            if not piece:
                break
            answer += piece
        elif not writable:
            if not is_cleaning_up:
                look()
            if monotonic() - begun > _PATIENCE:
                break
    return bytes(answer)


def _child() -> subprocess.Popen[bytes]:
    global _running, _owner
    if _running is None or _owner != os.getpid() or _running.poll() is not None:
        script = Path(__file__).resolve().with_name("sandbox_child.py")
        _running = subprocess.Popen(
            [sys.executable, "-P", str(script), str(SECONDS), str(MEMORY), str(LONGEST)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",  # whatever folder the session is in can be removed
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # ctrl-c is for the command, which ends the child itself
        )
        assert _running.stdin is not None
        os.set_blocking(_running.stdin.fileno(), False)
        _owner = os.getpid()
    return _running


@atexit.register
def end(patience: float = 0.0) -> int:
    """End the child, unless it ends by itself within so many seconds. Returns how it did, 0 where it did not."""
    global _running
    child, _running = _running, None
    if child is None or _owner != os.getpid():
        return 0
    try:
        code = child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        code = 0
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    return code
