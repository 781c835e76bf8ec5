"""The session's circuit: its size, what it explains, its exact effects, and how it is narrowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.circuits.agreement import Agreement, agreement
from sessions.circuits.circuit import Circuit
from sessions.circuits.doubts import doubts_of
from sessions.circuits.findings import PatternEffect
from sessions.circuits.sound import check_fits
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.intervention import UnitConstant, is_known
from sessions.model.info import RULES
from sessions.model.info import Token as Vocabulary
from sessions.model.units import Unit
from sessions.procedures.token_meant import token_meant
from sessions.references import compared_with, many_against_one, named
from sessions.results import Narrowed, Verified
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference
    from sessions.circuits.cases import Case
    from sessions.circuits.pruning import CircuitSize
    from sessions.model.info import Encoded
    from sessions.model.parts import Anatomy
    from sessions.model.pieces import Engine
    from sessions.model.target import Target


def target_of(session: Session) -> Target | None:
    """The circuit's target, where it is about the prompt in use and its tokens are known."""
    circuit = session.circuit
    return None if circuit is None or circuit.prompt != session.prompt else circuit.known_target


def doubts(session: Session) -> tuple[str, ...]:
    """Remarks on a circuit that was found elsewhere, or on another state of the model."""
    if session.circuit is None:
        return ()
    edits = () if session.ledger is None else tuple(edit.name for edit in session.ledger.active)
    return tuple(doubts_of(session.circuit, session.prompt, tuple(map(str, session.suppressed)), edits))


def explained(session: Session) -> Encoded:
    """The prompt that the circuit was found on, as the model read it; the session's where it does not say."""
    circuit = session.found()
    if not circuit.ids:
        return session.encoded()
    return structs.replace(session.read(circuit.prompt), ids=circuit.ids, tokens=circuit.tokens)


def read_elsewhere(session: Session, circuit: Circuit) -> list[str]:
    """A remark where what is read is the circuit's prompt, and the session has another one or none."""
    if not circuit.ids:
        return []
    if session.prompt is not None and session.encoded().ids == circuit.asked:
        return []
    return [f"on the circuit's own prompt, {circuit.prompt.text!r}, of {len(circuit.ids):,} tokens"]


def cases_of(session: Session, circuit: Circuit) -> Steps[tuple[Case, ...]]:
    """The prompts that a circuit was found on, with their targets."""
    from sessions.circuits.cases import resolve_targets

    return (yield from resolve_targets(session.opened(), circuit.prompts, cancel=session.cancel))


def measured(
    session: Session,
    circuit: Circuit,
    neurons: tuple[Unit, ...],
    reference: Reference | None = None,
    batch: int | None = None,
    cases: Sequence[Case] = (),
    engine: Engine | None = None,
) -> Steps[tuple[tuple[Unit, ...], float]]:
    """The neurons with their effects on the circuit's target, and the target's value; means over `cases` if there are.

    A neuron that the reference says nothing of has no effect. `engine` computes means over cases; None for here.

    Raises:
        UsageError: the circuit does not say exactly what it explains.
    """
    from sessions.circuits.mean_effects import mean_effects
    from sessions.circuits.verification import verify

    opened = session.opened()
    if not cases and (not circuit.target.tokens or any(token.id < 0 for token in circuit.target.tokens)):
        raise UsageError("the circuit does not say which tokens it explains", "discover one on this model")
    if reference is not None and reference.corrupt:
        return (yield from _against_corrupt(session, neurons, cases, batch))
    known = _held(opened.anatomy, neurons, reference)
    chosen, constants = [neuron for neuron, _ in known], [value for _, value in known]
    if cases:
        steps = mean_effects(opened, cases, chosen, values=constants, batch=batch, cancel=session.cancel, engine=engine)
    else:
        ids = circuit.ids or session.encoded().ids
        steps = verify(opened, ids, chosen, circuit.target, values=constants, batch=batch, cancel=session.cancel)
    outcome = yield from steps
    effects = dict(zip((neuron.place for neuron, _ in known), outcome.effects, strict=True))
    return tuple(structs.replace(neuron, effect=effects.get(neuron.place)) for neuron in neurons), outcome.value


def _held(anatomy: Anatomy, units: Sequence[Unit], reference: Reference | None) -> list[tuple[Unit, UnitConstant]]:
    """The units with what each is held at, zero without a reference; without those that it says nothing of."""
    values = [0.0 if reference is None else reference.at(anatomy, unit) for unit in units]
    return [(unit, value) for unit, value in zip(units, values, strict=True) if is_known(value)]


def hidden_by_frozen(session: Session, circuit: Circuit, reference: Reference | None) -> PatternEffect | None:
    """What ablating the whole circuit does, with attention patterns free and held; None where nothing held them."""
    from sessions.circuits.pattern_effect import pattern_effect

    opened = session.opened()
    if circuit.attention != "frozen" or opened.anatomy.why_not(RULES) is not None:
        return None
    known = _held(opened.anatomy, circuit.neurons, reference)
    return pattern_effect(
        opened,
        circuit.ids,
        [unit for unit, _ in known],
        circuit.target,
        values=[value for _, value in known],
        cancel=session.cancel,
    )


def _against_corrupt(
    session: Session, units: tuple[Unit, ...], cases: Sequence[Case], batch: int | None
) -> Steps[tuple[tuple[Unit, ...], float]]:
    """As `measured`, each unit held at what it is in the corrupt prompt, position by position."""
    from sessions.patching.grids import corrupt_effects

    outcome = yield from corrupt_effects(session.opened(), cases, units, batch=batch, cancel=session.cancel)
    pairs = zip(units, outcome.effects, strict=True)
    return tuple(structs.replace(unit, effect=effect) for unit, effect in pairs), outcome.value


def agreed(neurons: tuple[Unit, ...]) -> Agreement | None:
    """How attributions and effects agree, over the neurons that have both."""
    both = [(n.attribution, n.effect) for n in neurons if n.attribution is not None and n.effect is not None]
    return agreement([pair[0] for pair in both], [pair[1] for pair in both])


def choice_of(
    session: Session,
    top: int | None,
    percentage: float | None,
    cumulative: float | None,
    per_layer: int | None,
) -> CircuitSize:
    """How many neurons to keep; a line that sets no limit of its own gets the setting's."""
    from sessions.circuits.pruning import CircuitSize

    if top is None and percentage is None and cumulative is None:
        top = session.settings.top
    return CircuitSize(top, percentage, cumulative, per_layer)


def range_of(session: Session, layers: tuple[int, int] | str | None) -> range | None:
    """The layers that are named, which the open model has; None for all of them."""
    if layers is None or isinstance(layers, str):
        return None
    first, last = layers
    session.opened().anatomy.check_layer(last)
    return range(first, last + 1)


def check_positions(positions: tuple[int, int] | None, length: int) -> None:
    """Raise `UsageError` for a position that a prompt of this length does not have."""
    for position in positions or ():
        if not -length <= position < length:
            raise UsageError(
                f"the prompt has no position {position}", f"positions are 0 to {length - 1}, or -1 for the last"
            )


def too_many_neurons(session: Session, method: str, positions: tuple[int, int] | None, length: int) -> UsageError:
    """Every neuron of the model, one by one."""
    widths = session.opened().anatomy.widths
    places = length - 1 if positions is None else positions[1] - positions[0] + 1
    return UsageError(
        f"--method {method} without --layers would ablate {sum(widths) * places:,} neurons, a forward pass each",
        f"choose some layers, and the last position, for example: --layers {len(widths) // 2} --at -1",
    )


def tokens_after(
    session: Session, text: str, *, whole: bool, as_target: bool = True
) -> tuple[tuple[Vocabulary, ...], list[str]]:
    """The tokens of a text after the prompt, with a space before it if that is meant: the first, unless the whole is
    wanted."""
    from sessions.model.tokens import continuation

    text, notes = token_meant(session, text)
    candidate = continuation(session.opened().tokenizer, session.encoded(), text)
    notes += candidate.notes
    if whole or len(candidate.tokens) == 1:
        return candidate.tokens, notes
    pieces = " ".join(repr(token.text) for token in candidate.tokens)
    used = "the first is explained (--sequence explains them all)" if as_target else "it stands for the first"
    notes.append(f"{text!r} is {len(candidate.tokens)} tokens, {pieces}: {used}")
    return candidate.tokens[:1], notes


def narrowed(session: Session, text: str, *, keep: bool) -> Narrowed:
    """The circuit narrowed to a selection, or to what is outside it; it becomes the session's."""
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


def verified(
    session: Session, *, selection: str, reference_seed: str | None, reference: str, batch: int | None, force: bool
) -> Steps[Verified]:
    """Measure the effect of each neuron of a selection; the circuit keeps the effects."""
    circuit, chosen = session.found(), session.select(selection, length=session.circuit_length()).neurons
    if circuit.prompts and reference_seed is not None:
        raise many_against_one()
    cases = (yield from cases_of(session, circuit)) if circuit.prompts else ()
    over = cases or explained(session)
    compared, notes = yield from compared_with(session, over, reference, reference_seed, force=force)
    notes += read_elsewhere(session, circuit)
    verified, value = yield from measured(session, circuit, chosen, compared, batch, cases)
    reference_name = named(reference)
    if circuit.compared not in ("", reference_name):
        notes.append(f"the circuit's attributions are against {circuit.compared}, these effects at {reference_name}")
    session.circuit = circuit.with_effects({neuron.place: neuron.effect for neuron in verified}, reference_name)
    return Verified(
        circuit=session.circuit,
        neurons=verified,
        held=reference_name,
        value=value,
        agreement=agreed(verified),
        notes=tuple(notes),
    )


def take_circuit(session: Session, circuit: Circuit) -> str:
    """Make a circuit, which has been checked, the session's, and its prompt too. Returns a remark on the prompt."""
    remark = ""
    if circuit.prompt.text and session.model is not None:
        prompt, remark = session.prompt_of(circuit)
        session.use_prompt(prompt)
        circuit = structs.replace(circuit, prompt=prompt)
    elif circuit.prompt.text:
        session.prompt = circuit.prompt
    session.circuit = circuit
    return remark


def check_circuit_fits(session: Session, circuit: Circuit) -> None:
    """Refuse a circuit whose neurons, tokens or prompt the open model, if there is one, cannot take_circuit."""
    if session.model is None:
        return
    length = len(session.read(circuit.prompt).ids) if circuit.prompt.text else 0
    check_fits(circuit, session.model.anatomy, length)
