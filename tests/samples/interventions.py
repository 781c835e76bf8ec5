"""Samples of `ablate`, `arms`, `suppress`, `release` and `strength`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.events import Value
from sessions.interventions.arms import Arm, Shift
from sessions.model.info import Token
from sessions.model.target import Target
from sessions.model.units import Neuron
from sessions.results import Compared, Strength, StrengthShown, WorkingSet
from tests.samples import filled


def aimed(text: str) -> Target:
    """A target that is `text` rather than another token."""
    return Target(tokens=(Token(7, text),), counterfactual=Token(8, " Dallas"), value=7.3125)


def arms(text: str) -> tuple[Arm, Arm]:
    """A text as it is, and `text`, to which it is changed."""
    first = filled(
        Arm, f"It is Austin. {text}", name="baseline", stopped="eos", target=7.3125, target_probability=0.6123
    )
    changed = structs.replace(first, name="ablated", text=text, target=-1.25, target_probability=0.0002)
    return first, structs.replace(changed, ids=(1,), stopped="length")


def shifts(target: Target) -> tuple[Shift, Shift]:
    """How the chances of both tokens of a target move."""
    return Shift(target.tokens[0], 0.6123, 0.0002), Shift(target.counterfactual or target.tokens[0], 0.0, 0.31)


def samples(text: str) -> Iterator[Value]:
    before, after = arms(text)
    bare = filled(Arm, text, multiplier=1.5, ids=())
    twice = structs.replace(bare, multiplier=2)
    third = structs.replace(after, name=text, kl=(0.5, None, 1.5), fired=3, read=12)
    ablated = filled(
        Compared, text, verb="ablate", target=aimed(text), arms=(before, after), shifts=shifts(aimed(text))
    )
    yield ablated
    yield structs.replace(ablated, verb="amplify", target=None, arms=(bare, twice), shifts=())
    yield structs.replace(ablated, verb="arms", arms=(before, third, twice, bare), shifts=())
    neurons = Neuron(24, 1005, 41), Neuron(29, 1535)
    yield WorkingSet(suppressed=neurons, live=((text, 4), ("shift", 1)), added=2, notes=(text,))
    yield WorkingSet(suppressed=(), live=(), released=2, ended=1)
    live = Strength(what="live", name=text, before=1.0, strength=1.1)
    alpha = structs.replace(live, what="alpha", strength=1.0, made=160.0)
    yield StrengthShown(rows=(live, alpha), notes=(text,))
