"""Statistics of neurons over a corpus, as data for results: no arrays, and nothing that needs torch or numpy."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Unit


class Peak(Struct, frozen=True, kw_only=True):
    """A neuron's activation at one place of a corpus, with the tokens around it, up to five on each side.

    `document` and `position` count from 0; the document's ids begin with BOS where the model has one.
    """

    value: float
    document: int
    position: int
    token: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Profile(Struct, frozen=True, kw_only=True):
    """A neuron over the corpus of an atlas.

    It was computed at `count` positions; `size` is the mean of |activation|, `rate` the share of positions at which it
    fires: above 0, or, where it is a gated product, above a tenth of its largest |activation|. `quantiles` are pairs of
    share and value; `high` and `low` its highest and lowest activations, the extreme ones first.
    """

    neuron: Unit
    atlas: str
    corpus: str
    documents: int
    count: int
    mean: float
    std: float
    size: float
    rate: float
    quantiles: tuple[tuple[float, float], ...]
    high: tuple[Peak, ...]
    low: tuple[Peak, ...]


class TopRow(Struct, frozen=True, kw_only=True):
    """A neuron by its strongest activation, and the tokens it pushes up there."""

    neuron: Unit
    peak: Peak
    mean: float
    std: float
    rate: float
    up: tuple[str, ...]


class QuietRow(Struct, frozen=True, kw_only=True):
    """A neuron that hardly fires: its largest and mean |activation|.

    In a contrast, `silent` and `silent_mean` are these in the region where it is silent, and `ratio` is `largest` /
    `silent`, None if that is 0. `up` and `down` are the tokens that it pushes where its activation is positive.
    """

    neuron: Unit
    largest: float
    mean: float
    silent: float | None = None
    silent_mean: float | None = None
    ratio: float | None = None
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
