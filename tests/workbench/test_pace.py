"""The time that is left is guessed from the pace of the step that runs, and only once there is one."""

from __future__ import annotations

import pytest

from sessions.events import Progress
from workbench import pace
from workbench.pace import Pace, clock


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(pace.time, "monotonic", lambda: seconds)


def test_time_left_follows_the_pace_since_the_first_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, begun = Pace(), Progress("sweeping", 100, 200, "cells")  # a hundred were there already
    at(monkeypatch, 50.0)
    heard.hear(begun)
    assert heard.left(begun) is None
    for seconds, done, left in ((51, 110, None), (60, 110, 90), (60, 150, 10), (70, 200, 0)):
        at(monkeypatch, float(seconds))
        now = Progress("sweeping", done, 200, "cells")
        heard.hear(now)
        assert heard.left(now) == left


def test_another_step_and_one_that_begins_again_have_a_pace_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Pace()
    at(monkeypatch, 0.0)
    heard.hear(Progress("a", 0, 10))
    at(monkeypatch, 10.0)
    for now in (Progress("b", 5, 10), Progress("b", 2, 10), Progress("b", 3), Progress("a", 4, 10)):
        heard.hear(now)
        assert heard.left(now) is None
    heard.hear(None)
    assert heard.left(None) is None


def test_time_is_minutes_and_seconds() -> None:
    assert [clock(each) for each in (0.4, 130, 3730)] == ["00:00", "02:10", "1:02:10"]
