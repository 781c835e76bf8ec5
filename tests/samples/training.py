"""Samples of rounds of training."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import structs

from sessions import results
from sessions.events import Value
from sessions.model.units import Unit
from sessions.training.comparing import compared
from sessions.training.findings import Epoch, Outcome, Round, TrainingPlan
from sessions.training.trajectory import trajectory
from tests.filling import filled

_NEURONS = Unit(24, 1005, attribution=1.954), Unit(3, 7, attribution=1e-7)


def rounds(text: str) -> tuple[Round, Round, Round]:
    """One that weighs its tokens, one from before there were epochs, and one of neurons alone that ended early."""
    epochs = filled(Epoch, text, losses=(4.0, 3.0)), filled(Epoch, text, losses=(None, 1.0))
    outcome = filled(
        Outcome, text, initial=(4.0, 3.0), final=(1.0, 2.5), plain_initial=(5.0, 4.0), plain_final=(2.0, 3.5),
        stopped="", epochs=epochs * 9, gradient={text or "q_proj": (0.5, 1e-9, 2.0)},
    )  # fmt: skip
    first = filled(
        Round, text, name=text or "it-1", plan=TrainingPlan(modules=("down_proj", text)), samples=(text, "second"),
        recruited=_NEURONS, outcome=outcome, control=outcome,
    )  # fmt: skip
    short = Outcome(initial=(4.0, 3.0), final=(1.0, 2.5), curve=())
    older = structs.replace(first, outcome=short, control=short)
    broken = Outcome(initial=(4.0,), final=(math.nan,), curve=(), stopped="the loss was not finite at step 3 of 9")
    plan = TrainingPlan(modules=(), neurons=_NEURONS)
    return first, older, structs.replace(first, plan=plan, outcome=broken, control=None, recruited=(), samples=(text,))


def samples(text: str) -> Iterator[Value]:
    first, older, alone = rounds(text)
    for each in (first, older, alone):
        yield results.RoundTrained(round=each, path=text, notes=(text,))
    for series in ((first,), (first, older), (older, older, alone), (alone,)):
        shares = [(each, None if each is alone else 0.5) for each in series]
        yield results.RoundsShown(trajectory=trajectory(shares), rounds=series[:2], chart=text)
    yield results.RoundsCompared(names=(text, text), comparison=compared(older, first, 7))
    yield results.RoundsCompared(names=(text, text), comparison=compared(first, alone))
    row = filled(results.RecruitRow, text, neuron=_NEURONS[0], share=0.02)
    yield filled(results.RecruitsShown, text, rows=(row, results.RecruitRow(_NEURONS[1], 0.0, (), ())))
