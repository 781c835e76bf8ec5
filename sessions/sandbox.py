"""The sandbox for programs of other people: chat templates, which come with models, and regular expressions.

A template may loop for ever or fill the memory; an expression may backtrack for ever. A thread cannot be stopped while
it does. So a child process (`sandbox_child`) runs them, with limits on computing time, memory and length. The command
that waits for the child can be cancelled. The child is started once for a process, and again after it was ended.
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

#: Limits of one request: seconds of computing, bytes of memory, characters of text.
SECONDS, MEMORY, LONGEST = 2.0, 512 * 2**20, 2**24
#: Seconds between two checks of the cancel flag, and after which a child that does not answer is given up.
_LOOK, _PATIENCE = 0.05, 60.0
_LIMITS = {
    "time": f"computes for more than {SECONDS:g} seconds",
    "memory": f"takes more than {MEMORY >> 20} MiB of memory",
    "length": f"writes more than {LONGEST:,} characters",
    "broken": "ended the process that it ran in",
}


class ProgramError(Exception):
    """The program raised an error; the message is that error's."""


class TooMuch(ModelError):
    """The program exceeded a limit. `what` is which one, `said` a phrase that follows the program's name."""

    def __init__(self, what: str) -> None:
        self.what, self.said = what, _LIMITS[what]
        super().__init__(f"a program that came with a file {self.said}")


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """The child's answer to a request: see `sandbox_child`.

    Raises:
        ProgramError: the program raised an error.
        TooMuch: it exceeded a limit.
        Cancelled: the command that waits for it was cancelled.
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
    """The child's answer. If anything else happens, the child is ended: nobody would read its answer."""
    child = _child()
    try:
        line = _exchanged(child, request)
    except BaseException:
        end()
        raise
    if line.endswith(b"\n"):
        answer: dict[str, Any] = json.loads(line)
        return answer
    return {"limit": "time" if end(patience=2.0) == -SIGPROF else "broken"}


def _exchanged(child: subprocess.Popen[bytes], request: bytes) -> bytes:
    """Write the request and read the answer, one line; less than a line if the child ended before."""
    assert child.stdin is not None and child.stdout is not None
    into, out = child.stdin.fileno(), child.stdout.fileno()
    left, answer, begun = memoryview(request), bytearray(), monotonic()
    is_cleaning_up = requested()  # the command was cancelled before, and must be able to clean up
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
            cwd="/",  # so that the session's folder can be removed
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # ctrl-c goes to the command, which ends the child itself
        )
        assert _running.stdin is not None
        os.set_blocking(_running.stdin.fileno(), False)
        _owner = os.getpid()
    return _running


@atexit.register
def end(patience: float = 0.0) -> int:
    """End the child, if it does not end by itself within `patience` seconds.

    Returns:
        Its exit code if it ended by itself, otherwise 0.
    """
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
