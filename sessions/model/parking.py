"""Room for a model that is about to be loaded where another one is: the open one waits in the memory of the host.

Two models at once need twice the memory. So where an accelerator has no room for both, the open model moves to the host
before the new one is loaded. If that fails it comes back, so a failed load costs nothing but time. Where it cannot come
back, it stays open in the host's memory, and that is said.

Nothing moves that has its weights over several devices, offloaded or packed, nor a model that is on the host anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from sessions import memory
from sessions.errors import WorkbenchError
from sessions.model.homes import CPU, devices_of, free_memory
from sessions.model.opening import OpenModel

#: Bytes that loading takes for each byte of the weights' files: those of float16 may be opened in float32.
_FACTOR = 2


@contextmanager
def parking(opened: OpenModel | None) -> Iterator[Callable[[int], None]]:
    """The block loads another model in place of `opened`. Yields a function that makes room on its device for weights
    of so many bytes in files. After an error in the block the open model is back where it was."""
    moved: list[torch.device] = []

    def make_room(size: int) -> None:
        if opened is not None and _is_in_the_way(opened, size):
            moved.extend(devices_of(opened.model))
            opened.model.to("cpu")
            memory.give_back()

    try:
        yield make_room
    except BaseException as error:
        if moved and opened is not None:
            memory.give_back()
            _back(opened, moved[0], error)
        raise


def _is_in_the_way(opened: OpenModel, size: int) -> bool:
    """Whether an open model is on an accelerator that has no room for another beside it, and the host has."""
    if not _movable(opened):
        return False
    (device,) = devices_of(opened.model)
    free, host = free_memory(device), free_memory(CPU)
    weights = sum(weight.nbytes for weight in opened.model.parameters())
    return free is not None and free < _FACTOR * size and (host is None or host > weights + size)


def _back(opened: OpenModel, home: torch.device, error: BaseException) -> None:
    """Bring a model back to its device; where that has no room any more, say so in the hint of the error."""
    try:
        opened.model.to(home)
    except Exception as full:
        if not memory.is_lacking(full):
            raise
        opened.model.to("cpu")
        memory.give_back()
        if isinstance(error, WorkbenchError):
            name = opened.info.name
            said = f"{name} is open in the memory of the host now: model {name} --again brings it back"
            error.hint = f"{error.hint}; {said}" if error.hint else said


def _movable(opened: OpenModel) -> bool:
    """Whether all weights are on one accelerator, as numbers that can be moved."""
    devices = devices_of(opened.model)
    there = len(devices) == 1 and devices[0].type == "cuda"
    whole = not any(weight.is_meta for weight in opened.model.parameters())
    return there and whole and not opened.info.quantisation
