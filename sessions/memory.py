"""Running out of memory: how to recognise the error, how to free the memory, and how to write how much there is.

An error keeps its traceback, the traceback keeps every frame that it came through, and the frames keep the tensors of
the pass that was too large. So as long as anything keeps the error, that memory is not free. And memory that is free
stays with the process until the allocators are asked to return it.

This file does not import torch: if nobody else has, there is nothing to return.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

#: Phrases of such errors that have no class of their own: of the allocators of the CPU and the devices, of C++, and of
#: the libraries of a device.
_PHRASES = ("allocate memory", "out of memory", "bad_alloc", "bad allocation", "ALLOC_FAILED")


def amount(size: int) -> str:
    """Bytes of memory: `1.5 GiB`, `12 MiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**27 else f"{size / 2**20:.2g} MiB"


def is_lacking(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, means that there is not enough memory."""
    return any(_says_so(link) for link in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _PHRASES)


Member = TypeVar("Member")
Found = TypeVar("Found")


def in_parts(
    parts: Iterable[Sequence[Member]], compute: Callable[[Sequence[Member]], Found]
) -> Iterator[tuple[Sequence[Member], Found]]:
    """Compute something for each of some parts, of members that do not depend on each other.

    Yields each part with what was computed of it. A part for which memory does not suffice is cut in half, and half of
    that again if needed; all parts after it have at most as many members. `compute` may run again for members that it
    had begun with, so it changes nothing: what is done with its result is the caller's.

    Raises:
        Exception: what `compute` raises of other kinds; or that memory does not suffice for a single member.
    """
    most: int | None = None
    for part in parts:
        left = part
        while left:
            now = left[:most]
            try:
                found = compute(now)
            except Exception as error:
                if len(now) == 1 or not is_lacking(error):
                    raise
                let_go(error)
                most = len(now) // 2
            else:
                left = left[len(now) :]
                yield now, found
                del found  # the next part needs its memory
                continue
            give_back()  # after the block, since the error references the tensors that did not fit


def let_go(error: BaseException) -> None:
    """Clear the local variables of the frames that an error came through, except of those that still run."""
    for link in _chain(error):
        traceback.clear_frames(link.__traceback__)


def give_back() -> None:
    """Return unused memory to the system and, on devices, to other processes."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # glibc has it; other allocators return free memory by themselves
        trim(0)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, its causes and its contexts."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            waiting += [current.__cause__, current.__context__]
            yield current
