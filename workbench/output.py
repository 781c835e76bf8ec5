"""What becomes of output that its place cannot take: characters that a locale lacks, and a disk that is full.

A locale that knows no `│` gets a `?` in lines. The app draws for a terminal, and terminals read UTF-8 whatever the
locale of the machine says: there it is written so.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper

#: How a write fails where there is no room, or nobody who reads.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF}
FAILED = 1


def lenient() -> None:
    """Have characters that the locale lacks shown as `?`, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def drawn_as_utf8() -> None:
    """Have what is drawn on the screen, which goes to stderr, written as UTF-8."""
    if isinstance(sys.__stderr__, TextIOWrapper):
        sys.__stderr__.reconfigure(encoding="utf-8", errors="replace")


def is_refused(error: OSError) -> bool:
    """Whether it is the output that failed. What fails with a file has its name, or is told by who opened it."""
    return error.filename is None and error.errno in _REFUSED


def unread() -> int:
    """Nothing more is written to stdout: whoever reads it has seen enough, or there is no room. Returns the exit
    code."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


@contextmanager
def told() -> Iterator[None]:
    """Where output fails in the block, or when the last of it is written, that is said in a line, and the program ends
    with exit code 1."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if not is_refused(error):
            raise
        unread()
        if error.errno == errno.EPIPE:  # whoever reads has gone, as `head` does: that is no failure to tell of
            sys.exit(FAILED)
        with suppress(OSError):
            print(f"✗ the output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(FAILED)
