"""Samples of changed texts, of what is in force, and of presets."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.events import Value
from sessions.interventions.arms import Arm, Shift
from sessions.interventions.presets import Known
from sessions.model.info import Token
from sessions.model.units import Neuron
from sessions.results import Compared, PresetShown, Strength, StrengthShown, WorkingSet
from tests.filling import filled
from tests.samples.circuits import NEURONS, target


def before_and_after(text: str) -> tuple[Arm, Arm]:
    before = Arm(
        name="baseline", multiplier=1, text=f"It is Austin. {text}", ids=(1, 2), stopped="eos", next_tokens=(),
        target=7.3125, target_probability=0.6123,
    )  # fmt: skip
    changed = {"target": -1.25, "target_probability": 0.0002, "stopped": "length", "multiplier": 0}
    return before, structs.replace(before, name="ablated", text=text, **changed)


def bare_arm(text: str) -> Arm:
    """A text of which nothing else is known."""
    return Arm(name=text, multiplier=1.5, text=text, ids=(), stopped="stop", next_tokens=())


def samples(text: str) -> Iterator[Value]:
    before, after = before_and_after(text)
    bare = bare_arm(text)
    twice = structs.replace(bare, multiplier=2)
    shifts = Shift(Token(7, text), 0.6123, 0.0002), Shift(Token(8, " Dallas"), 0.0, 0.31)
    ablated = filled(Compared, text, verb="ablate", target=target(text), arms=(before, after), shifts=shifts)
    yield ablated
    yield structs.replace(ablated, target=None, arms=(bare, twice), shifts=())
    measured = filled(Arm, text, kl=(0.5, None, 1.5), fired=3, read=12)
    yield structs.replace(ablated, arms=(before, measured, twice, bare), shifts=())
    yield filled(WorkingSet, text, suppressed=NEURONS)
    yield WorkingSet(suppressed=(), live=(), released=2, ended=1)
    yield StrengthShown(
        rows=(
            Strength(what="live", name=text, before=1.0, strength=1.1),
            Strength(what="alpha", name=text, before=1.0, strength=1.0, made=160.0),
        )
    )
    known = (
        filled(Known, text),
        Known(id="L0/N1", layer=0, index=1, gain=-1e6, mode="hold", positions=((0, 3), (12, 12))),
        Known(id=str(Neuron(0, 2, -1)), layer=0, index=2, gain=0.0, mode="multiply", position=-1),
    )
    yield filled(PresetShown, text, neurons=known, size=30, listed=2)
