"""Results of the circuit verbs: neurons, edges, faithfulness, vectors."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.atlas.findings import Peak, Profile
from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit
from sessions.circuits.comparing import Comparison
from sessions.circuits.findings import CurveAreas, Moment, PatternEffect
from sessions.circuits.flow import Bottleneck, Edge, Hub, Inflow, LayerFlow, SuperWeight
from sessions.directions.findings import Direction, LayerCosine, Origin, Reads, Span, TopOverlap
from sessions.events import Value
from sessions.model.target import Target
from sessions.model.units import Unit


class Discovered(Value, frozen=True, kw_only=True):
    """`discover`, `contrast`: the circuit, and how many (neuron, position) candidates it was chosen from.

    `agreement` compares its attributions with the exact effects, where these were measured. `patterns` is what ablating
    the whole circuit does, and how much of it frozen attention patterns hide; None where they were not frozen.
    """

    table: ClassVar[str] = "circuit.neurons"
    circuit: Circuit
    candidates: int
    agreement: Agreement | None = None
    patterns: PatternEffect | None = None


class Estimated(Value, frozen=True, kw_only=True):
    """`discover --dry-run`: what it would take. `peak` and `weights` are bytes, `free` those that are free on the
    device now, None where that is not known.

    `tokens` are those of the longest of `prompts`. `forward` and `backward` count passes of the attribution, `effects`
    the exact effects that are measured afterwards, at most.
    """

    prompts: int
    tokens: int
    forward: int
    backward: int
    effects: int
    peak: int
    weights: int
    device: str
    free: int | None = None


class Verified(Value, frozen=True, kw_only=True):
    """`verify`: the neurons with their exact effects on the target, whose value without intervention is `value`.

    `held` names the ablation value. `circuit` is the session's circuit with these effects.
    """

    table: ClassVar[str] = "neurons"
    circuit: Circuit
    neurons: tuple[Unit, ...]
    held: str
    value: float
    agreement: Agreement | None


class Edges(Value, frozen=True, kw_only=True):
    """`edges`: how relevance flows between `neurons`, and from them to the circuit's target.

    Edges into the strongest `targets` of the neurons were computed; `total` of them are not 0. `edges` (between
    neurons) and `outputs` (to the target) hold the strongest, strongest first; `listed` of them are to be shown. The
    other fields are derived from all edges (see `sessions.circuits.flow`). `tokens` are the prompt's. `path` is the
    graph's file.
    """

    table: ClassVar[str] = "edges"
    target: Target
    tokens: tuple[str, ...]
    neurons: tuple[Unit, ...]
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
    """Faithfulness and completeness of a circuit's first `size` neurons, and of as many random ones where drawn.

    `kept` is the share of the target that these neurons keep alone; `left` is the share that remains without them. None
    where the share is undefined.
    """

    size: int
    kept: float | None
    left: float | None
    random_kept: float | None = None
    random_left: float | None = None


class Faithfulness(Value, frozen=True, kw_only=True):
    """`faithfulness`: what a circuit of `size` neurons keeps of the mean target of `prompts` prompts, by size.

    `whole` is that target without ablation, `none` with all neurons ablated to the value that `held` names. `order`
    says which neurons come first: the strongest, or those helping the target. `controls` random circuits were drawn.
    `units` says of what kind these are: where a circuit is mixed, neurons and heads are held. `areas` are those of the
    curve over all units, where it was asked for.
    """

    prompts: int
    size: int
    held: str
    order: str = "strongest"
    whole: float
    none: float
    rows: tuple[FaithfulnessRow, ...]
    controls: int = 0
    units: str = "neurons"
    areas: CurveAreas | None = None


class NeuronRow(Struct, frozen=True, kw_only=True):
    """A row of the neuron table.

    `token` is the one at the neuron's position, `share` the attribution divided by the target's value, `up` and `down`
    the tokens that the neuron's output pushes (logit lens of its down column). `peak` is its strongest activation over
    the corpus of the atlas, `rate` the share of positions at which it fires there.
    """

    neuron: Unit
    token: str
    share: float | None
    up: tuple[str, ...]
    down: tuple[str, ...]
    peak: Peak | None = None
    rate: float | None = None


class NeuronTable(Value, frozen=True, kw_only=True):
    """`neurons`: the rows shown, of `total` selected.

    `atlas` and `corpus` name the atlas that the neurons were looked up in; both are "" where it has none of them.
    """

    circuit: Circuit | None
    rows: tuple[NeuronRow, ...]
    total: int
    atlas: str = ""
    corpus: str = ""


class NeuronCard(Value, frozen=True, kw_only=True):
    """`neuron`: one neuron in the prompt, and its weights.

    The values of `neuron` are those at the position that was asked for or, without one, summed over all positions.
    `moments` holds each position that it was computed at, `everywhere` the exact effect of ablating it at all
    positions. `rank` is its place in the circuit, from 1; 0 where it is not in it. `incoming` and `outgoing` are its
    edges with the circuit's neurons, strongest first, at its position or, without one, at its strongest. `tokens` are
    the prompt's. `atlas` is its profile in the model's latest atlas, where it has one.
    """

    table: ClassVar[str] = "moments"
    neuron: Unit
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


class Narrowed(Value, frozen=True, kw_only=True):
    """`keep`, `drop`: the smaller circuit, and how many neurons it had before."""

    table: ClassVar[str] = "circuit.neurons"
    circuit: Circuit
    before: int


class CircuitsCompared(Value, frozen=True, kw_only=True):
    """`compare`: two circuits, by name."""

    names: tuple[str, str]
    comparison: Comparison


class CircuitHeldAgainst(Value, frozen=True, kw_only=True):
    """`compare`: how much of a vector a circuit accounts for, layer by layer.

    `size` counts the circuit's distinct neurons. `ranks` is the rank correlation of their |attribution| with their
    |cosine| to the direction of their layer. `overlap` holds the neurons that are strongest in both.
    """

    table: ClassVar[str] = "spans"
    circuit: str
    size: int
    vector: str
    site: str
    spans: tuple[Span, ...]
    ranks: Agreement | None
    overlap: TopOverlap | None = None


class VectorShown(Value, frozen=True, kw_only=True):
    """`vector`, `capture`: a saved vector, layer by layer.

    `path` is its file if it has just been made. `origin` says where it was captured; None for one made of prompts.
    """

    table: ClassVar[str] = "directions"
    name: str
    site: str
    model: str
    prompts: tuple[int, int]
    directions: tuple[Direction, ...]
    path: str = ""
    origin: Origin | None = None


class VectorsCompared(Value, frozen=True, kw_only=True):
    """`compare`: two vectors, by name, at the layers that both have."""

    table: ClassVar[str] = "layers"
    names: tuple[str, str]
    sites: tuple[str, str]
    layers: tuple[LayerCosine, ...]


class UniversalRow(Struct, frozen=True, kw_only=True):
    """A universal neuron: in how many of the built-in prompts it is strong (None where not counted), and the tokens
    that it pushes up and down where its activation is positive."""

    neuron: Unit
    prompts: int | None
    up: tuple[str, ...]
    down: tuple[str, ...]


class UniversalShown(Value, frozen=True, kw_only=True):
    """`universal`: the model's universal neurons.

    `published` says where the list is from. Where it is "", they were detected on the open model: each is among the
    `strongest` of nearly all of `prompts` built-in prompts.
    """

    model: str
    rows: tuple[UniversalRow, ...]
    prompts: int
    strongest: int
    published: str = ""
