"""What is in force: suppressed neurons, live interventions, the multiplier of the circuit."""

from __future__ import annotations

from sessions.errors import UsageError
from sessions.interventions.intervention import Intervention, refuse_overlaps
from sessions.model.units import Unit
from sessions.procedures.intervening import in_force
from sessions.results import WorkingSet
from sessions.session import Session

#: What the label of the multiplier's treatment begins with.
_MULTIPLIED = "multiplier ×"


def suppress(session: Session, *, selection: str | None) -> WorkingSet:
    """Suppress a selection too; show what is in force."""
    if selection is None:
        return in_force(session)
    session.opened()
    chosen = session.select(selection)
    if chosen.pinned:
        position = next(iter(chosen.pinned))
        raise UsageError(
            f"{Unit.at(position)} has a position, and suppression holds at all positions",
            f"suppress {Unit.at(position).bare}, or: ablate {Unit.at(position)}",
        )
    before = len(session.suppressed)
    neurons = {neuron.anywhere: neuron.bare for neuron in (*session.suppressed, *chosen.neurons)}
    for neuron in neurons.values():
        session.opened().anatomy.coordinates(neuron)
    session.suppressed = tuple(neurons.values())
    already = len({neuron.anywhere for neuron in chosen.neurons}) - (len(neurons) - before)
    notes = (f"{already} of them are suppressed already",) if already else ()
    return in_force(session, added=len(neurons) - before, notes=notes)


def release(session: Session, *, selection: str) -> WorkingSet:
    """End what is in force on a selection, or everything."""
    if selection.strip().lower() == "all":
        sites = None
    else:
        sites = frozenset(neuron.anywhere for neuron in session.select(selection).neurons)
    kept = tuple(neuron for neuron in session.suppressed if sites is not None and neuron.anywhere not in sites)
    live = () if sites is None else tuple(intervention.without(sites) for intervention in session.live)
    live = tuple(intervention for intervention in live if intervention.neurons)
    released = len(session.suppressed) - len(kept)
    ended = sum(len(intervention.neurons) for intervention in session.live) - sum(
        len(intervention.neurons) for intervention in live
    )
    if not released and not ended:
        if sites is None:
            return in_force(session, notes=("nothing was in force",))
        raise UsageError(
            f"nothing is in force on '{selection}'", "suppress shows what is in force; release all ends it"
        )
    units = (*session.suppressed, *(unit for intervention in session.live for unit in intervention.neurons))
    session.suppressed, session.live = kept, live
    return in_force(session, released=released, ended=ended, units=units)


def multiply(session: Session, *, factor: float | None) -> WorkingSet:
    """Multiply the circuit's neurons from now on; a factor of 1 ends it."""
    if factor is None:
        return in_force(session)
    kept = tuple(intervention for intervention in session.live if not intervention.label.startswith(_MULTIPLIED))
    if factor != 1:
        session.opened()
        neurons = session.select("all").spread("all")
        kept = (*kept, Intervention(neurons, factor, label=f"{_MULTIPLIED}{factor:g}"))
        refuse_overlaps(kept)
    elif kept == session.live:
        return in_force(session, notes=("no multiplier is in force",))
    session.live = kept
    return in_force(session)
