"""Results of rounds of training."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.events import Value
from sessions.model.units import Unit
from sessions.training.comparing import RoundComparison
from sessions.training.findings import Round
from sessions.training.trajectory import Trajectory


class RoundTrained(Value, frozen=True, kw_only=True):
    """`train-round`: the saved round and its folder.

    `loss` and `plain_loss` are the mean losses of its samples after training, weighted and with all tokens alike.
    """

    round: Round
    path: str
    loss: float | None = None
    plain_loss: float | None = None


class RoundsShown(Value, frozen=True, kw_only=True):
    """`rounds`, `crab`: the trajectory of rounds in order; `chart` is the picture's file where one was asked for."""

    table: ClassVar[str] = "trajectory.passages"
    trajectory: Trajectory
    rounds: tuple[Round, ...]
    chart: str = ""


class RoundsCompared(Value, frozen=True, kw_only=True):
    """`compare round:A round:B`: two rounds, by name, side by side."""

    names: tuple[str, str]
    comparison: RoundComparison


class RecruitRow(Struct, frozen=True):
    """A recruit. Its attribution is what it absorbed, `share` its part of the total. `up` and `down` are the tokens
    that it pushes; `before` is the earlier round that had recruited it."""

    neuron: Unit
    share: float
    up: tuple[str, ...]
    down: tuple[str, ...]
    before: str = ""


class RecruitsShown(Value, frozen=True, kw_only=True):
    """`recruits`: the neurons that absorbed most in a round, by a measure; `total` is the sum over all neurons."""

    name: str
    measure: str
    rows: tuple[RecruitRow, ...]
    total: float
    suppressed: int
