"""A round of training as data: its plan, its steps and its outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from msgspec import Struct

from sessions.errors import UsageError
from sessions.model.units import Kind, Unit

KIND, FORMAT = "round", 1
#: The last learning rate, as a share of the first.
FLOOR = 0.01


def series_of(name: str) -> str:
    """The series of a round: its name without the number (`lessons` for `lessons-2`), or the whole name."""
    stem, dash, number = name.rpartition("-")
    return stem if dash and stem and number.isdecimal() else name


class TrainingPlan(Struct, frozen=True, kw_only=True):
    """The settings of a round.

    `modules` are the last parts of the names of the projections that get an adapter. A step runs `batch` samples, one
    after the other. `checkpointing` recomputes activations in the backward pass instead of keeping them. With
    `neurons`, training changes the weights of these neurons only, and ignores modules, rank and alpha. `begins`
    names the edit that their training starts from. `unit` is the kind of unit whose gradient is counted.
    """

    modules: tuple[str, ...]
    rank: int = 8
    alpha: int = 16
    rate: float = 1e-4
    epochs: int = 4
    batch: int = 1
    decay: float = 0.01
    seed: int = 0
    checkpointing: bool = False
    neurons: tuple[Unit, ...] = ()
    begins: str = ""
    unit: Kind = "neuron"

    def steps(self, samples: int) -> int:
        """The number of steps over all epochs, for this number of samples."""
        return self.epochs * math.ceil(samples / self.batch)

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0: half a cosine down to `FLOOR`."""
        floor = FLOOR * self.rate
        return floor + (self.rate - floor) * (1 + math.cos(math.pi * step / max(steps, 1))) / 2


class TrainingStep(Struct, frozen=True):
    """One step: the numbers of its samples, its weighted loss in nats a token, and its learning rate.

    `losses` are the weighted losses of its samples; `plain_losses` weigh every token of a reply alike.
    """

    samples: tuple[int, ...]
    loss: float
    rate: float
    losses: tuple[float, ...] = ()
    plain_losses: tuple[float, ...] = ()


class Epoch(Struct, frozen=True, kw_only=True):
    """The losses of one epoch, by sample: each measured just before the step of that sample.

    `losses` are weighted; `plain_losses` weigh every token of a reply alike. A sample is None if training stopped
    before it. `loss` and `plain_loss` are the means of the others.
    """

    loss: float
    plain_loss: float
    losses: tuple[float | None, ...]
    plain_losses: tuple[float | None, ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """The outcome of training: the losses of the samples before and after, in nats a token, and the steps between.

    `initial` and `final` use the weights of the samples; `plain_initial` and `plain_final` weigh every token of a reply
    alike. `epochs` has the losses of each epoch. `gradient` is the gradient in the adapter's weights, by kind of
    projection and layer (see `gradients`). Plain losses, epochs and gradient are empty in rounds of earlier versions.

    `stopped` says what ended training early, or is empty. `lacks` names an operation that is not deterministic on the
    training device, or is empty.
    """

    initial: tuple[float, ...]
    final: tuple[float, ...]
    curve: tuple[TrainingStep, ...]
    stopped: str = ""
    lacks: str = ""
    plain_initial: tuple[float, ...] = ()
    plain_final: tuple[float, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    gradient: dict[str, tuple[float, ...]] = {}

    @property
    def weighs(self) -> bool:
        """Whether weighted and plain losses differ by more than rounding."""
        pairs = zip((*self.initial, *self.final), (*self.plain_initial, *self.plain_final), strict=False)
        return any(abs(weighted - plain) > 1e-5 * (1 + abs(plain)) for weighted, plain in pairs)


def mean(losses: Sequence[float]) -> float | None:
    """The mean of losses; None if there are none."""
    return fmean(losses) if losses else None


def epochs_of(curve: Sequence[TrainingStep], samples: int) -> tuple[Epoch, ...]:
    """The epochs of these steps; empty if a step lacks the losses of its samples."""
    if not all(step.losses for step in curve):
        return ()
    rows = [row for step in curve for row in zip(step.samples, step.losses, step.plain_losses, strict=True)]
    return tuple(_epoch(rows[at : at + samples], samples) for at in range(0, len(rows), samples))


def _epoch(rows: Sequence[tuple[int, float, float]], samples: int) -> Epoch:
    weighted = {sample: loss for sample, loss, _ in rows}
    plain = {sample: loss for sample, _, loss in rows}
    return Epoch(
        loss=fmean(weighted.values()),
        plain_loss=fmean(plain.values()),
        losses=tuple(map(weighted.get, range(samples))),
        plain_losses=tuple(map(plain.get, range(samples))),
    )


def shares(gradient: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """The gradient by kind and layer, as shares of its sum; empty if the sum is 0."""
    total = sum(map(sum, gradient.values()))
    return {kind: tuple(value / total for value in row) for kind, row in gradient.items()} if total > 0 else {}


def by_layer(gradient: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """The gradient of each layer, summed over kinds of projections."""
    return tuple(map(sum, zip(*gradient.values(), strict=True)))


#: The measure of absorbed gradient: its sum over all steps, its largest, its last, or the sum of gradient × activation.
Measure = Literal["gradient", "largest", "last", "activation"]


class Round(Struct, frozen=True, kw_only=True):
    """A round of training.

    `samples` are the names of its samples, and `data` is the sha256 of their ids and weights. `recruited` are the
    strongest recruits, which the selection `recruits:NAME` selects. `after` names the round whose recruits were
    suppressed in addition, if any. `control` is the outcome of the same training with as many other neurons suppressed,
    drawn from the same layers by `seed + 1`; None without a control. `files` maps the files in the round's folder to
    their sha256. `versions` are those of the programs that decide the outcome.
    """

    kind: str = KIND
    format: int = FORMAT
    name: str
    model: str
    fingerprint: str
    command: str
    created: str
    seconds: float
    versions: dict[str, str]
    plan: TrainingPlan
    data: str
    samples: tuple[str, ...]
    suppressed: tuple[Unit, ...]
    outcome: Outcome
    recruited: tuple[Unit, ...]
    after: str = ""
    control: Outcome | None = None
    config: dict[str, Any]
    files: dict[str, str] = {}


def in_series(known: Sequence[Round], names: Sequence[str]) -> tuple[list[Round], list[str]]:
    """The rounds with these names, of rounds or of series, in order; and the names of the other series.

    Raises:
        UsageError: no round and no series has one of the names.
    """
    stems = list(dict.fromkeys(series_of(one.name) for one in known))
    chosen: list[Round] = []
    for name in names:
        matching = [one for one in known if series_of(one.name) == name] or [one for one in known if one.name == name]
        if not matching:
            raise UsageError(f"there is no round or series '{name}' of this model", f"there is: {', '.join(stems)}")
        chosen += [one for one in matching if one not in chosen]
    return chosen, [stem for stem in stems if stem not in {series_of(one.name) for one in chosen}]


def together(*groups: Sequence[Unit]) -> tuple[Unit, ...]:
    """The units of several groups, each once, without position or attribution."""
    return tuple({unit.anywhere: unit.bare for group in groups for unit in group}.values())
