"""What the verbs of hidden states return: atlases, quiet neurons, captured and injected states."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.atlas.findings import Profile, QuietRow, TopRow
from sessions.circuits.findings import LayerMeans
from sessions.directions.features import AutoencoderAbout, Encoding
from sessions.events import Value
from sessions.interventions.arms import Arm, Shift
from sessions.model.info import Encoded
from sessions.model.target import Target
from sessions.model.units import Neuron
from sessions.patching.transplants import LayerMap, Observed, Placed


class AtlasBuilt(Value, frozen=True, kw_only=True):
    """`atlas build`: what the new atlas is of. `tokens` counts positions, `empty` the documents that say nothing.

    `path` is its file, `bytes` what building it took beside the model at most.
    """

    name: str
    corpus: str
    documents: int
    empty: int
    tokens: int
    layers: tuple[int, ...]
    neurons: int
    k: int
    length: int
    bytes: int
    path: str


class AtlasShown(Value, frozen=True, kw_only=True):
    """`atlas show`: one neuron over a corpus. `listed` of its maxima of each sign are to be shown."""

    profile: Profile
    listed: int


class AtlasTop(Value, frozen=True, kw_only=True):
    """`atlas top`: the neurons of a layer with the strongest activations, of `total`, by "magnitude" or "positive"."""

    atlas: str
    corpus: str
    layer: int
    rows: tuple[TopRow, ...]
    total: int
    by: str = "magnitude"


class MeansBuilt(Value, frozen=True, kw_only=True):
    """`means build`: means over so many `texts` and `tokens`, the first of each text left out. `places` counts the
    positions from the end that have means of their own, 0 where none were asked for; `path` is the file."""

    name: str
    over: str
    texts: int
    tokens: int
    neurons: int
    places: int
    path: str


class NeuronMean(Struct, frozen=True, kw_only=True):
    """The mean of a neuron over all positions."""

    neuron: Neuron
    mean: float


class MeansShown(Value, frozen=True, kw_only=True):
    """`means show`: saved means, of `size` neurons, by layer, and of some neurons: those asked for, or the strongest.

    `texts` and `tokens` are 0 where the file that they were imported from does not say.
    """

    name: str
    model: str
    over: str
    texts: int
    tokens: int
    size: int
    places: int
    layers: tuple[LayerMeans, ...]
    neurons: tuple[NeuronMean, ...]


class QuietShown(Value, frozen=True, kw_only=True):
    """`quiet`: neurons that hardly fire, the quietest first, of `total` that fit, among `neurons`.

    `over` says over what: an atlas, or the texts generated from prompts. `regions` is empty, or the part of the texts
    that they are active in and the one that they are silent in, of so many `positions`; the rows are then in the order
    of their ratios.
    """

    over: str
    regions: tuple[str, ...]
    positions: tuple[int, ...]
    rows: tuple[QuietRow, ...]
    total: int
    neurons: int


class Injected(Value, frozen=True, kw_only=True):
    """`inject`: the text as it is (`arms[0]`), with the vectors at their places, and with random ones of their norms.

    `adds` says that they were added to what stood there, `inputs` that per-layer embeddings were swapped as well.
    `target` is the token whose probability was asked for. `shifts` are those of the first two arms.
    """

    table: ClassVar[str] = "arms"
    encoded: Encoded
    adds: bool
    scale: float
    inputs: bool
    placed: tuple[Placed, ...]
    observed: tuple[Observed, ...]
    target: Target | None
    arms: tuple[Arm, ...]
    shifts: tuple[Shift, ...]


class InjectedByLayer(Value, frozen=True, kw_only=True):
    """`inject --layers`: a vector's text read at every layer, and put into every layer of another text.

    `place` is where in that text, its layer that of the vector. `measure` is what a cell says: "activation" of
    `observed`, "probability" of `target` as the next token, or "kl".
    """

    encoded: Encoded
    adds: bool
    scale: float
    inputs: bool
    place: Placed
    measure: str
    observed: Neuron | None
    target: Target | None
    map: LayerMap


class AutoencoderOpened(Value, frozen=True, kw_only=True):
    """`sae load`: what the sparse autoencoder is."""

    about: AutoencoderAbout


class StateEncoded(Value, frozen=True, kw_only=True):
    """`sae encode`: what a sparse autoencoder makes of a state, with its strongest features or the one asked for.

    The state is that at `position` of the prompt, where `token` stands, or the one that was captured as `vector`, the
    other being None or "". `saved` is the name under which the reconstruction, or the feature's part of it, was saved
    as a vector, `path` its file.
    """

    about: AutoencoderAbout
    encoding: Encoding
    position: int | None
    token: str
    vector: str = ""
    feature: int | None = None
    saved: str = ""
    path: str = ""
