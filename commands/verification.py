"""Exact effects: `verify`."""

from __future__ import annotations

from msgspec import structs

from commands.verb import argument, option, verb
from commands.words import SelectionWord, Whole
from sessions.circuits.agreement import Agreement, agreement
from sessions.circuits.circuit import Circuit, Neuron
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.results import Verified
from sessions.session import Session

FAMILY = "Circuits"


@verb("verify", family=FAMILY, example="verify top20")
@argument("selection", help="which neurons (default: the whole circuit)", type=SelectionWord(), default="all")
@option("--batch", type=Whole(), help="tokens computed at once, which bounds the memory (default: 2048)")
def verify(session: Session, selection: str, batch: int | None) -> Steps[Verified]:
    """Measure what each neuron really does: the target without it, one neuron at a time.

    The effect is the target's value minus its value with that neuron alone at zero, at its position:
    positive where it helps, in logits, as the attribution is. Nothing is estimated, yet two hundred
    neurons cost about ten forward passes, since only what changes is computed again. The circuit
    keeps the effects, and the result says how well the attributions agree with them.
    """
    chosen = session.select(selection).neurons
    verified, value = yield from measured(session, session.found(), chosen, batch)
    session.circuit = session.found().with_effects({n.place: n.effect or 0.0 for n in verified}, HELD)
    return Verified(circuit=session.circuit, neurons=verified, held=HELD, value=value, agreement=agreed(verified))


HELD = "zero"


def measured(
    session: Session, circuit: Circuit, neurons: tuple[Neuron, ...], batch: int | None = None
) -> Steps[tuple[tuple[Neuron, ...], float]]:
    """The neurons with their effects on the circuit's target, and the target's value.

    Raises:
        UsageError: the circuit does not say exactly what it explains.
    """
    from sessions.circuits import verification

    ids = circuit.ids or session.encoded().ids
    if not circuit.target.tokens or any(token.id < 0 for token in circuit.target.tokens):
        raise UsageError("the circuit does not say which tokens it explains", "discover one on this model")
    found = yield from verification.verify(
        session.opened(),
        ids,
        neurons,
        circuit.target,
        batch=batch or verification.LARGEST_BATCH,
        cancel=session.cancel,
    )
    pairs = zip(neurons, found.effects, strict=True)
    return tuple(structs.replace(neuron, effect=effect) for neuron, effect in pairs), found.value


def agreed(neurons: tuple[Neuron, ...]) -> Agreement | None:
    """How attributions and effects agree, over the neurons that have both."""
    both = [(n.attribution, n.effect) for n in neurons if n.attribution is not None and n.effect is not None]
    return agreement([each[0] for each in both], [each[1] for each in both])
