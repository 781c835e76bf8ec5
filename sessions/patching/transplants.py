"""What came of an injection, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Neuron


class Placed(Struct, frozen=True, kw_only=True):
    """A vector and the place in a text that it was put at.

    `norm` is that of what was put there, `replaced` of the state that stood there, and `cosine` that of the two.
    `came_from` is the token that it was captured at, "" where it was not captured. `reaches` says whether the place can
    change what the model says (see `reaching`); where it cannot, it can do so at layers below `reaches_below`.
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
    """A neuron at the place of an injection, which is number `place`: its activation in the source, and in the target
    as it is, with the vector, and with a random one of the same norm. `source` is None of a vector that was not
    captured."""

    neuron: Neuron
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
        """The same of the random vector's."""
        return share(self.random, self.source)


class LayerMap(Struct, frozen=True, kw_only=True):
    """`cells[s][t]`: the state of layer `layers[s]` of the source, put at `layers[t]` of the target.

    `source` is the measure in the source (None for KL, whose source is itself), `without` that of the target as it is,
    `random[t]` that with a random vector at a layer. From layer `reaches_below` on the place can change nothing that is
    said after it.
    """

    layers: tuple[int, ...]
    cells: tuple[tuple[float, ...], ...]
    source: float | None
    without: float
    random: tuple[float, ...]
    reaches_below: int


def share(value: float, source: float | None) -> float | None:
    """What part of the source's activation this is; None where the source has none."""
    return value / source if source else None
