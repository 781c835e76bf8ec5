"""What a round of training is and comes to, as data: its plan, its steps, its outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from msgspec import Struct

from sessions.errors import UsageError
from sessions.model.units import Neuron

KIND, FORMAT = "round", 1
#: What the learning rate falls to, as a share of itself.
FLOOR = 0.01


def series_of(name: str) -> str:
    """The series a round belongs to: its name without the number, `lessons` of `lessons-2`; else the name itself."""
    stem, dash, number = name.rpartition("-")
    return stem if dash and stem and number.isdecimal() else name


class TrainingPlan(Struct, frozen=True, kw_only=True):
    """How a round is trained.

    `modules` are the last parts of the names of the projections that get an adapter. `batch` samples make a step, one
    after the other. `checkpointing` computes activations again on the way back instead of keeping them. Where there are
    `neurons`, their own weights are trained and nothing else: modules, rank and alpha are of no account then. `begins`
    names the edit that they begin at.
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
    neurons: tuple[Neuron, ...] = ()
    begins: str = ""

    def steps(self, samples: int) -> int:
        """How many steps there are, of so many samples."""
        return self.epochs * math.ceil(samples / self.batch)

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, from 0."""
        floor = FLOOR * self.rate
        return floor + (self.rate - floor) * (1 + math.cos(math.pi * step / max(steps, 1))) / 2


class TrainingStep(Struct, frozen=True):
    """One step: the samples it was of, its weighted loss in nats a token, and the learning rate.

    `losses` are those of its samples one by one, `plain_losses` the same with every token of a reply counted alike.
    """

    samples: tuple[int, ...]
    loss: float
    rate: float
    losses: tuple[float, ...] = ()
    plain_losses: tuple[float, ...] = ()


class Epoch(Struct, frozen=True, kw_only=True):
    """The losses that training met in one epoch, by sample: each as it was before the step that the sample is in.

    `losses` are weighted, `plain_losses` count every token of a reply alike; None for a sample that was not met,
    because training stopped early. `loss` and `plain_loss` are means over those that were.
    """

    loss: float
    plain_loss: float
    losses: tuple[float | None, ...]
    plain_losses: tuple[float | None, ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """What training came to: the losses of the samples before and after, in nats a token, and the steps between.

    `initial` and `final` are weighted as the samples say; `plain_initial` and `plain_final` are of the same samples
    with every token of a reply counted alike. `epochs` has the losses that were met in each epoch. `gradient` is how
    much gradient the adapter's weights had, by kind of projection and layer (see `gradients`). The plain losses, epochs
    and gradient are empty in rounds that were kept before these were.

    `stopped` says what ended it early, else it is empty. `lacks` is an operation that does not always give the same
    bits on the device it was trained on, where one is.
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
        """Whether weighted losses and plain ones differ by more than rounding."""
        pairs = zip((*self.initial, *self.final), (*self.plain_initial, *self.plain_final), strict=False)
        return any(abs(weighted - plain) > 1e-5 * (1 + abs(plain)) for weighted, plain in pairs)


def mean(losses: Sequence[float]) -> float | None:
    """The mean of losses; None of none."""
    return fmean(losses) if losses else None


def epochs_of(curve: Sequence[TrainingStep], samples: int) -> tuple[Epoch, ...]:
    """The epochs that these steps are of; none where a step does not say the losses of its samples."""
    if not all(step.losses for step in curve):
        return ()
    met = [each for step in curve for each in zip(step.samples, step.losses, step.plain_losses, strict=True)]
    return tuple(_epoch(met[at : at + samples], samples) for at in range(0, len(met), samples))


def _epoch(met: Sequence[tuple[int, float, float]], samples: int) -> Epoch:
    weighted = {sample: loss for sample, loss, _ in met}
    plain = {sample: loss for sample, _, loss in met}
    return Epoch(
        loss=fmean(weighted.values()),
        plain_loss=fmean(plain.values()),
        losses=tuple(map(weighted.get, range(samples))),
        plain_losses=tuple(map(plain.get, range(samples))),
    )


def shares(gradient: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """The gradient by kind and layer as shares of all of it; empty where nothing flowed."""
    total = sum(map(sum, gradient.values()))
    return {kind: tuple(value / total for value in row) for kind, row in gradient.items()} if total > 0 else {}


def by_layer(gradient: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """The gradient of all kinds together, by layer."""
    return tuple(map(sum, zip(*gradient.values(), strict=True)))


#: What a neuron absorbed: the gradients of all steps summed, the largest, the last, or gradient × activation summed.
Measure = Literal["gradient", "largest", "last", "activation"]


class Round(Struct, frozen=True, kw_only=True):
    """A round of training.

    `samples` names what it was trained on and `data` is the sha256 of their ids and weights. `recruited` are the
    strongest recruits, as the selection `recruits:NAME` means them. `after` names the round whose recruits were added
    to what was suppressed, where one was. `control` is what the same training came to with as many neurons, drawn from
    the same layers by `seed + 1`, suppressed instead; None where none was run. `files` are the sha256 of the files
    beside this one, `versions` those of the programs that decide the outcome.
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
    suppressed: tuple[Neuron, ...]
    outcome: Outcome
    recruited: tuple[Neuron, ...]
    after: str = ""
    control: Outcome | None = None
    config: dict[str, Any]
    files: dict[str, str] = {}


def in_series(known: Sequence[Round], names: Sequence[str]) -> tuple[list[Round], list[str]]:
    """The rounds that names of rounds and of series mean, in their order, and the series that none of them is of.

    Raises:
        UsageError: there is no round and no series of a name.
    """
    stems = list(dict.fromkeys(series_of(each.name) for each in known))
    found: list[Round] = []
    for name in names:
        mine = [each for each in known if series_of(each.name) == name] or [each for each in known if each.name == name]
        if not mine:
            raise UsageError(f"there is no round or series '{name}' of this model", f"there is: {', '.join(stems)}")
        found += [each for each in mine if each not in found]
    return found, [stem for stem in stems if stem not in {series_of(each.name) for each in found}]


def together(*groups: Sequence[Neuron]) -> tuple[Neuron, ...]:
    """The neurons of several groups, each once, without position or attribution."""
    return tuple({each.site: Neuron(*each.site) for group in groups for each in group}.values())
