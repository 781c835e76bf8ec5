"""What a process holds: its tensors, and what it has been given by the system's allocator.

Both are counted after everything that is garbage was collected, so that what is left is held by something.
"""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import torch


def tensors() -> int:
    """Tensors that Python knows of, those included that nothing but the graph of another one leads to."""
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


_FIELDS = "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"


class _Account(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def resident() -> int:
    """Bytes of the process that are in the machine's memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def allocated() -> int | None:
    """Bytes that are allocated and not freed, tensors and all, to the byte; None where the system does not say."""
    try:
        account = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError, TypeError):
        return None
    account.restype = _Account
    gc.collect()
    said = account()
    return int(said.uordblks + said.hblkhd)
