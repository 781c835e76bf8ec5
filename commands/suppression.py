"""The working set: neurons held at zero in everything, and interventions that stay in force: `suppress`, `release`,
`multiplier`."""

from __future__ import annotations

from typing import Annotated

from commands.interventions import FAMILY
from commands.request import Arg, Request
from commands.verb import verb
from commands.words import NumberWord, SelectionWord
from sessions.procedures.working_set import multiply, release, suppress
from sessions.results import WorkingSet
from sessions.session import Session


@verb(
    "suppress",
    family=FAMILY,
    synonyms=("turn off", "switch off", "mute", "silence", "hold at zero"),
    needs=("model", "circuit"),
    example=("suppress top3", "suppress recruits:lessons-1:30", "suppress"),
)
class Suppress(Request, frozen=True):
    """Hold neurons at zero in everything the session does, until they are released.

    Texts, attributions, means and effects are then those of the model without these neurons, at all positions, and
    every result says so. Suppression is saved with the session. An intervention on a suppressed neuron leaves it at
    zero.
    """

    selection: Annotated[str | None, Arg(SelectionWord(), "which neurons (default: show what is in force)")] = None

    def run(self, session: Session) -> WorkingSet:
        return suppress(session, selection=self.selection)


@verb(
    "release",
    family=FAMILY,
    synonyms=("turn on", "switch on", "unsuppress", "lift", "free", "reset"),
    example=("release all", "release L24/*"),
)
class Release(Request, frozen=True):
    """End suppression and live interventions of neurons.

    release all ends everything that is in force, whatever the circuit.
    """

    selection: Annotated[str, Arg(SelectionWord(), "which neurons, or all")]

    def run(self, session: Session) -> WorkingSet:
        return release(session, selection=self.selection)


@verb(
    "multiplier",
    family=FAMILY,
    synonyms=("gain", "factor"),
    needs=("model", "circuit"),
    example=("multiplier 0.5", "multiplier 1", "multiplier"),
)
class Multiplier(Request, frozen=True):
    """Multiply the circuit's neurons in every text from now on: in top, prob, generate and say.

    There is one multiplier for the whole circuit, at all positions; a new one replaces it. It does what amplify all
    X --live does, and suppress shows it.
    """

    factor: Annotated[float | None, Arg(NumberWord(), "the factor; 1 ends it (default: show what is in force)")] = None

    def run(self, session: Session) -> WorkingSet:
        return multiply(session, factor=self.factor)
