"""What is found out about a vector, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Neuron

#: By how many neurons a direction is explained, at most that many.
EXPLAINED_BY = (1, 5, 20)


class Origin(Struct, frozen=True, kw_only=True):
    """Where a state was captured: at which position of which text, with the exact `ids` that the model read.

    `text` is what was tokenised, `token` the one at `position`. `neuron` is the one that the place was chosen for,
    "" where it was chosen otherwise; `under` is the key of what was suppressed then (`Session.state_key`).
    """

    text: str
    ids: tuple[int, ...]
    position: int
    token: str
    neuron: str = ""
    under: str = ""


class Aligned(Struct, frozen=True):
    """A neuron, and how a direction lies to it: the cosine with its down column or, over the neurons themselves, with
    its one coordinate."""

    neuron: Neuron
    cosine: float


class Direction(Struct, frozen=True, kw_only=True):
    """A vector's direction at one layer, taken apart.

    `turned` is its cosine with the direction one layer below, None where there is none (or where, at the neurons, it
    would mean nothing). `neurons` are those it lies along best. `explained` says, for each number in `EXPLAINED_BY`,
    which share of its squared norm so many neurons of the layer hold, and `chance` the same of a random direction.
    `up` and `down` are the tokens it pushes (logit lens).
    """

    layer: int
    norm: float
    turned: float | None
    neurons: tuple[Aligned, ...]
    explained: tuple[float, ...]
    chance: tuple[float, ...]
    up: tuple[str, ...]
    down: tuple[str, ...]


class Span(Struct, frozen=True, kw_only=True):
    """How much of a vector's direction at one layer a circuit accounts for.

    `explained` is the share of its squared norm in the span of the down columns of `neurons` neurons, `chance` that of
    as many random neurons in the same layers (mean of a few draws). `here` counts the circuit's neurons in this layer
    alone, `aligned` those of them that lie along the direction better than chance.
    """

    layer: int
    neurons: int
    explained: float
    chance: float
    here: int
    aligned: int


class TopOverlap(Struct, frozen=True, kw_only=True):
    """The neurons that lie most along a vector, beside the strongest of a circuit.

    `along` counts the first, those with the largest |cosine| among the `among` neurons of the vector's layers, and
    `strongest` the second; `top` of each were asked for. `both` are in both; `expected` so many would be by chance, if
    the first were drawn at random, and `p` is the chance of as many as there are, or more. `neurons` names them, the
    strongest of the circuit first, each with its attribution where that is known.
    """

    top: int
    along: int
    among: int
    strongest: int
    both: int
    expected: float
    p: float
    neurons: tuple[Aligned, ...]


class LayerCosine(Struct, frozen=True, kw_only=True):
    """Two vectors at one layer: their cosine, None where one is zero there, and their norms."""

    layer: int
    cosine: float | None
    norms: tuple[float, float]


class Reads(Struct, frozen=True, kw_only=True):
    """One row that a neuron reads with: "gate" and "up", or "in".

    `along_output` is its cosine with the neuron's down column. `embeddings` are tokens whose embedding lies along it
    most, and against it most; `stream` those that a residual stream along it, or against it, would predict.
    """

    name: str
    norm: float
    along_output: float
    embeddings: tuple[tuple[str, ...], tuple[str, ...]]
    stream: tuple[tuple[str, ...], tuple[str, ...]]
