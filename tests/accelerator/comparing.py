"""Lines run in one session after the other, and what their results differ in."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import chdir, closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from commands import run
from sessions.events import Event, Failed, Result
from sessions.session import Session
from tests.accelerator.placements import Placement, machine, opened

#: What of a result says when, where and how long, and not what.
ASIDE = {"seconds", "created", "device", "path", "folder", "home", "bytes", "age", "fingerprint", "files"}
#: By how much numbers may differ: batches of another size are summed in another order.
RELATIVE, ABSOLUTE = 1e-3, 1e-4


@dataclass(frozen=True)
class Said:
    """What a line said: its result as plain data, or how it failed; and how long it took."""

    line: str
    value: Any
    error: str
    seconds: float

    @property
    def failed(self) -> bool:
        return bool(self.error)


@dataclass(frozen=True)
class Asked:
    """What lines said of a model, how often the host waited for a device, and the most that one device held."""

    said: tuple[Said, ...]
    waits: int = 0
    peak: int = 0


def results(folder: Path, placement: Placement, lines: Sequence[str], work: Path) -> Asked:
    """What the lines say of the model in a folder, placed so, in a session of its own."""
    work.mkdir(parents=True)
    with chdir(work), machine(placement) as meter:
        session = Session(work / "home")
        session.use_model(opened(folder, placement, work / "offloaded"))
        with closing(session):
            said = tuple(_said(session, line) for line in lines)
        if meter is None:
            return Asked(said)
        return Asked(said, sum(meter.waits.values()), max(meter.peak.values()))


def _said(session: Session, line: str) -> Said:
    start = perf_counter()
    events: list[Event] = list(run(session, line))
    seconds = perf_counter() - start
    failed = next((event for event in events if isinstance(event, Failed)), None)
    if failed is not None:
        return Said(line, None, f"{failed.error}: {failed.message}", seconds)
    value = next((event.value for event in reversed(events) if isinstance(event, Result)), None)
    return Said(line, msgspec.to_builtins(value), "", seconds)


def difference(one: Any, other: Any, at: str = "") -> str:
    """Where two results first differ by more than rounding, in words; "" where they do not."""
    return next(_differences(one, other, at), "")


def _differences(one: Any, other: Any, at: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other} - ASIDE):
            yield from _differences(one.get(key), other.get(key), f"{at}.{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{at}[{number}]")
    elif not _alike(one, other):
        yield f"{at}: {one!r} and {other!r}"


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (one != one and other != other)
    if isinstance(one, str) and isinstance(other, str) and os.sep in one + other:
        return True  # paths, which lie in folders of their own
    return bool(one == other)
