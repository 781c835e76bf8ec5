"""Circuits: `discover`, `neurons`, `keep`, `drop`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from commands.attributing import ManyPrompts, MethodOptions
from commands.choices import UNITS
from commands.fields import Batch
from commands.machines import WORKERS_ON, Machines
from commands.ranges import Layers, Positions
from commands.request import Arg, Excludes, Flag, Needs, Opt, Options, Request
from commands.verb import verb
from commands.words import Real, RowsWord, SelectionWord, TokenWord, Whole
from sessions.circuits.methods import METHODS
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.units import Kind
from sessions.procedures.circuits import (
    agreed,
    check_positions,
    choice_of,
    hidden_by_frozen,
    measured,
    narrowed,
    range_of,
    tokens_after,
    too_many_neurons,
)
from sessions.procedures.estimating import estimated
from sessions.procedures.neuron_card import neuron_table
from sessions.references import usual_reference
from sessions.results import Discovered, Estimated, Narrowed, NeuronTable
from sessions.session import Session
from sessions.texts.prompt_sources import prompts_in

if TYPE_CHECKING:
    from sessions.circuits.cases import Case
    from sessions.circuits.discovery import AttributionOptions, Discovery, DiscoveryQuestion, Scope
    from sessions.circuits.pruning import CircuitSize
    from sessions.model.pieces import Engine

FAMILY = "Circuits"


class HowMany(Options, frozen=True):
    """How many neurons become the circuit."""

    group = "How many neurons"

    top: Annotated[
        int | None,
        Opt(Whole(), "neurons at most (default: the setting top, unless another limit is given)"),
    ] = None
    percentage: Annotated[float | None, Opt(Real(), "neurons with at least this many percent of the target")] = None
    cumulative: Annotated[
        float | None,
        Opt(Real(1.0), "the fewest neurons that hold this fraction (0 to 1) of all |attribution|"),
    ] = None
    per_layer: Annotated[int | None, Opt(Whole(), "first reduce each layer to this many, the strongest")] = None

    def choice(self, session: Session) -> CircuitSize:
        return choice_of(session, self.top, self.percentage, self.cumulative, self.per_layer)


class OnePrompt(Options, frozen=True):
    """What of the prompt's next token is explained."""

    group = "One prompt"

    vs: Annotated[
        str | None, Opt(TokenWord(), "explain the difference to this token (default: the strongest other one)")
    ] = None
    target_only: Annotated[bool, Flag("explain the target's logit alone, not a difference")] = False
    sequence: Annotated[bool, Flag("explain the log-probability of the whole text, all its tokens")] = False

    def question(self, session: Session, target: str | None) -> tuple[DiscoveryQuestion, list[str]]:
        """What to explain, as tokens, and remarks on how it was read."""
        from sessions.circuits.discovery import DiscoveryQuestion

        tokens, notes = ((), []) if target is None else tokens_after(session, target, whole=self.sequence)
        others, more = ((), []) if self.vs is None else tokens_after(session, self.vs, whole=False, as_target=False)
        if tokens and others and tokens[0].id == others[0].id:
            raise UsageError(
                f"the target and its counterfactual are the same token, {tokens[0].text!r}",
                "choose another --vs, or leave it out for the strongest other token",
            )
        question = DiscoveryQuestion(
            tokens, others[0] if others else None, alone=self.target_only, sequence=self.sequence
        )
        return question, notes + more


class WhichUnits(Options, frozen=True):
    """Which units may be in the circuit."""

    group = "Which units"

    units: Annotated[str, Opt(UNITS, "neurons, attention heads, or both")] = "neurons"

    layers: Annotated[tuple[int, int] | None, Opt(Layers(), "only these layers: 9-26")] = None
    at: Annotated[
        tuple[int, int] | None,
        Opt(Positions(), "only these positions: 3-9, or -1, the last (the first too, if included)"),
    ] = None
    keep_bos: Annotated[bool, Flag("keep the first position, the attention sink")] = False
    keep_universal: Annotated[bool, Flag("keep neurons that are strong on every prompt")] = False

    def check_layers(self, session: Session) -> None:
        """Raise `ModelError` for layers that the model lacks, before anything long begins."""
        range_of(session, self.layers)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in ("neuron", "head") if f"{kind}s" in self.units.split(","))

    def scope(self, session: Session) -> Steps[tuple[Scope, list[str]]]:
        """These units, and a remark where universal ones are left out."""
        from sessions.circuits.discovery import Scope

        without = () if self.keep_universal or "neuron" not in self.kinds else (yield from session.universal())
        scope = Scope(
            layers=range_of(session, self.layers),
            positions=None if self.at is None else range(self.at[0], self.at[1] + 1),
            without_positions=(0,) if self.at is None and not self.keep_bos else (),
            without_neurons=without,
        )
        remark = f"{len(without)} universal neurons left out (--keep-universal keeps them)"
        return scope, [remark] if without else []


@verb(
    "discover",
    family=FAMILY,
    synonyms=(
        "attribute",
        "attribution",
        "attributions",
        "find",
        "explain",
        "locate",
        "circuit",
        "lrp",
    ),
    needs=("model", "prompt"),
    example=(
        'discover " Austin" --vs " Houston" --top 100',
        "discover --prompts keys.jsonl --top 200",
        'discover " Austin, Texas" --sequence --cumulative 0.9',
        'discover " Austin" --method ig --reference mean --layers 9-26',
        "discover --units neurons,heads --top 50",
    ),
)
class Discover(Request, frozen=True):
    """Find the neurons and heads that carry the next token.

    One forward and one backward pass attribute the target to every neuron at every position by layer-wise relevance
    propagation; the strongest become the session's circuit. Attributions are in logits. With frozen attention they
    sum to the whole target, and the circuit reports how closely. They are estimates, so the exact effect of each
    neuron found is measured too, as by verify. Frozen attention hides what passes through attention patterns: the
    result says how much that is, by ablating the whole circuit with patterns free and with patterns held.

    --units heads attributes the target to attention heads, --units neurons,heads to both in one account. Where a head
    looks is not part of its attribution; attention L5/H3 shows it.

    Other methods: atp is activation × gradient; ig averages the gradient along the way from the reference to the
    prompt. With --reference mean, or a prompt with another answer, only the difference from that reference counts.
    exact estimates nothing and ablates every neuron of --layers alone; --at -1, the last position, makes it short.

    --prompts reads a file with lines such as {"prompt": "The keys", "target": " are", "counterfactual": " is"}, or
    plain text, one prompt a line. Each prompt has its own target, and a neuron's attribution is the mean over
    prompts of its sum over positions. Neurons are ranked by mean Σ|attribution| over positions, so that opposite
    signs do not cancel. From ten prompts on, the reference is the neuron's mean over them. Both defaults gave the
    most faithful circuits. --threshold ignores small attributions in a prompt. --aggregate share ranks neurons by
    the share of prompts in which they reach the threshold (1 percent, unless another is given).
    """

    target: Annotated[str | None, Arg(TokenWord(), "the next token to explain (default: the likeliest one)")] = None
    one: OnePrompt = OnePrompt()
    many: ManyPrompts = ManyPrompts()
    limits: HowMany = HowMany()
    which: WhichUnits = WhichUnits()
    how: MethodOptions = MethodOptions()
    no_verify: Annotated[bool, Flag("do not measure the exact effect of each neuron found")] = False
    batch: Batch = None
    dry_run: Annotated[bool, Flag("say what memory and how many passes it takes, and compute nothing")] = False
    force: Annotated[bool, Flag("use means:NAME of another model")] = False
    machines: Machines = Machines()

    rules = (
        WORKERS_ON,
        Needs(
            ("on",), "prompts", "{some} is for many prompts", "for example: discover --prompts keys.jsonl {some} ray"
        ),
        Excludes(
            "prompts",
            ("target", "vs", "target_only", "sequence"),
            "{other} does not go with --prompts: each prompt has its own",
            'say it in the file: {{"prompt": "The keys", "target": " are", "counterfactual": " is"}}',
        ),
        Needs(
            ("raw", "aggregate", "align", "threshold"),
            "prompts",
            "{some} is for many prompts",
            "for example: discover --prompts keys.jsonl {some}",
        ),
        Excludes("vs", ("target_only", "sequence")),
        Needs(("sequence",), "target", "--sequence needs a text", 'for example: discover " Austin, Texas" --sequence'),
    )

    def run(self, session: Session) -> Steps[Discovered | Estimated]:
        if self.dry_run:
            return self._estimate(session)
        look = self._on_one if self.many.prompts is None else self._on_many
        session.opened()
        engine = yield from self.machines.cluster(session)
        discovery, way, cases, notes = yield from look(session, engine)
        circuit, agreement = discovery.circuit, None
        if not self.no_verify and METHODS[self.how.method].estimates:
            verified, _ = yield from measured(
                session, circuit, circuit.neurons, way.reference, self.batch, cases, engine
            )
            effects = {neuron.place: neuron.effect for neuron in verified}
            circuit, agreement = circuit.with_effects(effects, way.compared), agreed(verified)
        patterns = None if self.no_verify or cases else hidden_by_frozen(session, circuit, way.reference)
        circuit, notes = session.use_circuit(circuit), (*notes, *discovery.notes)
        return Discovered(
            circuit=circuit,
            candidates=discovery.candidates,
            agreement=agreement,
            patterns=patterns,
            notes=notes,
        )

    def _estimate(self, session: Session) -> Estimated:
        """What it takes; the universal neurons of a model, which are found once, are not counted."""
        from sessions.circuits.attribution import STEPS
        from sessions.model.tokens import encode

        method, how, opened = METHODS[self.how.method], self.how, session.opened()
        self.which.check_layers(session)
        if self.many.prompts is None:
            behind = len(self.one.question(session, self.target)[0].tokens) - 1 if self.one.sequence else 0
            lengths = [len(session.encoded().ids) + behind]
        else:
            records = prompts_in(self.many.prompts, self.many.raw).prompts
            lengths = [len(encode(opened.tokenizer, record.to_read()).ids) for record in records]
        return estimated(
            session,
            lengths,
            method,
            steps=(how.steps or STEPS) if method.takes_steps else 1,
            attention=how.attention or method.attention_by_default(session.settings.attention),
            effects=0
            if self.no_verify or not method.estimates
            else self.limits.choice(session).count or session.settings.top,
            batch=self.batch,
            many=self.many.prompts is not None,
        )

    def _on_many(
        self, session: Session, engine: Engine | None
    ) -> Steps[tuple[Discovery, AttributionOptions, tuple[Case, ...], tuple[str, ...]]]:
        from sessions.circuits import multi_prompt

        choice, given = self.limits.choice(session), self.how.reference or "zero"
        gathering = self.many.gathering(choice)
        self.which.check_layers(session)
        cases, notes = yield from self.many.cases(session, self.how.method, given, self.batch)
        way, remarks = yield from self.how.way(session, cases, usual_reference(session, len(cases)), force=self.force)
        way = replace(way, kinds=self.which.kinds)
        scope, left_out = yield from self.which.scope(session)
        discovery = yield from multi_prompt.discover(
            session.opened(),
            cases,
            choice=choice,
            scope=scope,
            how=way,
            gathering=gathering,
            batch=self.batch,
            cancel=session.cancel,
            engine=engine,
        )
        return discovery, way, cases, (*notes, *left_out, *remarks)

    def _on_one(
        self, session: Session, engine: Engine | None
    ) -> Steps[tuple[Discovery, AttributionOptions, tuple[Case, ...], tuple[str, ...]]]:
        from sessions.circuits.discovery import discovering

        choice, method = self.limits.choice(session), METHODS[self.how.method]
        self.which.check_layers(session)
        encoded = session.encoded()
        check_positions(self.which.at, len(encoded.ids))
        if not method.estimates and self.which.layers is None and "neuron" in self.which.kinds:
            raise too_many_neurons(session, method.name, self.which.at, len(encoded.ids))
        way, remarks = yield from self.how.way(session, encoded, "zero", force=self.force)
        question, notes = self.one.question(session, self.target)
        way = replace(way, kinds=self.which.kinds)
        scope, left_out = yield from self.which.scope(session)
        discovery = yield from discovering(
            session.opened(),
            encoded,
            question,
            choice=choice,
            scope=scope,
            how=way,
            batch=self.batch,
            cancel=session.cancel,
        )
        return discovery, way, (), (*notes, *left_out, *remarks)


@verb(
    "neurons",
    family=FAMILY,
    synonyms=("units", "logit lens", "show neurons"),
    needs=("model", "circuit"),
    example=("neurons top10", "neurons L24/* --rows 5 --tokens 8"),
)
class ListNeurons(Request, frozen=True):
    """Show neurons with their attribution, activation, and the tokens their output pushes.

    Pushed tokens are the logit lens of the neuron's down column, with the sign of its activation: what its output
    at that position raises and lowers. Where the model's latest atlas covers a neuron, its strongest activation
    over that corpus, the token there and its firing rate are shown too.
    """

    selection: Annotated[str, Arg(SelectionWord(), "which neurons (default: the whole circuit)")] = "all"
    rows: Annotated[int | None, Opt(RowsWord(), "rows to show at most (default: the setting rows)")] = None
    tokens: Annotated[int, Opt(Whole(1, 100), "tokens to show that each neuron pushes up and down")] = 3

    def run(self, session: Session) -> Steps[NeuronTable]:
        return (yield from neuron_table(session, text=self.selection, most=self.rows, tokens=self.tokens))


@verb(
    "keep",
    family=FAMILY,
    synonyms=("narrow", "subset", "only"),
    needs=("circuit",),
    example=("keep top50", "keep all - L29/*"),
)
class Keep(Request, frozen=True):
    """Narrow the circuit to a selection."""

    selection: Annotated[str, Arg(SelectionWord(), "the neurons to keep")]

    def run(self, session: Session) -> Narrowed:
        return narrowed(session, self.selection, keep=True)


@verb(
    "drop",
    family=FAMILY,
    synonyms=("exclude", "leave out", "without"),
    needs=("circuit",),
    example=("drop L29/*", "drop top3 & L24/*"),
)
class Drop(Request, frozen=True):
    """Leave a selection out of the circuit."""

    selection: Annotated[str, Arg(SelectionWord(), "the neurons to leave out")]

    def run(self, session: Session) -> Narrowed:
        return narrowed(session, self.selection, keep=False)
