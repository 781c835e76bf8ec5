"""Results so far: they come beside the events of a computation, and change nothing about it."""

from __future__ import annotations

import pytest

from sessions import events
from sessions.errors import Cancelled
from sessions.events import Partial, Progress, Steps, Text, collected, from_json, to_json, with_partials
from sessions.results import ArmSoFar, EvaluationSoFar


def so_far(count: int) -> EvaluationSoFar:
    return EvaluationSoFar(tasks=9, arms=(ArmSoFar("base", count, 0),))


def counting(kept: list[int]) -> Steps[str]:
    """Count to three; a cancellation is kept and ends it early."""
    try:
        for number in range(1, 4):
            kept.append(number)
            yield Text("a")
            yield Progress("counting", number, 3)
    except Cancelled:
        kept.append(-1)
        raise
    return "done"


def test_a_result_so_far_follows_progress_and_none_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_BETWEEN", 0.0)
    kept: list[int] = []
    told, result = collected(with_partials(counting(kept), lambda: so_far(len(kept)) if len(kept) > 1 else None))
    assert result == "done"
    assert [type(event) for event in told] == [Text, Progress, Text, Progress, Partial, Text, Progress, Partial]
    assert told[-1] == Partial(so_far(3))


def test_results_so_far_come_at_most_twice_a_second() -> None:
    told, _ = collected(with_partials(counting([]), lambda: so_far(1)))
    assert not any(isinstance(event, Partial) for event in told)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_is_thrown_in_arrives_where_the_work_is_done(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(events, "_BETWEEN", 0.0)
    kept: list[int] = []
    running = with_partials(counting(kept), lambda: so_far(1))
    for _ in range(steps):
        next(running)
    with pytest.raises(Cancelled):
        running.throw(Cancelled())
    assert kept[-1] == -1


def test_closing_closes_the_computation() -> None:
    kept: list[int] = []
    steps = counting(kept)
    running = with_partials(steps, lambda: None)
    next(running)
    running.close()
    assert next(steps, "closed") == "closed" and kept == [1]


def test_a_result_so_far_turns_into_json_and_back() -> None:
    event = Partial(so_far(4))
    assert from_json(to_json(event)) == event
