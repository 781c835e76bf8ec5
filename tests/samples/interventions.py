"""Samples of changed texts, of sweeps, and of what is in force."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions import results
from sessions.comparisons.sweep_points import Knee, SweepPoint, Top, curve_of
from sessions.events import Value
from sessions.interventions.arms import Arm, Shift
from sessions.interventions.presets import Known
from sessions.model.info import Token
from tests.filling import bare, filled
from tests.samples.circuits import target


def before_and_after(text: str) -> tuple[Arm, Arm]:
    before = Arm(
        name="baseline", multiplier=1, text=f"It is Austin. {text}", ids=(1, 2), stopped="eos", next_tokens=(),
        target=7.3125, target_probability=0.6123,
    )  # fmt: skip
    changed = structs.replace(before, name="ablated", text=text, target=-1.25, target_probability=0.0002)
    return before, structs.replace(changed, stopped="length", multiplier=0)


def shifts(text: str) -> tuple[Shift, ...]:
    """How the chances of the tokens of a target move."""
    return Shift(Token(7, text), 0.6123, 0.0002), Shift(Token(8, " Dallas"), 0.0, 0.31)


def samples(text: str) -> Iterator[Value]:
    before, after = before_and_after(text)
    little, measured = bare(Arm, text), filled(Arm, text, kl=(0.5, None, 1.5), fired=3, read=12)
    ablated = filled(results.Compared, text, target=target(text), arms=(before, after), shifts=shifts(text))
    yield ablated
    yield structs.replace(ablated, target=None, arms=(little, structs.replace(little)), shifts=())
    yield structs.replace(ablated, arms=(before, measured, little, after), shifts=())
    strength = results.Strength(what="live", name=text, before=1.0, strength=1.1)
    yield results.StrengthShown(rows=(strength, structs.replace(strength, what="alpha", made=160.0)))
    known = filled(Known, text)
    held = Known(id="L0/N1", layer=0, index=1, gain=-1e6, mode="hold", positions=((0, 3), (12, 12)))
    times = structs.replace(held, id="L0/N2@-1", gain=0.0, mode="multiply", position=-1)
    yield filled(results.PresetShown, text, neurons=(known, held, times), size=30, listed=2)
    swept = filled(results.Swept, text, target=target(text), arms=(after, before), knee=Knee(prompt=0, token=text))
    yield structs.replace(swept, over="")
    yield structs.replace(swept, target=None, arms=(little, before), over="weights")
    for prompts, over in ((1, ""), (2, "depths"), (3, "")):
        yield structs.replace(grid_of(text, prompts), over=over, target=target(text) if prompts == 1 else None)


def grid_of(text: str, prompts: int) -> results.SweptGrid:
    """Two selections at two multipliers beside 1: the first flips the token at the lower, the second never."""
    first = text or "top9"
    top = Top(0, text, 0.5, 1.0)
    cells = tuple(
        filled(
            SweepPoint, text, prompt=prompt, selection=selection, multiplier=multiplier,
            top=structs.replace(top, id=int(multiplier == 0 and selection == first)),
        )
        for prompt in range(prompts)
        for selection, multiplier in (("", 1.0), (first, 0.0), (first, 2.0), ("top5", 0.0), ("top5", 2.0))
    )  # fmt: skip
    curves = curve_of(first, 12, cells), curve_of("top5", 5, cells)
    return filled(results.SweptGrid, text, prompts=prompts, targets=prompts, curves=curves, cells=cells)
