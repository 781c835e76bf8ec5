"""What a pretended accelerator was asked for: bytes held, kernels, waits of the host, copies between devices.

Kernels, waits and copies are counted by what was done and by the line of the project that asked for it, so that a stall
in a hot loop shows where it stands. Bytes are counted once a storage, and leave with it.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import Counter

import torch

#: Folders whose frames are named as the place that something was asked at.
PLACES = ("/sessions/", "/commands/", "/workbench/")


class Meter:
    """Counters of one kind of device. `count` says how many there are, `capacity` how many bytes each has."""

    def __init__(self) -> None:
        self.kind, self.count, self.capacity = "cuda", 0, 0
        self.held: Counter[torch.device] = Counter()
        self.peak: Counter[torch.device] = Counter()
        self.waits: Counter[tuple[str, str]] = Counter()
        self.copies: Counter[tuple[str, str]] = Counter()
        self.kernels: Counter[tuple[str, str]] = Counter()
        self._storages: dict[int, tuple[int, torch.device]] = {}
        self._lock = threading.RLock()

    def begin(self, kind: str, count: int, capacity: int) -> None:
        """Pretend these devices from now on, and count from nothing."""
        self.kind, self.count, self.capacity = kind, count, capacity
        self._storages.clear()  # what is left over of earlier devices is not on these
        self.held.clear()
        self.clear()

    def clear(self) -> None:
        """Forget what was counted; the peak begins again at what is held."""
        self.waits, self.copies, self.kernels, self.peak = Counter(), Counter(), Counter(), Counter(self.held)

    def wait(self, what: str) -> None:
        self.waits[what, _place()] += 1

    def copy(self, what: str) -> None:
        self.copies[what, _place()] += 1

    def kernel(self, what: str) -> None:
        self.kernels[what, _place()] += 1

    def hold(self, tensor: torch.Tensor, device: torch.device) -> None:
        """Count the memory of a tensor as the device's, for as long as it lives.

        Raises:
            torch.OutOfMemoryError: the device has not so much left.
        """
        storage = torch.Tensor.untyped_storage(tensor)
        key, size = storage._cdata, storage.nbytes()
        with self._lock:
            if key in self._storages:
                return
            if self.held[device] + size > self.capacity:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size:,} bytes on {device}.")
            self._storages[key] = size, device
            self.held[device] += size
            self.peak[device] = max(self.peak[device], self.held[device])
        weakref.finalize(storage, self._let_go, key)

    def _let_go(self, key: int) -> None:
        with self._lock:
            if key in self._storages:
                size, device = self._storages.pop(key)
                self.held[device] -= size


#: There is one machine, and so one meter.
METER = Meter()


def _place() -> str:
    """The innermost line of the project on the stack."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        part = next((part for part in PLACES if part in file), None)
        if part is not None and "/site-packages/" not in file:
            return f"{file[file.index(part) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
