"""Running out of memory: how it is told from other errors, and how what was taken is given back.

An error holds its traceback, which holds every frame that it came through, and these the tensors of a pass that was too
large. As long as anything holds the error, what it needed is not free; and what is free is still the process's own
until the allocators are asked to return it.

Torch is not imported here: where nobody else has, there is nothing to return.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import sys
import traceback
from collections.abc import Iterator

#: What errors say that have no class of their own: the CPU's allocator, a device's, C++, the libraries of a device.
_SAID = ("allocate memory", "out of memory", "bad_alloc", "bad allocation", "ALLOC_FAILED")


def is_lacking(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that there is not enough memory."""
    return any(_says_so(each) for each in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


def let_go(error: BaseException) -> None:
    """Empty the frames that an error came through, those that still run left out."""
    for each in _chain(error):
        traceback.clear_frames(each.__traceback__)


def give_back() -> None:
    """Return what nobody holds any more to the system, and to other processes on the devices."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # glibc's; others return what is free by themselves
        trim(0)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those behind it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            waiting += [each.__cause__, each.__context__]
            yield each
