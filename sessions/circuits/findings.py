"""What is found of units in a prompt or over many texts, as plain data without torch."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Unit


class Moment(Struct, frozen=True):
    """A neuron at one position of the prompt: its activation, its attribution and, where measured, the exact effect of
    ablating it there alone."""

    position: int
    token: str
    activation: float
    attribution: float
    effect: float | None = None


class LayerMeans(Struct, frozen=True, kw_only=True):
    """The means of a layer: how many `neurons` it has, their mean |mean|, the neuron with the largest, and its mean."""

    layer: int
    neurons: int
    size: float
    strongest: Unit
    mean: float


class PatternEffect(Struct, frozen=True, kw_only=True):
    """The exact effect of ablating a whole circuit: as it is, and with all attention patterns as they were before."""

    free: float
    frozen: float

    @property
    def through_patterns(self) -> float:
        return self.free - self.frozen


class CurveAreas(Struct, frozen=True, kw_only=True):
    """Two areas of a curve of faithfulness f(k) over the share k of all `units` that is kept, from 0.1 % to 100 %.

    They are those of MIB (Mueller et al. 2025): CPR is the area under f, CMD the area between f and 1. The larger CPR,
    the more of the behaviour small circuits have; the smaller CMD, the closer they come to what the model does, not
    more and not less.

    The areas are sums of trapezoids on a linear axis of k. Here a unit that is not kept is held at its mean (or as the
    line says); MIB patches it with its activation in a counterfactual prompt.
    """

    cpr: float
    cmd: float
    units: int
