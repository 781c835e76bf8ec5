"""Results about vectors, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Unit

#: Numbers of neurons for which the explained share of a direction is computed.
EXPLAINED_BY = (1, 5, 20)


class Origin(Struct, frozen=True, kw_only=True):
    """Where a state was captured: at which position of which text, with the exact `ids` that the model read.

    `text` is what was tokenised, `token` the token at `position`. `neuron` is the one that the place was chosen for, ""
    if it was chosen otherwise. `under` is the key of what was suppressed then (`Session.state_key`).
    """

    text: str
    ids: tuple[int, ...]
    position: int
    token: str
    neuron: str = ""
    under: str = ""


class Aligned(Struct, frozen=True):
    """A neuron, and the cosine of a direction with its down column or, over neurons, with its coordinate."""

    neuron: Unit
    cosine: float


class Direction(Struct, frozen=True, kw_only=True):
    """The decomposition of a vector's direction at one layer.

    `turned` is its cosine with the direction one layer below, None if there is none or the vector is over neurons.
    `neurons` are the best aligned ones. `explained` is, for each number in `EXPLAINED_BY`, the share of its squared
    norm that so many neurons of the layer explain; `chance` is the same for a random direction. `up` and `down` are
    the tokens that it pushes (logit lens).
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
    as many random neurons in the same layers (mean of a few draws). `here` counts the circuit's neurons in this layer,
    `aligned` those of them that are better aligned with the direction than chance.
    """

    layer: int
    neurons: int
    explained: float
    chance: float
    here: int
    aligned: int


class TopOverlap(Struct, frozen=True, kw_only=True):
    """The overlap of the neurons that are best aligned with a vector and the strongest neurons of a circuit.

    `along` counts the former, those with the largest |cosine| among the `among` neurons of the vector's layers;
    `strongest` counts the latter; up to `top` of each are taken. `both` counts the common neurons, `expected` is their
    number if the former were drawn at random, and `p` the probability of at least `both`. `neurons` are the common
    ones, the strongest of the circuit first, each with its attribution if that is known.
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
    """One row of a neuron's input projections: "gate" and "up", or "in".

    `along_output` is its cosine with the neuron's down column. `embeddings` are the tokens whose embeddings are most
    aligned with it, and most opposed; `stream` those that a residual stream in its direction, or against it, predicts.
    """

    name: str
    norm: float
    along_output: float
    embeddings: tuple[tuple[str, ...], tuple[str, ...]]
    stream: tuple[tuple[str, ...], tuple[str, ...]]
