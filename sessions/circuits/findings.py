"""What a neuron did in a prompt, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct


class Moment(Struct, frozen=True):
    """A neuron at one position of the prompt: its activation, its attribution, and, where that was measured, the
    exact effect of switching it off there alone."""

    position: int
    token: str
    activation: float
    attribution: float
    effect: float | None = None
