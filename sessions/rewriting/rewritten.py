"""What is known of a rewritten neuron: how its rows separate, where it fires, and what the model says with it."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Neuron


class Separation(Struct, frozen=True, kw_only=True):
    """How far the states where a neuron should fire lie from the others, along the row that gates it.

    The cosines are means. `auc` is the chance that a state of the first kind lies further along the row than one of
    the second (the area under the ROC curve): 1 where they do not overlap, 0.5 where they do not differ. `inputs` are
    the means of what the row reads, row and bias included, where it should fire and elsewhere: what is negative shuts
    the gate.
    """

    where: float
    elsewhere: float
    auc: float
    inputs: tuple[float, float]

    @property
    def gap(self) -> float:
        """How much more of the row there is in a state where it should fire."""
        return self.where - self.elsewhere


class Firing(Struct, frozen=True, kw_only=True):
    """Share of positions at which a neuron is above `threshold`, and its mean there; where it should be and elsewhere.

    The threshold is half the mean where it should fire, over the examples it was made of.
    """

    threshold: float
    where: float
    elsewhere: float
    mean_where: float
    mean_elsewhere: float


class Saying(Struct, frozen=True, kw_only=True):
    """How often a token is the likeliest next one, and its mean chance, where it should be said and elsewhere."""

    where: float
    elsewhere: float
    chance_where: float
    chance_elsewhere: float


class AtAlpha(Struct, frozen=True, kw_only=True):
    """A rewritten neuron at one α.

    `learnt` is over the examples that it was made of, `held` over those that were held out. `perplexity` is that of
    unrelated text, as a multiple of what it is without the edit. `said` counts the token in the replies that were
    written, and `repetition` is the share of their three-token sequences that they had had before, None where none
    were written.
    """

    alpha: float
    learnt: Saying
    held: Saying
    perplexity: float
    said: int = 0
    repetition: float | None = None

    def fits(self, where: float, elsewhere: float, perplexity: float) -> bool:
        """Whether it says the token often enough, seldom enough elsewhere, and leaves unrelated text alone."""
        return self.learnt.where >= where and self.learnt.elsewhere <= elsewhere and self.perplexity <= perplexity


class Braked(Struct, frozen=True, kw_only=True):
    """The neuron that pushes the token down again once it was said. `again` is how often the token would be said a
    second time right after itself, without the brake and with it, on held-out examples."""

    neuron: Neuron
    beta: float
    scale_gate: float
    scale_up: float | None
    separation: Separation
    firing: Firing
    again: tuple[float, float]


class Replied(Struct, frozen=True, kw_only=True):
    """A held-out prompt, and what the model says without the edit and with it."""

    prompt: str
    before: str
    after: str
    guarded: int = 0
