"""The outcome of an injection, as plain data without torch."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Unit


class Placed(Struct, frozen=True, kw_only=True):
    """A vector and the place in a text where it was injected.

    `norm` is the norm of what was injected, `replaced` that of the state there before, `cosine` the cosine of the two.
    `came_from` is the token that it was captured at, "" where it was not captured. `reaches` says whether the place can
    influence later tokens (see `reaching`); where it cannot, it can at layers below `reaches_below`.
    """

    name: str
    position: int
    token: str
    layer: int
    site: str
    norm: float
    replaced: float
    cosine: float | None
    came_from: str = ""
    reaches: bool = True
    reaches_below: int = 0


class Observed(Struct, frozen=True, kw_only=True):
    """A neuron at the injection number `place`: its activation in the source (None for a vector that was not captured),
    in the unchanged target, with the vector, and with a random one of the same norm."""

    neuron: Unit
    place: int
    source: float | None
    without: float
    injected: float
    random: float

    @property
    def given_back(self) -> float | None:
        """The injected activation as a share of the source's."""
        return share(self.injected, self.source)

    @property
    def by_chance(self) -> float | None:
        """The activation with the random vector as a share of the source's."""
        return share(self.random, self.source)


class LayerMap(Struct, frozen=True, kw_only=True):
    """`cells[s][t]`: the measure with the state of layer `layers[s]` of the source at `layers[t]` of the target.

    `source` is the measure in the source (None for KL, which is measured from it), `without` that in the unchanged
    target, `random[t]` that with a random vector at a layer. From layer `reaches_below` on, the place cannot influence
    later tokens.
    """

    layers: tuple[int, ...]
    cells: tuple[tuple[float, ...], ...]
    source: float | None
    without: float
    random: tuple[float, ...]
    reaches_below: int


def share(value: float, source: float | None) -> float | None:
    """A value as a share of the source's activation; None where that is unknown or 0."""
    return value / source if source else None
