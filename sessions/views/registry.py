"""Where each family of results registers its views."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch

from sessions.events import Value
from sessions.views.blocks import AnyBlock, Fact, Facts, Table


@singledispatch
def viewed(value: Value) -> Iterable[AnyBlock]:
    """The blocks of a result. Each family registers a pure function for each kind of result."""
    raise NotImplementedError(f"{type(value).__name__} has no view")


@singledispatch
def whole(value: Value) -> tuple[Table, ...]:
    """The tables of a result with all rows, where its view lists the strongest alone; otherwise none."""
    return ()


def facts(*texts: str, timed: bool = False, conclusion: bool = False) -> Facts:
    """Facts without names. Empty texts are left out."""
    return Facts(items=tuple(Fact(text) for text in texts if text), timed=timed, conclusion=conclusion)
