"""Circuits: `discover`, `neurons`, `keep`, `drop`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.attributing import gathering_of, prompts_with_targets, usual_reference, way
from commands.choices import AGGREGATE, ALIGN, ATTENTION, METHOD, REFERENCE
from commands.names import FileName
from commands.neuron import atlas_at_hand
from commands.verb import argument, option, verb
from commands.verification import agreed, measured
from commands.words import Layers, Positions, Real, Rows, SelectionWord, Text, Token, Whole
from sessions.circuits.circuit import Neuron
from sessions.circuits.methods import DEFAULT, METHODS, listed
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.model.info import Token as Vocabulary
from sessions.results import Discovered, Narrowed, NeuronRow, NeuronTable
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.atlas.atlas import Atlas
    from sessions.atlas.findings import Peak
    from sessions.circuits.cases import Case
    from sessions.circuits.choosing import Choice
    from sessions.circuits.discovery import Discovery, Question, Scope, Way
    from sessions.circuits.many import Gathering
    from sessions.model.info import Encoded

FAMILY = "Circuits"
#: The methods that --steps is for.
STEPPED = listed(each.name for each in METHODS.values() if each.takes_steps)


@verb("discover", family=FAMILY, example='discover " Austin" --vs " Houston" --top 100')
@argument("target", help="the next token to explain; without it, the likeliest one", type=Token(), required=False)
@option("--vs", type=Token(), help="explain the difference to this token (default: the strongest other one)")
@option("--target-only", is_flag=True, help="explain the target's logit alone, not a difference")
@option("--sequence", is_flag=True, help="explain the log-probability of the whole text, all its tokens")
@option("--prompts", type=FileName(), help="a file of prompts: explain the targets of all of them together")
@option("--raw", is_flag=True, help="with --prompts: read them without the chat template")
@option("--aggregate", type=AGGREGATE, help="with --prompts: how attributions become one number (default: magnitude)")
@option("--align", type=ALIGN, help="with --prompts: none sums over positions (the default), end keeps them apart")
@option(
    "--threshold",
    type=Real(100.0),
    help="with --prompts: percent of its target below which a neuron counts as 0 in a prompt",
)
@option("--top", type=Whole(), help="neurons at most (default: the setting top, unless another limit is given)")
@option("--percentage", type=Real(), help="neurons with at least this many percent of the target")
@option("--cumulative", type=Real(1.0), help="the fewest neurons that hold this fraction (0 to 1) of all |attribution|")
@option("--per-layer", type=Whole(), help="first reduce each layer to its strongest so many")
@option("--layers", type=Layers(), help="only these layers: 9-26")
@option("--at", type=Positions(), help="only these positions, the first too if it is among them: 3-9, or -1, the last")
@option("--method", type=METHOD, default=DEFAULT, help="how attributions are made")
@option(
    "--attention",
    type=ATTENTION,
    help="how relevance passes attention (default: relp the setting, the others gradient)",
)
@option(
    "--reference",
    type=REFERENCE,
    help="what neurons are compared with: zero, mean, means:NAME or a prompt (default: zero; of many their mean)",
)
@option("--reference-seed", type=Text(), help="the seed of that prompt (default: this prompt's)")
@option(
    "--steps",
    type=Whole(2),
    help=f"passes of --method {STEPPED} (default: 16)",
)
@option("--keep-bos", is_flag=True, help="keep the first position, where attention sinks")
@option("--keep-universal", is_flag=True, help="keep neurons that answer to every prompt")
@option("--no-verify", is_flag=True, help="do not measure the exact effect of each neuron found")
@option("--batch", type=Whole(), help="tokens computed at once, which bounds the memory")
@option("--force", is_flag=True, help="compare with means:NAME of another model")
def discover(
    session: Session,
    target: str | None,
    vs: str | None,
    target_only: bool,
    sequence: bool,
    prompts: Path | None,
    raw: bool,
    aggregate: str | None,
    align: str | None,
    threshold: float | None,
    layers: tuple[int, int] | None,
    at: tuple[int, int] | None,
    method: str,
    attention: str | None,
    reference: str | None,
    reference_seed: str | None,
    steps: int | None,
    keep_bos: bool,
    keep_universal: bool,
    no_verify: bool,
    batch: int | None,
    force: bool,
    **limits: Any,
) -> Steps[Discovered]:
    """Find the neurons that carry the next token.

    One forward and one backward pass attribute the target to every neuron at every position by
    layer-wise relevance propagation; the strongest become the session's circuit. Attributions are in
    logits: with frozen attention they account for the whole target, and the circuit says how well. They
    are estimates: what the target really loses without each neuron is measured as well, as by verify.

    Other methods: atp, activation times gradient, and ig, the same with the gradient averaged on the way
    to the prompt. With --reference mean, or a prompt in which the answer is another one, only what differs
    from there counts. exact estimates nothing and switches off every neuron of --layers alone; --at -1, the
    last position, makes it short.

    With --prompts, a file with lines such as {"prompt": "The keys", "target": " are", "counterfactual": " is"},
    or plain text, a prompt a line, each prompt has its own target, and a neuron's attribution is the mean over
    prompts of its sum over positions. Neurons are ranked by magnitude, the same of its size at each position: one
    that helps at one place and harms at another counts. From ten prompts on it is compared with the neuron's mean
    over them. Both were found to make the most faithful circuits. --threshold leaves out what is small in a prompt,
    and --aggregate share ranks neurons by how many prompts they reach it in (1 percent, unless another is given).
    """
    from sessions.circuits.discovery import Scope

    about_many = {"--raw": raw, "--aggregate": aggregate, "--align": align, "--threshold": threshold}
    about_one = {"a target": target, "--vs": vs, "--target-only": target_only, "--sequence": sequence}
    _refuse(about_many if prompts is None else about_one, prompts is not None)
    choice, chosen = limits_of(session, **limits), METHODS[method]
    scope = Scope(
        layers=range_of(session, layers),
        positions=None if at is None else range(at[0], at[1] + 1),
        without_positions=(0,) if at is None and not keep_bos else (),
    )
    if prompts is not None:
        gathering = gathering_of(aggregate, align, threshold, choice)
        cases, notes = yield from prompts_with_targets(session, prompts, raw, method, reference or "zero", batch)
        reference = reference or usual_reference(session, len(cases))
        how, remarks = yield from way(session, cases, method, attention, reference, reference_seed, steps, force=force)
        scope = yield from _without_universal(session, scope, keep_universal, notes)
        found = yield from _on_many(session, cases, choice, scope, how, gathering, batch)
    else:
        cases = ()
        encoded = session.encoded()
        _check_positions(at, len(encoded.ids))
        if not chosen.estimates and layers is None:
            raise _too_many(session, method, at, len(encoded.ids))
        against = reference or "zero"
        how, remarks = yield from way(session, encoded, method, attention, against, reference_seed, steps, force=force)
        question, notes = _question(session, target, vs, target_only, sequence)
        scope = yield from _without_universal(session, scope, keep_universal, notes)
        found = yield from _on_one(session, encoded, question, choice, scope, how, batch)
    circuit, agreement = found.circuit, None
    if not no_verify and chosen.estimates:
        verified, _ = yield from measured(session, circuit, circuit.neurons, how.reference, batch, cases)
        effects = {neuron.place: neuron.effect for neuron in verified}
        circuit, agreement = circuit.with_effects(effects, how.compared), agreed(verified)
    circuit = session.use_circuit(circuit)
    notes += [*remarks, *found.notes]
    return Discovered(circuit=circuit, candidates=found.candidates, agreement=agreement, notes=tuple(notes))


def _refuse(options: dict[str, Any], many: bool) -> None:
    """Raise `UsageError` for the first option given that is about one prompt where there are many, or the opposite."""
    given = next((name for name, value in options.items() if value not in (None, False)), None)
    if given is not None and many:
        raise UsageError(
            f"{given} does not go with --prompts: each prompt has its own",
            'say it in the file: {"prompt": "The keys", "target": " are", "counterfactual": " is"}',
        )
    if given is not None:
        raise UsageError(f"{given} is for many prompts", f"for example: discover --prompts keys.jsonl {given}")


def _without_universal(session: Session, scope: Scope, keep: bool, notes: list[str]) -> Steps[Scope]:
    """The scope without universal neurons, and a remark on that; or as it is, where these are kept."""
    if keep:
        return scope
    scope = replace(scope, without_neurons=(yield from session.universal()))
    if scope.without_neurons:
        notes.append(f"{len(scope.without_neurons)} universal neurons left out (--keep-universal keeps them)")
    return scope


def _on_one(
    session: Session,
    encoded: Encoded,
    question: Question,
    choice: Choice,
    scope: Scope,
    how: Way,
    batch: int | None,
) -> Steps[Discovery]:
    from sessions.circuits.discovery import discovering

    steps = discovering(
        session.opened(), encoded, question, choice=choice, scope=scope, how=how, batch=batch, cancel=session.cancel
    )
    return (yield from steps)


def _check_positions(positions: tuple[int, int] | None, length: int) -> None:
    for position in positions or ():
        if not -length <= position < length:
            raise UsageError(
                f"the prompt has no position {position}", f"positions are 0 to {length - 1}, or -1 for the last"
            )


def _too_many(session: Session, method: str, positions: tuple[int, int] | None, length: int) -> UsageError:
    """Every neuron of the model, one by one."""
    widths = session.opened().anatomy.widths
    places = length - 1 if positions is None else positions[1] - positions[0] + 1
    return UsageError(
        f"--method {method} without --layers would switch off {sum(widths) * places:,} neurons, a forward pass each",
        f"choose some layers, and the last position, for example: --layers {len(widths) // 2} --at -1",
    )


def _on_many(
    session: Session,
    cases: tuple[Case, ...],
    choice: Choice,
    scope: Scope,
    how: Way,
    gathering: Gathering,
    batch: int | None,
) -> Steps[Discovery]:
    from sessions.circuits import many
    from sessions.model.rows import LARGEST_BATCH

    return (
        yield from many.discover(
            session.opened(),
            cases,
            choice=choice,
            scope=scope,
            how=how,
            gathering=gathering,
            batch=batch or LARGEST_BATCH,
            cancel=session.cancel,
        )
    )


def _question(
    session: Session, target: str | None, vs: str | None, target_only: bool, sequence: bool
) -> tuple[Question, list[str]]:
    """What to explain, as tokens, and remarks on how it was read."""
    from sessions.circuits.discovery import Question

    if vs is not None and (target_only or sequence):
        raise UsageError(
            f"--vs does not go with {'--target-only' if target_only else '--sequence'}", "leave one of them out"
        )
    if sequence and target is None:
        raise UsageError("--sequence needs a text", 'for example: discover " Austin, Texas" --sequence')
    tokens, notes = ((), []) if target is None else _tokens(session, target, whole=sequence)
    others, more = ((), []) if vs is None else _tokens(session, vs, whole=False, as_target=False)
    if tokens and others and tokens[0].id == others[0].id:
        raise UsageError(
            f"the target and its counterfactual are the same token, {tokens[0].text!r}",
            "choose another --vs, or leave it out for the strongest other token",
        )
    question = Question(tokens, others[0] if others else None, alone=target_only, sequence=sequence)
    return question, notes + more


def _tokens(
    session: Session, text: str, *, whole: bool, as_target: bool = True
) -> tuple[tuple[Vocabulary, ...], list[str]]:
    """The tokens of a text after the prompt: the first, unless the whole is wanted."""
    from sessions.model.tokens import continuation

    found = continuation(session.opened().tokenizer, session.encoded(), text)
    notes = list(found.notes)
    if whole or len(found.tokens) == 1:
        return found.tokens, notes
    pieces = " ".join(repr(token.text) for token in found.tokens)
    used = "the first is explained (--sequence explains them all)" if as_target else "it stands for the first"
    notes.append(f"{text!r} is {len(found.tokens)} tokens, {pieces}: {used}")
    return found.tokens[:1], notes


def limits_of(
    session: Session,
    top: int | None,
    percentage: float | None,
    cumulative: float | None,
    per_layer: int | None,
) -> Choice:
    """How many neurons to keep; a line that sets no limit of its own gets the setting's."""
    from sessions.circuits.choosing import Choice

    if top is None and percentage is None and cumulative is None:
        top = session.settings.top
    return Choice(top, percentage, cumulative, per_layer)


def range_of(session: Session, layers: tuple[int, int] | None) -> range | None:
    if layers is None:
        return None
    first, last = layers
    session.opened().anatomy.check_layer(last)
    return range(first, last + 1)


@verb("neurons", family=FAMILY, example="neurons top10")
@argument("selection", help="which neurons (default: the whole circuit)", type=SelectionWord(), default="all")
@option("--rows", type=Rows(), help="rows to show at most (default: the setting rows)")
@option("--tokens", type=Whole(1, 100), default=3, help="tokens to show that each neuron pushes up and down")
def neurons(session: Session, selection: str, rows: int | None, tokens: int) -> Steps[NeuronTable]:
    """Show neurons with their attribution, activation, and the tokens their output pushes.

    Pushed tokens are the logit lens of the neuron's down column, with the sign of its activation:
    what its output at that position raises and lowers. Where the latest atlas of the model has the neurons, they have
    their strongest activation over its corpus, the token that it was at, and how often they fire.
    """
    from sessions.circuits.lens import pushed

    chosen = session.select(selection, length=session.circuit_length())
    limit = session.settings.rows if rows is None else rows
    shown = chosen.neurons[:limit]
    opened = session.opened()
    pushes = pushed(opened.anatomy, opened.tokenizer, shown, tokens)
    circuit = session.circuit
    yield Progress("looking into the atlas")
    atlas = atlas_at_hand(session)
    told = [_over_corpus(atlas, neuron) for neuron in shown]
    known = atlas if any(peak for peak, _ in told) else None
    return NeuronTable(
        circuit=circuit,
        total=len(chosen.neurons),
        rows=tuple(
            NeuronRow(
                neuron=neuron,
                token="" if circuit is None else circuit.token(neuron.position),
                share=None if circuit is None else circuit.share(neuron),
                up=up,
                down=down,
                peak=peak,
                rate=rate,
            )
            for neuron, (up, down), (peak, rate) in zip(shown, pushes, told, strict=True)
        ),
        atlas="" if known is None else known.name,
        corpus="" if known is None else known.about.corpus,
    )


def _over_corpus(atlas: Atlas | None, neuron: Neuron) -> tuple[Peak | None, float | None]:
    """A neuron's strongest activation over the corpus of an atlas, and how often it fires; None where it says
    nothing of it."""
    found = None if atlas is None or not atlas.covers(neuron) else atlas.strongest(neuron)
    if atlas is None or found is None:
        return None, None
    from sessions.atlas.telling import peak

    return peak(found), float(atlas.layer(neuron.layer).rate[neuron.index])


@verb("keep", family=FAMILY, example="keep top50")
@argument("selection", help="the neurons to keep", type=SelectionWord())
def keep(session: Session, selection: str) -> Narrowed:
    """Narrow the circuit to a selection."""
    return _narrowed(session, selection, keep=True)


@verb("drop", family=FAMILY, example="drop L29/*")
@argument("selection", help="the neurons to leave out", type=SelectionWord())
def drop(session: Session, selection: str) -> Narrowed:
    """Leave a selection out of the circuit."""
    return _narrowed(session, selection, keep=False)


def _narrowed(session: Session, text: str, *, keep: bool) -> Narrowed:
    circuit, selection = session.found(), session.select(text, length=session.circuit_length())
    covered = selection.within(circuit.neurons)
    dropped = set(covered)
    left = covered if keep else tuple(neuron for neuron in circuit.neurons if neuron not in dropped)
    if not left:
        raise UsageError(
            f"nothing would be left of the circuit's {len(circuit)} neurons",
            f"'{selection.text}' {'has none' if keep else 'has all'} of them",
        )
    word = "kept" if keep else "dropped"
    session.circuit = circuit.with_neurons(left, f"{circuit.chosen}; {word} {selection.text}")
    return Narrowed(circuit=session.circuit, before=len(circuit))
