"""Values of neurons in a prompt or over many texts, as plain data without torch."""

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
