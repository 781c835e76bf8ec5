"""Exact effects: `verify`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.choices import REFERENCE
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import SelectionWord, TextWord, Whole
from sessions.circuits.agreement import Agreement, agreement
from sessions.circuits.circuit import Circuit
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.units import Neuron
from sessions.references import compared_with, many_against_one, named
from sessions.results import Verified
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference
    from sessions.circuits.cases import Case
    from sessions.model.info import Encoded

FAMILY = "Circuits"


@verb("verify", family=FAMILY, example=("verify top20", "verify top20 --reference mean"))
class Verify(Request, frozen=True):
    """Measure the exact effect of each neuron: the target without it, one neuron at a time.

    The effect is the target's value minus its value with that neuron alone at zero, at its position: positive where
    it helps, in logits, as the attribution is. Nothing is estimated, yet two hundred neurons cost about ten forward
    passes, because only what changes is computed again. The circuit keeps the effects, and the result shows how
    well the attributions agree with them.

    A neuron can also be held at its mean, or at its value in another prompt, aligned at the end. For a circuit
    found on many prompts, effects are means over these, and so is the mean to hold at.
    """

    selection: Annotated[str, Arg(SelectionWord(), "which neurons (default: the whole circuit)")] = "all"
    reference: Annotated[str, Opt(REFERENCE, "what each is held at: zero, its mean, means:NAME, or a prompt")] = "zero"
    reference_seed: Annotated[str | None, Opt(TextWord(), "the seed of that prompt (default: this prompt's)")] = None
    batch: Annotated[
        int | None, Opt(Whole(), "tokens computed at once, which bounds the memory (default: 2048, or what is free)")
    ] = None
    force: Annotated[bool, Flag("use means:NAME of another model")] = False

    def run(self, session: Session) -> Steps[Verified]:
        circuit, chosen = session.found(), session.select(self.selection, length=session.circuit_length()).neurons
        if circuit.prompts and self.reference_seed is not None:
            raise many_against_one()
        cases = (yield from cases_of(session, circuit)) if circuit.prompts else ()
        over = cases or explained(session)
        compared, notes = yield from compared_with(session, over, self.reference, self.reference_seed, force=self.force)
        notes += read_elsewhere(session, circuit)
        verified, value = yield from measured(session, circuit, chosen, compared, self.batch, cases)
        held = named(self.reference)
        if circuit.compared not in ("", held):
            notes.append(f"the circuit's attributions are against {circuit.compared}, these effects at {held}")
        session.circuit = circuit.with_effects({neuron.place: neuron.effect for neuron in verified}, held)
        return Verified(
            circuit=session.circuit,
            neurons=verified,
            held=held,
            value=value,
            agreement=agreed(verified),
            notes=tuple(notes),
        )


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
    neurons: tuple[Neuron, ...],
    reference: Reference | None = None,
    batch: int | None = None,
    cases: Sequence[Case] = (),
) -> Steps[tuple[tuple[Neuron, ...], float]]:
    """The neurons with their effects on the circuit's target, and the target's value; means over `cases` if there are.

    A neuron that the reference says nothing of has no effect.

    Raises:
        UsageError: the circuit does not say exactly what it explains.
    """
    from sessions.circuits.mean_effects import mean_effects
    from sessions.circuits.verification import verify

    opened = session.opened()
    if not cases and (not circuit.target.tokens or any(token.id < 0 for token in circuit.target.tokens)):
        raise UsageError("the circuit does not say which tokens it explains", "discover one on this model")
    values = [0.0 if reference is None else reference.at(opened.anatomy, neuron) for neuron in neurons]
    known = [(neuron, value) for neuron, value in zip(neurons, values, strict=True) if not math.isnan(value)]
    chosen, held = [neuron for neuron, _ in known], [value for _, value in known]
    if cases:
        steps = mean_effects(opened, cases, chosen, values=held, batch=batch, cancel=session.cancel)
    else:
        ids = circuit.ids or session.encoded().ids
        steps = verify(opened, ids, chosen, circuit.target, values=held, batch=batch, cancel=session.cancel)
    found = yield from steps
    effects = dict(zip((neuron.place for neuron, _ in known), found.effects, strict=True))
    return tuple(structs.replace(neuron, effect=effects.get(neuron.place)) for neuron in neurons), found.value


def agreed(neurons: tuple[Neuron, ...]) -> Agreement | None:
    """How attributions and effects agree, over the neurons that have both."""
    both = [(n.attribution, n.effect) for n in neurons if n.attribution is not None and n.effect is not None]
    return agreement([each[0] for each in both], [each[1] for each in both])
