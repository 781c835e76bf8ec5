"""Output that cannot be written as it is: characters that the locale lacks, a full disk, a reader that has gone.

Lines show a `?` for a character that the locale lacks. The app writes UTF-8 whatever the locale says, because terminals
read it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper

#: Errors of a write to a full disk, or to a pipe that nobody reads.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF}
FAILED = 1


def lenient() -> None:
    """Write `?` for characters that the locale lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def drawn_as_utf8() -> None:
    """Write stderr, on which the app draws, as UTF-8."""
    if isinstance(sys.__stderr__, TextIOWrapper):
        sys.__stderr__.reconfigure(encoding="utf-8", errors="replace")


def is_refused(error: OSError) -> bool:
    """Whether writing the output failed. An error of another file carries its name."""
    return error.filename is None and error.errno in _REFUSED


def close_stdout() -> int:
    """Stop writing to stdout: its reader closed it, or the disk is full. Returns the exit code."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


@contextmanager
def reported() -> Iterator[None]:
    """If writing output fails in the block or at the final flush, say so in one line and exit with code 1."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if not is_refused(error):
            raise
        close_stdout()
        if error.errno == errno.EPIPE:  # the reader has gone, as `head` does: not worth a message
            sys.exit(FAILED)
        with suppress(OSError):
            print(f"✗ the output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(FAILED)
