"""Results of the verbs about hidden states: atlases, quiet neurons, captured and injected states."""

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
from sessions.model.units import Unit
from sessions.patching.transplants import LayerMap, Observed, Placed


class AtlasBuilt(Value, frozen=True, kw_only=True):
    """`atlas build`: what the new atlas covers. `tokens` counts positions, `empty` the documents without text.

    `path` is its file, `bytes` the peak memory that building it took besides the model.
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
    """`means build`: means over `texts` and `tokens`, without the first token of each text. `places` counts the
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

    neuron: Unit
    mean: float


class MeansShown(Value, frozen=True, kw_only=True):
    """`means show`: saved means of `size` neurons, by layer, and for the neurons asked for or the strongest.

    `texts` and `tokens` are 0 where the means were imported from a file that does not give them.
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
    """`quiet`: neurons that hardly fire, the quietest first, of the `total` that match among `neurons`.

    `over` names the texts: those of an atlas, or those generated from prompts. `regions` is empty, or names the part of
    the texts in which they are active and the part in which they are silent; `positions` counts both. With `regions`,
    the rows are ordered by their ratio.
    """

    over: str
    regions: tuple[str, ...]
    positions: tuple[int, ...]
    rows: tuple[QuietRow, ...]
    total: int
    neurons: int


class Injected(Value, frozen=True, kw_only=True):
    """`inject`: the unchanged text (`arms[0]`), the text with the vectors injected, and with random ones of equal norm.

    `adds` says that they were added to the states there instead of replacing them, `inputs` that per-layer embeddings
    were swapped as well. `target` is the token whose probability was asked for. `shifts` compares the first two arms.
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
    """`inject --layers`: the state at every layer of a vector's text, injected into every layer of another text.

    `place` is where in that text; its layer is the vector's. `measure` is the value of a cell: "activation" of
    `observed`, "probability" of `target` as the next token, or "kl".
    """

    encoded: Encoded
    adds: bool
    scale: float
    inputs: bool
    place: Placed
    measure: str
    observed: Unit | None
    target: Target | None
    map: LayerMap


class AutoencoderOpened(Value, frozen=True, kw_only=True):
    """`sae load`: the sparse autoencoder that was loaded."""

    about: AutoencoderAbout


class StateEncoded(Value, frozen=True, kw_only=True):
    """`sae encode`: a state encoded by a sparse autoencoder, with its strongest features or the one asked for.

    The state is the one at `position` of the prompt (at `token`), or the captured `vector`; the other is None or "".
    `saved` is the name under which the reconstruction, or the feature's part of it, was saved as a vector; `path` is
    its file.
    """

    about: AutoencoderAbout
    encoding: Encoding
    position: int | None
    token: str
    vector: str = ""
    feature: int | None = None
    saved: str = ""
    path: str = ""
