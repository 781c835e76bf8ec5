"""The working set: neurons held at zero in everything, and interventions that stay in force: `suppress`, `release`."""

from __future__ import annotations

from commands.interventions import FAMILY, in_force
from commands.verb import argument, verb
from commands.words import SelectionWord
from sessions.circuits.circuit import Neuron
from sessions.errors import UsageError
from sessions.results import WorkingSet
from sessions.session import Session


@verb("suppress", family=FAMILY, example="suppress top3")
@argument("selection", help="which neurons; without any, show what is in force", type=SelectionWord(), required=False)
def suppress(session: Session, selection: str | None) -> WorkingSet:
    """Hold neurons at zero in everything the session does, until they are released.

    Texts, attributions, means, effects: all are then those of the model without these neurons, at all
    positions, and every result says so. What is suppressed is kept with the session. Where an intervention
    would change a suppressed neuron, it stays at zero.
    """
    if selection is None:
        return in_force(session)
    session.opened()
    chosen = session.select(selection)
    if chosen.pinned:
        position = next(iter(chosen.pinned))
        raise UsageError(
            f"{Neuron(*position)} has a position, and what is suppressed is so everywhere",
            f"suppress {Neuron(*position[:2])}, or: ablate {Neuron(*position)}",
        )
    before = len(session.suppressed)
    found = {neuron.site: Neuron(*neuron.site) for neuron in (*session.suppressed, *chosen.neurons)}
    for layer, index in found:
        session.opened().anatomy.check(layer, index)
    session.suppressed = tuple(found.values())
    already = len({neuron.site for neuron in chosen.neurons}) - (len(found) - before)
    notes = (f"{already} of them were suppressed already",) if already else ()
    return in_force(session, added=len(found) - before, notes=notes)


@verb("release", family=FAMILY, example="release all")
@argument("selection", help="which neurons, or all", type=SelectionWord())
def release(session: Session, selection: str) -> WorkingSet:
    """End what is in force: neurons are suppressed no more, and live interventions on them end.

    all is everything, whatever the circuit.
    """
    if selection.strip().lower() == "all":
        sites = None
    else:
        sites = frozenset(neuron.site for neuron in session.select(selection).neurons)
    kept = tuple(neuron for neuron in session.suppressed if sites is not None and neuron.site not in sites)
    live = () if sites is None else tuple(each.without(sites) for each in session.live)
    live = tuple(each for each in live if each.neurons)
    released = len(session.suppressed) - len(kept)
    ended = sum(len(each.neurons) for each in session.live) - sum(len(each.neurons) for each in live)
    if not released and not ended:
        if sites is None:
            return in_force(session, notes=("nothing was in force",))
        raise UsageError(f"nothing is in force on '{selection}'", "suppress shows what is; release all ends it")
    session.suppressed, session.live = kept, live
    return in_force(session, released=released, ended=ended)
