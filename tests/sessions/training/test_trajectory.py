"""The verdict on a series of rounds follows from its stated rules, and is not given without a control."""

from __future__ import annotations

import pytest

from sessions.model.units import Unit
from sessions.training.chart import drawn
from sessions.training.findings import Outcome, Round, TrainingPlan
from sessions.training.trajectory import trajectory

BEGAN = 4.0


def round_(number: int, final: float, control: float | None = 1.0, *, initial: float = BEGAN) -> Round:
    """A round of a series, the first of which forbids nothing."""
    held = tuple(Unit(1, index) for index in range(30 * (number - 1)))
    return Round(
        name=f"it-{number}",
        model="m",
        fingerprint="f",
        command="crab",
        created="",
        seconds=1.0,
        versions={},
        plan=TrainingPlan(modules=("down_proj",)),
        data="",
        samples=("a", "b"),
        suppressed=held,
        outcome=Outcome(initial=(initial, initial), final=(final - 0.5, final + 0.5), curve=()),
        recruited=tuple(Unit(2, 100 * number + index, attribution=1.0) for index in range(3)),
        after=f"it-{number - 1}" if number > 1 else "",
        control=None if control is None or number == 1 else Outcome(initial=(BEGAN,), final=(control,), curve=()),
        config={},
    )


def verdict(finals: list[float], share: float = 0.1) -> str:
    return trajectory([(round_(number, final), share) for number, final in enumerate(finals, 1)]).verdict


@pytest.mark.parametrize(
    ("finals", "share", "expected"),
    [
        ([1.0, 1.2, 1.4], 0.1, "distributed"),
        ([1.0, 1.2, 1.4], 0.3, "several solutions"),
        ([1.0, 3.5, 3.9], 0.3, "single-point"),
        ([1.0, 3.5, 1.5], 0.3, "several solutions"),
        ([1.0, 1.2, 3.9], 0.3, "exhausted"),
    ],
)
def test_the_verdict_follows_from_what_the_rounds_kept(finals: list[float], share: float, expected: str) -> None:
    assert verdict(finals, share) == expected


def test_what_a_round_kept_is_measured_from_where_the_series_began() -> None:
    """Forbidding neurons raises the loss that training starts from; bringing that back is not learning."""
    found = trajectory([(round_(1, 1.0), None), (round_(2, 2.5, initial=9.0), None)])
    assert found.passages[1].kept == pytest.approx((4.0 - 2.5) / (4.0 - 1.0))
    assert "0.50" in found.because


@pytest.mark.parametrize(("control", "why"), [(None, "has no control"), (4.5, "learned nothing")])
def test_there_is_no_verdict_without_a_control_that_learned(control: float | None, why: str) -> None:
    found = trajectory([(round_(1, 1.0), 0.5), (round_(2, 1.0, control), 0.5)])
    assert found.verdict == ""
    assert why in found.because


def test_a_single_round_has_no_verdict() -> None:
    found = trajectory([(round_(1, 1.0), 0.5)])
    assert found.verdict == ""
    assert "--add-recruits" in found.because


def test_recruits_that_come_again_are_counted() -> None:
    again = [(round_(1, 1.0), 0.1), (round_(1, 1.0), 0.1), (round_(3, 1.0), 0.1)]
    assert [each.again for each in trajectory(again).passages] == [0, 3, 0]


def test_the_chart_is_the_same_bytes_for_the_same_rounds() -> None:
    found = trajectory([(round_(1, 1.0), 0.1), (round_(2, 1.5), 0.1)])
    assert drawn(found, ".svg") == drawn(found, ".svg")
    assert drawn(found, ".png").startswith(b"\x89PNG")
