"""What each command returns: plain data that prints in a terminal, travels as JSON, and is read in Python."""

from __future__ import annotations

from msgspec import Struct

from sessions.atlas.findings import Profile, QuietRow, TopRow
from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit, Neuron, Target
from sessions.circuits.comparing import Comparison
from sessions.circuits.flow import Bottleneck, Edge, Hub, Inflow, LayerFlow, SuperWeight
from sessions.events import State, Value
from sessions.interventions.arms import Arm, Shift
from sessions.interventions.cells import Cell, Curve, Knee
from sessions.interventions.presets import Known
from sessions.interventions.transplants import LayerMap, Observed, Placed
from sessions.model.info import Encoded, ModelInfo, TokenChance, Turn
from sessions.store import Row
from sessions.vectors.features import About, Encoding
from sessions.vectors.findings import Direction, LayerCosine, Origin, Span


class ModelOpened(Value, frozen=True, kw_only=True):
    """`model`: the open model."""

    info: ModelInfo


class PromptSet(Value, frozen=True, kw_only=True):
    """`prompt`, `seed`: the prompt as the model will read it."""

    encoded: Encoded


class Tokens(Value, frozen=True, kw_only=True):
    """`tokens`: the exact ids of the prompt."""

    encoded: Encoded


class Generated(Value, frozen=True, kw_only=True):
    """`generate`: the text, as the one arm it is."""

    encoded: Encoded
    arm: Arm

    @property
    def text(self) -> str:
        return self.arm.text


class Said(Value, frozen=True, kw_only=True):
    """`say`: the reply, as the one arm it is, its thought and answer apart.

    `closing` is the marker that parts them, "" where one of them is missing. `exchanges` counts those of the
    conversation, this one included if it was kept. `under` names what was suppressed and live.
    """

    encoded: Encoded
    arm: Arm
    thought: str
    answer: str
    closing: str
    exchanges: int
    under: str = ""

    @property
    def text(self) -> str:
        return self.answer


class HistoryShown(Value, frozen=True, kw_only=True):
    """`history`: the last exchanges of a conversation, `turns` in order, of the `exchanges` that it has."""

    turns: tuple[Turn, ...]
    exchanges: int
    system: str | None
    thinking: bool | None


class Forgotten(Value, frozen=True, kw_only=True):
    """`forget`: how many exchanges went, and how many are left."""

    exchanges: int
    left: int


class Distribution(Value, frozen=True, kw_only=True):
    """`top`, `prob`: next-token probabilities, the likeliest first."""

    encoded: Encoded
    chances: tuple[TokenChance, ...]


class Discovered(Value, frozen=True, kw_only=True):
    """`discover`, `contrast`: the circuit, and how many (neuron, position) candidates it was chosen from.

    `agreement` is that of its attributions with the exact effects, where these were measured.
    """

    circuit: Circuit
    candidates: int
    agreement: Agreement | None = None


class Verified(Value, frozen=True, kw_only=True):
    """`verify`: the neurons with their exact effects on the target, whose untouched value is `value`.

    `held` says what each was held at, `circuit` is the session's with these effects.
    """

    circuit: Circuit
    neurons: tuple[Neuron, ...]
    held: str
    value: float
    agreement: Agreement | None


class Edges(Value, frozen=True, kw_only=True):
    """`edges`: how relevance flows between `neurons`, and from them to the circuit's target.

    Edges into the strongest `targets` of the neurons were computed; `total` of them are not 0. `edges`, between
    neurons, and `outputs`, to the target, are the strongest, strongest first, and `listed` of them are to be shown. The
    rest is read off all of them (see `sessions.circuits.flow`). `tokens` are the prompt's. `path` is the graph's file.
    """

    target: Target
    tokens: tuple[str, ...]
    neurons: tuple[Neuron, ...]
    targets: int
    total: int
    listed: int
    edges: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    inflows: tuple[Inflow, ...]
    hubs: tuple[Hub, ...]
    bottlenecks: tuple[Bottleneck, ...]
    super_weights: tuple[SuperWeight, ...]
    layers: tuple[LayerFlow, ...]
    path: str = ""


class FaithfulnessRow(Struct, frozen=True, kw_only=True):
    """A circuit's first `size` neurons: what they keep of the target alone, and what is left without them, as fractions
    of what all neurons do; and the same of as many random ones, where these were drawn. None where nothing is defined.
    """

    size: int
    kept: float | None
    left: float | None
    random_kept: float | None = None
    random_left: float | None = None


class Faithfulness(Value, frozen=True, kw_only=True):
    """`faithfulness`: what a circuit of `size` neurons keeps of the mean target of `prompts` prompts, by size.

    `whole` is that target with no neuron held, `none` with all, at what `held` says. `order` says which neurons come
    first: the strongest, or those helping the target. `controls` random circuits were drawn.
    """

    prompts: int
    size: int
    held: str
    order: str = "strongest"
    whole: float
    none: float
    rows: tuple[FaithfulnessRow, ...]
    controls: int = 0


class NeuronRow(Struct, frozen=True, kw_only=True):
    """A row of the neuron table.

    `token` is the one at the neuron's position, `share` the attribution over the target's value,
    `up` and `down` the tokens that the neuron's output pushes (logit lens of its down column).
    """

    neuron: Neuron
    token: str
    share: float | None
    up: tuple[str, ...]
    down: tuple[str, ...]


class NeuronTable(Value, frozen=True, kw_only=True):
    """`neurons`: the rows shown, of `total` selected."""

    circuit: Circuit | None
    rows: tuple[NeuronRow, ...]
    total: int


class Moment(Struct, frozen=True):
    """A neuron at one position of the prompt: its activation, its attribution, and, where that was measured, the
    exact effect of switching it off there alone."""

    position: int
    token: str
    activation: float
    attribution: float
    effect: float | None = None


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


class NeuronCard(Value, frozen=True, kw_only=True):
    """`neuron`: one neuron in the prompt, and its weights.

    `neuron` has the position that was asked for, and is known there or, without one, summed over all. `moments` is
    every position it was computed at, `everywhere` the exact effect of switching it off at all of them. `rank` is its
    place in the circuit, from 1, 0 where it is not in it. `incoming` and `outgoing` are its edges with the circuit's
    neurons, the strongest first, at its position or, without one, at its strongest; `tokens` are the prompt's. `atlas`
    is what the latest atlas of the model says of it, where there is one that does.
    """

    neuron: Neuron
    target: Target
    moments: tuple[Moment, ...]
    everywhere: float | None
    rank: int
    circuit_size: int
    up: tuple[str, ...]
    down: tuple[str, ...]
    column_norm: float
    reads: tuple[Reads, ...]
    universal: bool
    tokens: tuple[str, ...] = ()
    incoming: tuple[Edge, ...] = ()
    outgoing: tuple[Edge, ...] = ()
    atlas: Profile | None = None


class Intervened(Value, frozen=True, kw_only=True):
    """What interventions beside the untouched model have in common.

    `neurons` counts the distinct neurons changed; `scope` says where in the text.
    """

    selection: str
    neurons: int
    scope: str
    encoded: Encoded
    target: Target | None
    arms: tuple[Arm, ...]


class Compared(Intervened, frozen=True, kw_only=True):
    """`ablate`, `amplify`, `shift`, `set-to`, `arms`, `sae inject`: the baseline (`arms[0]`) beside the changed texts.

    Of two arms, and of `sae inject`, `shifts` are those of the next-token distribution from the first to the second.
    """

    verb: str
    shifts: tuple[Shift, ...]


class Swept(Intervened, frozen=True, kw_only=True):
    """`sweep`, of one selection on one prompt: one arm a multiplier, in the order given, and the knee.

    `folder` is where the sweep is kept, and `chart` the file of its chart, where they were asked for.
    """

    knee: Knee | None = None
    folder: str = ""
    chart: str = ""


class SweptGrid(Value, frozen=True, kw_only=True):
    """`sweep`, of several selections, or on several prompts: a curve for each selection, and every cell.

    `target` is that of all prompts, None where they have none or `targets` different ones. `scope`, `folder` and
    `chart` are as of `Swept`.
    """

    scope: str
    prompts: int
    target: Target | None
    targets: int
    curves: tuple[Curve, ...]
    cells: tuple[Cell, ...]
    folder: str = ""
    chart: str = ""


class WorkingSet(Value, frozen=True, kw_only=True):
    """`suppress`, `release`: what is in force now, and what the line changed of it.

    `suppressed` is at zero in everything; `live` are the interventions in every text, each with its number of neurons.
    `added` and `released` count neurons that are suppressed from now on, or no more, `ended` those of live
    interventions that ended.
    """

    suppressed: tuple[Neuron, ...]
    live: tuple[tuple[str, int], ...]
    added: int = 0
    released: int = 0
    ended: int = 0


class Narrowed(Value, frozen=True, kw_only=True):
    """`keep`, `drop`: the circuit that is left, and how many neurons it had before."""

    circuit: Circuit
    before: int


class Injected(Value, frozen=True, kw_only=True):
    """`inject`: the text as it is (`arms[0]`), with the vectors at their places, and with random ones of their norms.

    `adds` says that they were added to what stood there, `inputs` that per-layer embeddings were swapped as well.
    `target` is the token whose probability was asked for. `shifts` are those of the first two arms.
    """

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


class VectorShown(Value, frozen=True, kw_only=True):
    """`vector`, `capture`: a saved vector, taken apart layer by layer. `path` is its file where it has just been made,
    `origin` where it was captured, None of one that was made of prompts."""

    name: str
    site: str
    model: str
    prompts: tuple[int, int]
    directions: tuple[Direction, ...]
    path: str = ""
    origin: Origin | None = None


class AutoencoderOpened(Value, frozen=True, kw_only=True):
    """`sae load`: what the sparse autoencoder is."""

    about: About


class StateEncoded(Value, frozen=True, kw_only=True):
    """`sae encode`: what a sparse autoencoder makes of a state, with its strongest features or the one asked for.

    The state is that at `position` of the prompt, where `token` stands, or the one that was captured as `vector`, the
    other being None or "". `saved` is the name under which the reconstruction, or the feature's part of it, was saved
    as a vector, `path` its file.
    """

    about: About
    encoding: Encoding
    position: int | None
    token: str
    vector: str = ""
    feature: int | None = None
    saved: str = ""
    path: str = ""


class PresetShown(Value, frozen=True, kw_only=True):
    """`preset`: the neurons of a preset, or the part of its `size` that was asked for, with the gains they are given.

    `live` says that they have just been made live; `listed` of them are to be shown.
    """

    name: str
    neurons: tuple[Known, ...]
    size: int
    listed: int
    live: bool = False


class CircuitsCompared(Value, frozen=True, kw_only=True):
    """`compare`: two circuits, by name."""

    names: tuple[str, str]
    comparison: Comparison


class CircuitHeldAgainst(Value, frozen=True, kw_only=True):
    """`compare`: how much of a vector a circuit accounts for, layer by layer.

    `size` counts the circuit's neurons, wherever they fire. `ranks` is how the sizes of their attributions and of
    their cosines with the direction of their layer agree.
    """

    circuit: str
    size: int
    vector: str
    site: str
    spans: tuple[Span, ...]
    ranks: Agreement | None


class VectorsCompared(Value, frozen=True, kw_only=True):
    """`compare`: two vectors, by name, at the layers that both have."""

    names: tuple[str, str]
    sites: tuple[str, str]
    layers: tuple[LayerCosine, ...]


class UniversalRow(Struct, frozen=True, kw_only=True):
    """A universal neuron: how many of the built-in prompts it is strong in, None where that was not counted, and the
    tokens it pushes up and down where its activation is positive."""

    neuron: Neuron
    prompts: int | None
    up: tuple[str, ...]
    down: tuple[str, ...]


class UniversalShown(Value, frozen=True, kw_only=True):
    """`universal`: the model's universal neurons.

    `published` says where the list is from; where it is empty, they were found here, each among the `strongest` of
    nearly all of `prompts` built-in prompts.
    """

    model: str
    rows: tuple[UniversalRow, ...]
    prompts: int
    strongest: int
    published: str = ""


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
    """`atlas top`: the neurons of a layer with the strongest activations, of `total`."""

    atlas: str
    corpus: str
    layer: int
    rows: tuple[TopRow, ...]
    total: int


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


class Saved(Value, frozen=True, kw_only=True):
    """`save`: the name, and the file behind it."""

    name: str
    path: str


class Loaded(Value, frozen=True, kw_only=True):
    """`load`: the circuit, now the session's."""

    name: str
    circuit: Circuit


class Listed(Value, frozen=True, kw_only=True):
    """`list`: everything saved under this home."""

    rows: tuple[Row, ...]


class Deleted(Value, frozen=True, kw_only=True):
    """`delete`: what is gone, and the line that brings it back."""

    name: str
    restore: str


class Exported(Value, frozen=True, kw_only=True):
    """`export`: the file written."""

    path: str
    format: str


class Imported(Value, frozen=True, kw_only=True):
    """`import`: the circuit read, now the session's."""

    path: str
    circuit: Circuit


class Info(Value, frozen=True, kw_only=True):
    """`info`: everything the session holds."""

    state: State
    model: ModelInfo | None
    settings: dict[str, str]
    home: str
    versions: dict[str, str]


class SettingsShown(Value, frozen=True, kw_only=True):
    """`set`: all settings; `changed` names the one that was set, if one was."""

    settings: dict[str, str]
    described: dict[str, str]
    changed: str = ""


class Expected(Value, frozen=True, kw_only=True):
    """`expect`: a statement that is true, and the value that makes it so."""

    statement: str
    actual: str


class Ran(Value, frozen=True, kw_only=True):
    """`run`: a command file that went through, with the number of commands in it."""

    path: str
    lines: int


class Restored(Value, frozen=True, kw_only=True):
    """A host that came back: what the session holds again; the notes say what it does not."""

    state: State
    circuit: Circuit | None = None


class Unkept(Value, frozen=True, kw_only=True):
    """Stands for a result that was too large for the journal: which kind it was, and how large."""

    what: str
    size: str


class Help(Value, frozen=True, kw_only=True):
    """`help`: all verbs as (name, summary) pairs by family, or one verb in full."""

    verb: str = ""
    text: str = ""
    example: str = ""
    families: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()


class Quit(Value, frozen=True, kw_only=True):
    """`quit`: the front end should end the session."""
