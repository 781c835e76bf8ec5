"""What changes of weights return, and their evaluation."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.edits.findings import DeltaPart, EditedMatrix, EditedNeuron
from sessions.evaluation.pairing import Pairs
from sessions.evaluation.scores import ByLanguage, Score
from sessions.events import Value
from sessions.interventions.arms import Arm
from sessions.model.info import Token
from sessions.model.units import Neuron
from sessions.rewriting.rewritten import AtAlpha, Braked, Firing, Replied, Saying, Separation
from sessions.surgery.cuts import LayerCut


class EditRow(Struct, frozen=True, kw_only=True):
    """An edit of the ledger. `norm` is that of the difference it makes to the weights, None where it has not been in
    them since the model was opened."""

    number: int
    name: str
    verb: str
    about: str
    on: bool
    norm: float | None


class EditsShown(Value, frozen=True, kw_only=True):
    """`edits`, `undo`, `redo`: what is applied, first to last.

    `done` says what the line did to the edits `named`, and to what the `lines` had changed of the session: "undone",
    "redone", "on", "off", "loaded", or "" where it only shows. `undone` names the edits that redo would bring back, the
    next one first.
    """

    rows: tuple[EditRow, ...]
    done: str = ""
    named: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


class SubspaceCut(Value, frozen=True, kw_only=True):
    """`surgery`: the edit that took a subspace out of what layers write or, with `keeps`, all but it.

    `what` names the subspace, `writers` what was cut in each layer: "down", "attn_out". `versions` are those of the
    `prompts` it was found on, with `at` which state stands for each; there are none of a vector or of tokens. `arms`
    are the replies to the session's prompt without and with the edit, where there is a prompt.
    """

    table: ClassVar[str] = "layers"
    name: str
    what: str
    keeps: bool
    writers: tuple[str, ...]
    at: str
    versions: tuple[str, ...]
    prompts: int
    layers: tuple[LayerCut, ...]
    arms: tuple[Arm, ...]
    path: str


class ProblemsWritten(Value, frozen=True, kw_only=True):
    """`surgery problems`: the file, its `lines`, how many problems of each kind are in it, and the first one with its
    answer. A line is a problem in all `languages` or, where they are `tasks`, in one."""

    path: str
    seed: int
    languages: tuple[str, ...]
    tasks: bool
    lines: int
    kinds: dict[str, int]
    first: dict[str, str]
    answer: str


class Rewritten(Value, frozen=True, kw_only=True):
    """`rewrite`: the edit that made a neuron say a token, what it does at each α that was tried, and the one taken.

    `learnt` and `held` count texts, positions where it should fire, and positions elsewhere, of the examples it was
    made of and of those held out; `apart` is False where these are the same. `before` is what held-out examples say
    without the edit; `separation` and `firing` are over these too. `bias` is that of a neuron without a gate, which
    has no `scale_up`. `norm` is the mean norm of what the MLP writes into: the residual stream or, with `normed`, what
    it hands to the norm between the two. `repetition` is the share of repeated three-token sequences in the replies
    without and with the edit, `held_back` that of their tokens at which the stutter guard stepped in.
    """

    name: str
    neuron: Neuron
    token: Token
    rule: str
    examples: str
    learnt: tuple[int, int, int]
    held: tuple[int, int, int]
    apart: bool
    rows: tuple[AtAlpha, ...]
    chosen: int
    before: Saying
    scale_gate: float
    scale_up: float | None
    bias: float | None
    separation: Separation
    firing: Firing
    norm: float
    normed: bool
    brake: Braked | None
    replies: tuple[Replied, ...]
    repetition: tuple[float, float]
    held_back: tuple[float, float]
    collapsed: bool
    path: str

    @property
    def taken(self) -> AtAlpha:
        """The neuron at the α that was taken."""
        return self.rows[self.chosen]

    @property
    def alpha(self) -> float:
        """The α that was taken."""
        return self.taken.alpha


class EditInspected(Value, frozen=True, kw_only=True):
    """`inspect`: what an edit changes.

    `number` is its place in the ledger, 0 where it is not applied, and `on` whether it is in the weights. `facts` are
    what its verb has kept beside the numbers, `command` the line that made it. `neurons` are the first `listed` of
    `total` that it edits, `matrices` the whole ones. `tokens` counts, over all its neurons, the tokens that each pushes
    most. `apart` is the largest difference between the prompt's logits with the edit in the weights and with the same
    edit as hooks, over the largest logit: None where that was not measured, for the reason in the notes.

    `delta` is the change alone, by part over all its neurons. `delta_tokens` counts the tokens that the changes of
    their columns push most. `delta_top10` is the share of the squared change that lies in the ten neurons which changed
    most, None where it is of no neurons.
    """

    table: ClassVar[str] = "neurons"
    number: int
    name: str
    verb: str
    about: str
    on: bool
    model: str
    command: str
    facts: dict[str, str]
    norm: float
    neurons: tuple[EditedNeuron, ...]
    total: int
    matrices: tuple[EditedMatrix, ...]
    tokens: tuple[tuple[str, int], ...]
    apart: float | None
    delta: tuple[DeltaPart, ...] = ()
    delta_tokens: tuple[tuple[str, int], ...] = ()
    delta_top10: float | None = None


class Evaluated(Value, frozen=True, kw_only=True):
    """`evaluate`: a file of tasks under one or more arms, the first of which the others are held against.

    `unrelated` counts the tokens that perplexity was taken over, 0 where it was not. `languages` is empty where all
    tasks are in one. `kept` is the file of the texts.
    """

    table: ClassVar[str] = "scores"
    path: str
    tasks: int
    max_tokens: int
    unrelated: int
    scores: tuple[Score, ...]
    pairs: tuple[Pairs, ...]
    languages: tuple[ByLanguage, ...]
    kept: str


class AdapterRow(Struct, frozen=True, kw_only=True):
    """An adapter that is kept. `rank` is its largest, `projections` counts those it adapts, whose last names are
    `targets`; `number` is its place in the ledger, 0 where it is not loaded, and `state` "on", "off" or "merged".
    `error` says why it cannot be read; its other fields may be empty then."""

    name: str
    kind: str = "LoRA"
    rank: int = 0
    projections: int = 0
    targets: tuple[str, ...] = ()
    parameters: int = 0
    base: str = ""
    number: int = 0
    state: str = ""
    weight: float | None = None
    created: str = ""
    error: str = ""


class AdaptersListed(Value, frozen=True, kw_only=True):
    """`adapter list`."""

    rows: tuple[AdapterRow, ...]


class AdapterShown(Value, frozen=True, kw_only=True):
    """`adapter`: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and how it stands.

    Of a merge, `changed` counts the positions of the `positions` that were read at which the model's first choice of
    a next token is another one than with the adapter beside the weights, and `apart` is how far the logits are, in
    units of their spread. `path` is where it was saved.
    """

    done: str
    row: AdapterRow
    changed: int = 0
    positions: int = 0
    apart: float | None = None
    path: str = ""


class Ensembled(Value, frozen=True, kw_only=True):
    """`ensemble`: the adapter that came out of `members`, each with its weight. `off` is how far its products are from
    the weighted sum of theirs, over that sum; `taken_off` names those that were on."""

    row: AdapterRow
    members: tuple[tuple[str, float], ...]
    combination: str
    off: float
    taken_off: tuple[str, ...] = ()
