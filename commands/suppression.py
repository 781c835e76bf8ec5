"""The working set: neurons held at zero in everything, and interventions that stay in force: `suppress`, `release`,
`multiplier`."""

from __future__ import annotations

from typing import Annotated

from commands.interventions import FAMILY
from commands.request import Arg, Request
from commands.verb import verb
from commands.words import NumberWord, SelectionWord
from sessions.errors import UsageError
from sessions.interventions.intervention import Intervention, refuse_overlaps
from sessions.model.units import Neuron
from sessions.procedures.intervening import in_force
from sessions.results import WorkingSet
from sessions.session import Session

#: What the label of the multiplier's treatment begins with.
_MULTIPLIED = "multiplier ×"


@verb("suppress", family=FAMILY, example=("suppress top3", "suppress recruits:lessons-1:30", "suppress"))
class Suppress(Request, frozen=True):
    """Hold neurons at zero in everything the session does, until they are released.

    Texts, attributions, means and effects are then those of the model without these neurons, at all positions, and
    every result says so. Suppression is saved with the session. An intervention on a suppressed neuron leaves it at
    zero.
    """

    selection: Annotated[str | None, Arg(SelectionWord(), "which neurons (default: show what is in force)")] = None

    def run(self, session: Session) -> WorkingSet:
        if self.selection is None:
            return in_force(session)
        session.opened()
        chosen = session.select(self.selection)
        if chosen.pinned:
            position = next(iter(chosen.pinned))
            raise UsageError(
                f"{Neuron(*position)} has a position, and suppression holds at all positions",
                f"suppress {Neuron(*position[:2])}, or: ablate {Neuron(*position)}",
            )
        before = len(session.suppressed)
        found = {neuron.site: Neuron(*neuron.site) for neuron in (*session.suppressed, *chosen.neurons)}
        for layer, index in found:
            session.opened().anatomy.check(layer, index)
        session.suppressed = tuple(found.values())
        already = len({neuron.site for neuron in chosen.neurons}) - (len(found) - before)
        notes = (f"{already} of them are suppressed already",) if already else ()
        return in_force(session, added=len(found) - before, notes=notes)


@verb("release", family=FAMILY, example=("release all", "release L24/*"))
class Release(Request, frozen=True):
    """End suppression and live interventions of neurons.

    release all ends everything that is in force, whatever the circuit.
    """

    selection: Annotated[str, Arg(SelectionWord(), "which neurons, or all")]

    def run(self, session: Session) -> WorkingSet:
        if self.selection.strip().lower() == "all":
            sites = None
        else:
            sites = frozenset(neuron.site for neuron in session.select(self.selection).neurons)
        kept = tuple(neuron for neuron in session.suppressed if sites is not None and neuron.site not in sites)
        live = () if sites is None else tuple(each.without(sites) for each in session.live)
        live = tuple(each for each in live if each.neurons)
        released = len(session.suppressed) - len(kept)
        ended = sum(len(each.neurons) for each in session.live) - sum(len(each.neurons) for each in live)
        if not released and not ended:
            if sites is None:
                return in_force(session, notes=("nothing was in force",))
            raise UsageError(
                f"nothing is in force on '{self.selection}'", "suppress shows what is in force; release all ends it"
            )
        session.suppressed, session.live = kept, live
        return in_force(session, released=released, ended=ended)


@verb("multiplier", family=FAMILY, example=("multiplier 0.5", "multiplier 1", "multiplier"))
class Multiplier(Request, frozen=True):
    """Multiply the circuit's neurons in every text from now on: in top, prob, generate and say.

    There is one multiplier for the whole circuit, at all positions; a new one replaces it. It does what amplify all
    X --live does, and suppress shows it.
    """

    factor: Annotated[float | None, Arg(NumberWord(), "the factor; 1 ends it (default: show what is in force)")] = None

    def run(self, session: Session) -> WorkingSet:
        if self.factor is None:
            return in_force(session)
        kept = tuple(each for each in session.live if not each.label.startswith(_MULTIPLIED))
        if self.factor != 1:
            session.opened()
            neurons = session.select("all").spread("all")
            kept = (*kept, Intervention(neurons, self.factor, label=f"{_MULTIPLIED}{self.factor:g}"))
            refuse_overlaps(kept)
        elif kept == session.live:
            return in_force(session, notes=("no multiplier is in force",))
        session.live = kept
        return in_force(session)
