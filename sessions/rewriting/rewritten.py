"""Measurements of a rewritten neuron: how its rows separate states, where it fires, and what the model says."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Unit


class Separation(Struct, frozen=True, kw_only=True):
    """The separation of the states where a neuron should fire from the others, along its gate row.

    `where` and `elsewhere` are mean cosines with the row. `auc` is the chance that a state where the neuron should fire
    lies further along the row than another state (the area under the ROC curve): 1 without overlap, 0.5 without a
    difference. `inputs` are the mean inputs of the gate, with the bias, where the neuron should fire and elsewhere. A
    negative input closes the gate.
    """

    where: float
    elsewhere: float
    auc: float
    inputs: tuple[float, float]

    @property
    def gap(self) -> float:
        """The difference of the two mean cosines."""
        return self.where - self.elsewhere


class Firing(Struct, frozen=True, kw_only=True):
    """The share of positions at which a neuron exceeds `threshold`, and its mean activation, where it should fire and
    elsewhere.

    The threshold is half the mean activation where it should fire, over the learning examples.
    """

    threshold: float
    where: float
    elsewhere: float
    mean_where: float
    mean_elsewhere: float


class Saying(Struct, frozen=True, kw_only=True):
    """How often a token is the likeliest next one, and its mean probability, where it should come and elsewhere."""

    where: float
    elsewhere: float
    chance_where: float
    chance_elsewhere: float


class AtAlpha(Struct, frozen=True, kw_only=True):
    """A rewritten neuron at one α.

    `learnt` is over the learning examples, `held` over the held-out ones. `perplexity` is that of unrelated text, as a
    multiple of its value without the edit. `said` counts the token in the generated replies. `repetition` is the share
    of three-token sequences that repeat earlier ones in these replies, None without replies.
    """

    alpha: float
    learnt: Saying
    held: Saying
    perplexity: float
    said: int = 0
    repetition: float | None = None

    def fits(self, where: float, elsewhere: float, perplexity: float) -> bool:
        """Whether the token comes often enough where it should, seldom enough elsewhere, and perplexity stays low."""
        return self.learnt.where >= where and self.learnt.elsewhere <= elsewhere and self.perplexity <= perplexity


class Braked(Struct, frozen=True, kw_only=True):
    """The brake: a neuron that lowers the token again right after it.

    `again` is how often the token is the likeliest one right after itself, without the brake and with it, on held-out
    examples.
    """

    neuron: Unit
    beta: float
    scale_gate: float
    scale_up: float | None
    separation: Separation
    firing: Firing
    again: tuple[float, float]


class Replied(Struct, frozen=True, kw_only=True):
    """A held-out prompt, and the model's replies without the edit and with it."""

    prompt: str
    before: str
    after: str
    guarded: int = 0
