"""A round of training as it is kept, without the training: for tests of what comes after it."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from sessions.artifacts import now
from sessions.model.opening import OpenModel
from sessions.model.units import Unit
from sessions.store import Store
from sessions.training.findings import Outcome, Round, TrainingPlan, TrainingStep
from sessions.training.recruits import Recruits
from sessions.training.round import Rounds

#: Two samples, and options that make a round of them short.
LINES = (
    {"prompt": "abc", "reply": "fed", "parts": {"conclusions": ["ed"]}},
    {"prompt": "hij klm", "reply": "nop", "name": "second"},
)
FAST = "--epochs 2 --lr 0.01 --rank 2"


def write_samples() -> None:
    """Write the samples to `samples.jsonl`."""
    Path("samples.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LINES))


def kept(store: Store, opened: OpenModel, name: str = "round-1", *, seed: int = 0, after: str = "") -> Round:
    """Save a round in which every neuron absorbed a random share."""
    drawn = torch.Generator().manual_seed(seed)
    scores = {layer: torch.rand(width, generator=drawn) for layer, width in enumerate(opened.anatomy.widths)}
    recruits = Recruits({"gradient": scores, "activation": {layer: 2 * row for layer, row in scores.items()}})
    outcome = Outcome(initial=(4.0, 3.0), final=(1.0, 2.0), curve=(TrainingStep((0,), 4.0, 1e-4),))
    found = Round(
        name=name,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
        command="train-round samples.jsonl",
        created=now(),
        seconds=1.0,
        versions={},
        plan=TrainingPlan(modules=("down_proj",)),
        data="",
        samples=("one", "two"),
        suppressed=(Unit(0, 1),) if after else (),
        outcome=outcome,
        recruited=recruits.strongest(5),
        after=after,
        control=outcome if after else None,
        config={},
    )
    Rounds(store).save(found, recruits, None)
    return found
