"""Results of interventions: compared texts, sweeps, the working set."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.comparisons.sweep_points import Knee, SweepCurve, SweepPoint
from sessions.events import Value
from sessions.interventions.arms import Arm, Shift
from sessions.interventions.presets import Known
from sessions.model.info import Encoded
from sessions.model.target import Target
from sessions.model.units import Unit


class Intervened(Value, frozen=True, kw_only=True):
    """Fields that all comparisons of an intervention with the unchanged model share.

    `neurons` counts the distinct units that were changed, `unit` says what each is; `scope` says at which positions of
    the text.
    """

    table: ClassVar[str] = "arms"
    selection: str
    neurons: int
    unit: str = "neuron"
    scope: str
    encoded: Encoded
    target: Target | None
    arms: tuple[Arm, ...]


class Compared(Intervened, frozen=True, kw_only=True):
    """`ablate`, `amplify`, `shift`, `set-to`, `arms`, `sae inject`: the baseline (`arms[0]`) beside the changed texts.

    `shifts` is the change of the next-token distribution from the first arm to the second. It is there for two arms and
    for `sae inject`.
    """

    verb: str
    shifts: tuple[Shift, ...]


class Swept(Intervened, frozen=True, kw_only=True):
    """`sweep` of one selection on one prompt: one arm per multiplier, in the order given, and the knee.

    `folder` is where the sweep was saved and `chart` the file of its chart, where they were asked for. `over` says what
    the multipliers apply to: neurons (""), `weights` of adapters, `depths` of a series of rounds.
    """

    knee: Knee | None = None
    folder: str = ""
    chart: str = ""
    over: str = ""


class SweptGrid(Value, frozen=True, kw_only=True):
    """`sweep` of several selections or on several prompts: a curve for each selection, and every cell.

    `target` is the target of all prompts, None where they have none or `targets` different ones. `scope`, `folder`,
    `chart` and `over` are as in `Swept`.
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
    """`suppress`, `release`: what is in force now, and what the line changed.

    `suppressed` are the units held at zero. `live` are the interventions that act on every text, each with its number
    of units. `added` and `released` count the units that the line suppressed or released, `ended` those of live
    interventions that it ended. `unit` says what each of them is.
    """

    table: ClassVar[str] = "suppressed"
    suppressed: tuple[Unit, ...]
    live: tuple[tuple[str, int], ...]
    added: int = 0
    released: int = 0
    ended: int = 0
    unit: str = "neuron"


class PresetShown(Value, frozen=True, kw_only=True):
    """`preset`: the neurons of a preset, or those of its `size` that were asked for, with their gains.

    `live` says that they have just been made live; `listed` of them are to be shown.
    """

    table: ClassVar[str] = "neurons"
    name: str
    neurons: tuple[Known, ...]
    size: int
    listed: int
    live: bool = False


class Strength(Struct, frozen=True, kw_only=True):
    """The strength of one live intervention or edit. `what` is "live", "alpha" or "beta", with its name. `before` and
    `strength` are multiples of the strength that it was made with; `made` is its original α or β."""

    what: str
    name: str
    before: float
    strength: float
    made: float | None = None


class StrengthShown(Value, frozen=True, kw_only=True):
    """`strength`: everything whose strength can be set, or what has just been set."""

    rows: tuple[Strength, ...] = ()
