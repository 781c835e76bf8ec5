"""What neurons did in a prompt or over many texts, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Neuron


class Moment(Struct, frozen=True):
    """A neuron at one position of the prompt: its activation, its attribution, and, where that was measured, the
    exact effect of switching it off there alone."""

    position: int
    token: str
    activation: float
    attribution: float
    effect: float | None = None


class LayerMeans(Struct, frozen=True, kw_only=True):
    """The means of a layer: how many `neurons`, the mean of the sizes of their means, the one with the largest, and
    that one's mean."""

    layer: int
    neurons: int
    size: float
    strongest: Neuron
    mean: float
