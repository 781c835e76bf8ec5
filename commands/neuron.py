"""`neuron`: the card of one neuron."""

from __future__ import annotations

from typing import Annotated

from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import SelectionWord, Whole
from sessions.events import Steps
from sessions.procedures.neuron_card import card_of
from sessions.results import NeuronCard
from sessions.session import Session

FAMILY = "Circuits"


@verb(
    "neuron",
    family=FAMILY,
    synonyms=("card", "unit", "details"),
    needs=("model",),
    example=("neuron L24/N1005", "neuron L24/N1005@-1"),
)
class ShowNeuron(Request, frozen=True):
    """Show all that is known of one neuron.

    On the circuit's prompt: its activation, its attribution, and the exact effect of ablating it, at each position
    and everywhere at once. From its weights: the tokens its output pushes up and down, and the tokens that its gate
    and up rows read, as embeddings (what activates it early in the model) and through the logit lens (what a stream
    that activates it is about to say). Where the model's latest atlas covers it, what it did over a corpus.
    """

    neuron: Annotated[str, Arg(SelectionWord(), "the neuron, such as L24/N1005@41, or a selection of one")]
    tokens: Annotated[int, Opt(Whole(1, 100), "tokens to show that it pushes and that it reads")] = 8
    no_verify: Annotated[bool, Flag("do not measure its exact effects")] = False

    def run(self, session: Session) -> Steps[NeuronCard]:
        return (yield from card_of(session, text=self.neuron, tokens=self.tokens, no_verify=self.no_verify))
