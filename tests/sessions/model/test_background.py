"""Work in the background reports, stops when it is no longer wanted, and keeps nothing of what failed."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from sessions.events import Progress, collected
from sessions.model.background import GRACE, LOOK, Meter, in_background


def test_background_work_reports_progress_and_returns_the_result() -> None:
    def work(meter: Meter) -> str:
        meter.total = 10
        meter.reach(4)
        time.sleep(2 * LOOK)
        meter.reach(3)  # never backwards
        time.sleep(2 * LOOK)
        return "done"

    events, result = collected(in_background(work, "digging", "m"))
    assert result == "done"
    assert events[-1] == Progress("digging", 4, 10, "m")


def test_background_work_stops_when_nobody_waits_for_it() -> None:
    def work(meter: Meter) -> None:
        while True:
            meter.reach(0)
            time.sleep(0.01)

    steps = in_background(work, "endless")
    next(steps)
    before = time.monotonic()
    steps.close()
    assert time.monotonic() - before < GRACE
    assert "endless" not in [thread.name for thread in threading.enumerate()]


def test_an_error_comes_out_where_it_is_waited_for_and_holds_nothing() -> None:
    class Load:
        pass

    loads: list[weakref.ref[Load]] = []

    def work(meter: Meter) -> None:
        half = Load()
        loads.append(weakref.ref(half))
        raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory") as failure:
        collected(in_background(work, "loading"))
    gc.collect()
    assert failure.value.__traceback__ is not None and loads[0]() is None


def test_a_timeout_of_the_work_itself_is_an_error_like_others() -> None:
    def work(meter: Meter) -> None:
        raise TimeoutError("the server is slow")

    with pytest.raises(TimeoutError, match="the server is slow"):
        collected(in_background(work, "asking"))
