"""Training to the same bits: deterministic kernels, wherever a device has them.

On the CPU results are deterministic as long as the number of threads is the same. On an accelerator several kernels add
in the order in which they happen to finish, among them the backward pass of attention. torch has deterministic versions
of most of them and uses them inside the block here. Where it has none, training continues, and `Reproducible.lacks`
names the operation.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

#: How cuBLAS may share its memory out so that it always sums in one order; torch asks for it by name.
_CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
#: Whether memory that nobody has written to yet is filled while kernels of one order are taken.
_MEMORY: Any = torch.utils.deterministic
_LACKING = re.compile(r"(\w+) does not have a deterministic implementation")

T = TypeVar("T")


@dataclass
class Reproducible:
    """The block of `reproducible`. `lacks` is an operation that has no kernel of one order, where one was met."""

    lacks: str = ""

    def computed(self, work: Callable[[], T]) -> T:
        """What some work comes to; where it meets an operation without such a kernel, it is done again with any."""
        try:
            return work()
        except RuntimeError as error:
            if self.lacks or "determinis" not in str(error):
                raise
            match = _LACKING.search(str(error))
            self.lacks = match[1] if match else "an operation"
        torch.use_deterministic_algorithms(True, warn_only=True)
        return work()


@contextmanager
def reproducible() -> Iterator[Reproducible]:
    """Inside the block kernels that always add in one order are taken."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = _MEMORY.fill_uninitialized_memory
    name, value = _CUBLAS
    given = os.environ.get(name)
    os.environ.setdefault(name, value)
    torch.use_deterministic_algorithms(True)
    _MEMORY.fill_uninitialized_memory = False  # which costs time, and no kernel here reads what nobody wrote
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*determinis.*")  # of the operations that there are no such kernels of
            yield Reproducible()
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        _MEMORY.fill_uninitialized_memory = filled
        if given is None:
            os.environ.pop(name, None)


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Inside the block what is drawn on the CPU is a function of the seed; after it, chance goes on as before it.

    The generators of other devices are left alone.
    """
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)
