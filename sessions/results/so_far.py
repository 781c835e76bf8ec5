"""Results so far of long commands: shown while they run, and never kept."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.events import Value
from sessions.model.units import Unit


class ArmSoFar(Struct, frozen=True):
    """An arm of an evaluation: how many tasks it has answered, and how many of them rightly."""

    name: str
    answered: int
    right: int


class EvaluationSoFar(Value, frozen=True, kw_only=True):
    """`evaluate` while it runs: its arms that have begun, of `tasks` tasks each."""

    table: ClassVar[str] = "arms"

    tasks: int
    arms: tuple[ArmSoFar, ...]


class LayerSoFar(Struct, frozen=True):
    """A layer of an atlas that is being built: its largest activation so far, and the neuron that has it."""

    neuron: Unit
    peak: float


class AtlasSoFar(Value, frozen=True, kw_only=True):
    """`atlas build` while it runs: how much of the corpus has been read, and what was found at most."""

    table: ClassVar[str] = "layers"

    name: str
    documents: int
    of: int
    tokens: int
    layers: tuple[LayerSoFar, ...]


class SweptSoFar(Struct, frozen=True):
    """A multiplier of a selection: at how many prompts it is done, and the mean of the measured probability there."""

    selection: str
    multiplier: float
    prompts: int
    height: float


class SweepSoFar(Value, frozen=True, kw_only=True):
    """`sweep` while it runs: the points of each selection that are done, as means over the prompts answered so far.

    `measured` says what their heights are.
    """

    table: ClassVar[str] = "points"

    measured: str
    done: int
    of: int
    points: tuple[SweptSoFar, ...]
