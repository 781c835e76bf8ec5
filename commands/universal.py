"""Neurons that answer to every prompt: `universal`."""

from __future__ import annotations

from typing import Annotated

from commands.request import Opt, Request
from commands.verb import verb
from commands.words import Whole
from sessions.events import Steps
from sessions.procedures.neuron_card import universal_neurons
from sessions.results import UniversalShown
from sessions.session import Session

FAMILY = "Circuits"


@verb("universal", family=FAMILY, synonyms=("common neurons", "always active"), needs=("model",), example="universal")
class ListUniversal(Request, frozen=True):
    """Show the model's universal neurons, which discover leaves out.

    They are strong on every prompt and so explain none of them. They are found once for each model, by attribution
    on unrelated prompts, and saved in the home folder; where a list is published for a model, that is taken
    instead. `discover --keep-universal` leaves them in.
    """

    tokens: Annotated[int, Opt(Whole(1, 100), "tokens to show that each neuron pushes up and down")] = 3

    def run(self, session: Session) -> Steps[UniversalShown]:
        return (yield from universal_neurons(session, tokens=self.tokens))
