"""What a round of training is and comes to, as data: its plan, its steps, its outcome."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from sessions.circuits.circuit import Neuron

KIND, FORMAT = "round", 1
#: What the learning rate falls to, as a share of itself.
FLOOR = 0.01


class Plan(Struct, frozen=True, kw_only=True):
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


class Step(Struct, frozen=True):
    """One step: the samples it was of, its weighted loss in nats a token, and the learning rate."""

    samples: tuple[int, ...]
    loss: float
    rate: float


class Outcome(Struct, frozen=True, kw_only=True):
    """What training came to: the losses of the samples before and after, in nats a token, and the steps between.

    `stopped` says what ended it early, else it is empty. `lacks` is an operation that does not always give the same
    bits on the device it was trained on, where one is.
    """

    initial: tuple[float, ...]
    final: tuple[float, ...]
    curve: tuple[Step, ...]
    stopped: str = ""
    lacks: str = ""


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
    plan: Plan
    data: str
    samples: tuple[str, ...]
    suppressed: tuple[Neuron, ...]
    outcome: Outcome
    recruited: tuple[Neuron, ...]
    after: str = ""
    control: Outcome | None = None
    config: dict[str, Any]
    files: dict[str, str] = {}
