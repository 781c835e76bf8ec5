"""What the host knows of the running forward pass: the ids that it reads, and their positions.

A hook that needs a token or a position on the host would have to wait for the device to give it back. Generation has
both on the host before each pass, and says so here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownPass:
    """The ids of a pass and the position of each, `[rows][seq]`."""

    ids: Sequence[Sequence[int]]
    positions: Sequence[Sequence[int]]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.ids), len(self.ids[0])


_KNOWN: ContextVar[KnownPass | None] = ContextVar("known_pass", default=None)


@contextmanager
def knowing(known: KnownPass) -> Iterator[None]:
    """Inside the block the next pass is this one."""
    token = _KNOWN.set(known)
    try:
        yield
    finally:
        _KNOWN.reset(token)


def known_pass(shape: tuple[int, ...]) -> KnownPass | None:
    """The running pass, if it is known and has this shape."""
    known = _KNOWN.get()
    return known if known is not None and known.shape == shape else None
