"""What interventions return: compared texts, sweeps, what is in force."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.comparisons.sweep_points import Knee, SweepCurve, SweepPoint
from sessions.events import Value
from sessions.interventions.arms import Arm, Shift
from sessions.interventions.presets import Known
from sessions.model.info import Encoded
from sessions.model.target import Target
from sessions.model.units import Neuron


class Intervened(Value, frozen=True, kw_only=True):
    """What interventions beside the untouched model have in common.

    `neurons` counts the distinct neurons changed; `scope` says where in the text.
    """

    table: ClassVar[str] = "arms"
    selection: str
    neurons: int
    scope: str
    encoded: Encoded
    target: Target | None
    arms: tuple[Arm, ...]


class Compared(Intervened, frozen=True, kw_only=True):
    """`ablate`, `amplify`, `shift`, `set-to`, `arms`, `sae inject`: the baseline (`arms[0]`) beside the changed texts.

    Of two arms, and of `sae inject`, `shifts` are those of the next-token distribution from the first to the second.
    """

    verb: str
    shifts: tuple[Shift, ...]


class Swept(Intervened, frozen=True, kw_only=True):
    """`sweep`, of one selection on one prompt: one arm a multiplier, in the order given, and the knee.

    `folder` is where the sweep is kept, and `chart` the file of its chart, where they were asked for. `over` says what
    the multipliers are of: neurons (empty), `weights` of adapters, `depths` of a series of rounds.
    """

    knee: Knee | None = None
    folder: str = ""
    chart: str = ""
    over: str = ""


class SweptGrid(Value, frozen=True, kw_only=True):
    """`sweep`, of several selections, or on several prompts: a curve for each selection, and every cell.

    `target` is that of all prompts, None where they have none or `targets` different ones. `scope`, `folder`, `chart`
    and `over` are as of `Swept`.
    """

    table: ClassVar[str] = "cells"
    scope: str
    prompts: int
    target: Target | None
    targets: int
    curves: tuple[SweepCurve, ...]
    cells: tuple[SweepPoint, ...]
    folder: str = ""
    chart: str = ""
    over: str = ""


class WorkingSet(Value, frozen=True, kw_only=True):
    """`suppress`, `release`: what is in force now, and what the line changed of it.

    `suppressed` is at zero in everything; `live` are the interventions in every text, each with its number of neurons.
    `added` and `released` count neurons that are suppressed from now on, or no more, `ended` those of live
    interventions that ended.
    """

    table: ClassVar[str] = "suppressed"
    suppressed: tuple[Neuron, ...]
    live: tuple[tuple[str, int], ...]
    added: int = 0
    released: int = 0
    ended: int = 0


class PresetShown(Value, frozen=True, kw_only=True):
    """`preset`: the neurons of a preset, or the part of its `size` that was asked for, with the gains they are given.

    `live` says that they have just been made live; `listed` of them are to be shown.
    """

    table: ClassVar[str] = "neurons"
    name: str
    neurons: tuple[Known, ...]
    size: int
    listed: int
    live: bool = False


class Strength(Struct, frozen=True, kw_only=True):
    """How strong something is: `what` of it, live, alpha or beta, and what it is called; how many times as strong as it
    was made, `before` and now; and the α or β that it was made with."""

    what: str
    name: str
    before: float
    strength: float
    made: float | None = None


class StrengthShown(Value, frozen=True, kw_only=True):
    """`strength`: what can be turned, or what has just been."""

    rows: tuple[Strength, ...] = ()
