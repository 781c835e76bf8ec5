"""Results of the verbs that change weights, and of `evaluate`."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.edits.findings import DeltaPart, EditedMatrix, EditedNeuron
from sessions.evaluation.pairing import Pairs
from sessions.evaluation.scores import ByLanguage, Score
from sessions.events import Value
from sessions.interventions.arms import Arm
from sessions.model.info import Token
from sessions.model.units import Unit
from sessions.rewriting.rewritten import AtAlpha, Braked, Firing, Replied, Saying, Separation
from sessions.surgery.cuts import LayerCut


class EditRow(Struct, frozen=True, kw_only=True):
    """An edit of the ledger. `norm` is the norm of its weight change, None where it has not been on since the model was
    opened."""

    number: int
    name: str
    verb: str
    about: str
    on: bool
    norm: float | None


class EditsShown(Value, frozen=True, kw_only=True):
    """`edits`, `undo`, `redo`: the applied edits, first to last.

    `done` says what happened to the edits `named` and to the session state that `lines` had changed: "undone",
    "redone", "on", "off", "loaded", or "" where the line only shows the ledger. `undone` names the edits that redo
    would bring back, the next one first.
    """

    rows: tuple[EditRow, ...]
    done: str = ""
    named: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


class SubspaceCut(Value, frozen=True, kw_only=True):
    """`surgery`: the edit that removed a subspace from what layers write or, with `keeps`, all but that subspace.

    `what` names the subspace, `writers` the matrices that were cut in each layer: "down", "attn_out". `versions` names
    the versions of the `prompts` that it was computed from, `at` the state that stands for each; both are empty for a
    vector or tokens. `arms` are the replies to the session's prompt, if it has one, without and with the edit.
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
    """`surgery problems`: the file, its `lines`, the number of problems of each kind, and the first one with its
    answer. A line is a problem in all `languages` or, with `tasks`, in one of them."""

    path: str
    seed: int
    languages: tuple[str, ...]
    tasks: bool
    lines: int
    kinds: dict[str, int]
    first: dict[str, str]
    answer: str


class Rewritten(Value, frozen=True, kw_only=True):
    """`rewrite`: the edit that made a neuron say a token, its outcome at each α that was tried, and the chosen α.

    `learnt` and `held` count texts, positions where it should fire, and other positions, of the training and of the
    held-out examples; `apart` is False where these are the same. `before`, `separation` and `firing` are measured on
    the held-out examples, `before` without the edit. `bias` is for a neuron without a gate, which has no `scale_up`.
    `norm` is the mean norm of the residual stream that the MLP writes into or, with `normed`, of what the MLP hands to
    the norm that follows it. `repetition` is the share of repeated trigrams in the replies without and with the edit,
    `held_back` the share of their tokens at which the stutter guard stepped in.
    """

    name: str
    neuron: Unit
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
        """The outcome at the chosen α."""
        return self.rows[self.chosen]

    @property
    def alpha(self) -> float:
        """The chosen α."""
        return self.taken.alpha


class EditInspected(Value, frozen=True, kw_only=True):
    """`inspect`: what an edit changes.

    `number` is its place in the ledger, 0 where it is not applied; `on` says whether it is in the weights. `facts` is
    what its verb saved with it, `command` the line that made it. `neurons` are the first `listed` of the `total` that
    it edits, `matrices` the whole matrices. `tokens` counts, over all its neurons, the token that each pushes most.
    `apart` is the largest difference between the prompt's logits with the edit in the weights and with the same edit as
    hooks, divided by the largest logit; None where it was not measured, for the reason in the notes.

    `delta` describes the weight change alone, by part over all its neurons. `delta_tokens` counts the tokens that the
    changes of their columns push most. `delta_top10` is the share of the squared change that lies in the ten neurons
    that changed most, None where the edit changes no neurons.
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
    """`evaluate`: a file of tasks under one or more arms, each compared with the first.

    `unrelated` counts the tokens of the text for perplexity, 0 where it was not measured. `languages` is empty where
    all tasks are in one language. `kept` is the file of the replies.
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
    """A saved adapter. `rank` is its largest rank, `projections` counts the projections that it adapts, `targets` are
    their last names. `number` is its place in the ledger, 0 where it is not loaded; `state` is "on", "off" or "merged".
    `error` says why it cannot be read; the other fields may then be empty."""

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
    """`adapter list`: all saved adapters."""

    rows: tuple[AdapterRow, ...]


class AdapterShown(Value, frozen=True, kw_only=True):
    """`adapter`: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and its state now.

    After a merge, `changed` counts the positions, of the `positions` that were read, at which the likeliest next token
    differs from that with the adapter beside the weights; `apart` is the distance of the logits in units of their
    spread. `path` is where the adapter was saved.
    """

    done: str
    row: AdapterRow
    changed: int = 0
    positions: int = 0
    apart: float | None = None
    path: str = ""


class Ensembled(Value, frozen=True, kw_only=True):
    """`ensemble`: the adapter made from `members`, each with its weight. `off` is the relative distance of its weight
    changes from the weighted sum of theirs; `taken_off` names those that were on and were switched off."""

    row: AdapterRow
    members: tuple[tuple[str, float], ...]
    combination: str
    off: float
    taken_off: tuple[str, ...] = ()
