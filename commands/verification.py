"""Exact effects: `verify`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import structs

from commands.attributing import compared_with, named
from commands.verb import argument, option, verb
from commands.words import REFERENCE, SelectionWord, Text, Whole
from sessions.circuits.agreement import Agreement, agreement
from sessions.circuits.circuit import Circuit, Neuron
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.results import Verified
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference
    from sessions.model.info import Encoded

FAMILY = "Circuits"


@verb("verify", family=FAMILY, example="verify top20")
@argument("selection", help="which neurons (default: the whole circuit)", type=SelectionWord(), default="all")
@option("--reference", type=REFERENCE, default="zero", help="what each is held at: zero, its mean, or as in a prompt")
@option("--reference-seed", type=Text(), help="the seed of that prompt (default: this prompt's)")
@option("--batch", type=Whole(), help="tokens computed at once, which bounds the memory (default: 2048)")
def verify(
    session: Session, selection: str, reference: str, reference_seed: str | None, batch: int | None
) -> Steps[Verified]:
    """Measure what each neuron really does: the target without it, one neuron at a time.

    The effect is the target's value minus its value with that neuron alone at zero, at its position:
    positive where it helps, in logits, as the attribution is. Nothing is estimated, yet two hundred
    neurons cost about ten forward passes, since only what changes is computed again. The circuit
    keeps the effects, and the result says how well the attributions agree with them. A neuron can
    also be held at its mean, or at what it was in another prompt, aligned at the end.
    """
    circuit, chosen = session.found(), session.select(selection).neurons
    compared, notes = yield from compared_with(session, explained(session), reference, reference_seed)
    verified, value = yield from measured(session, circuit, chosen, compared, batch)
    held = named(reference)
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


def measured(
    session: Session,
    circuit: Circuit,
    neurons: tuple[Neuron, ...],
    reference: Reference | None = None,
    batch: int | None = None,
) -> Steps[tuple[tuple[Neuron, ...], float]]:
    """The neurons with their effects on the circuit's target, and the target's value.

    A neuron that the reference says nothing of has no effect.

    Raises:
        UsageError: the circuit does not say exactly what it explains.
    """
    from sessions.circuits import verification

    opened, ids = session.opened(), circuit.ids or session.encoded().ids
    if not circuit.target.tokens or any(token.id < 0 for token in circuit.target.tokens):
        raise UsageError("the circuit does not say which tokens it explains", "discover one on this model")
    values = [0.0 if reference is None else reference.at(opened.anatomy, neuron) for neuron in neurons]
    known = [(neuron, value) for neuron, value in zip(neurons, values, strict=True) if not math.isnan(value)]
    found = yield from verification.verify(
        opened,
        ids,
        [neuron for neuron, _ in known],
        circuit.target,
        values=[value for _, value in known],
        batch=batch or verification.LARGEST_BATCH,
        cancel=session.cancel,
    )
    effects = dict(zip((neuron.place for neuron, _ in known), found.effects, strict=True))
    return tuple(structs.replace(neuron, effect=effects.get(neuron.place)) for neuron in neurons), found.value


def agreed(neurons: tuple[Neuron, ...]) -> Agreement | None:
    """How attributions and effects agree, over the neurons that have both."""
    both = [(n.attribution, n.effect) for n in neurons if n.attribution is not None and n.effect is not None]
    return agreement([each[0] for each in both], [each[1] for each in both])
