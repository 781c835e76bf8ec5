"""`neuron`: the card of one neuron."""

from __future__ import annotations

from typing import Annotated

from msgspec import structs

from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import SelectionWord, Whole
from sessions.events import Progress, Steps
from sessions.procedures.neuron_card import (
    EDGES,
    attributed,
    edges_with_circuit,
    explains,
    is_meant,
    one_of,
    profile_of,
    summed,
)
from sessions.results import NeuronCard
from sessions.session import Session

FAMILY = "Circuits"


@verb("neuron", family=FAMILY, example=("neuron L24/N1005", "neuron L24/N1005@-1"))
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
        from sessions.circuits import card
        from sessions.directions import lens, reading

        asked = one_of(session, self.neuron, length=session.circuit_length() if explains(session.circuit) else None)
        opened, circuit = session.opened(), session.circuit
        opened.anatomy.check(*asked.site)
        yield Progress("attributing")
        encoded, target, attribution, notes = yield from attributed(session, circuit)
        seen = card.moments(attribution, encoded.tokens, asked)
        everywhere = None
        if not self.no_verify and seen:
            strongest = sorted(seen, key=lambda moment: -abs(moment.attribution))[: card.MEASURED]
            places = sorted(moment.position for moment in strongest)
            effects, everywhere = yield from card.effects(opened, encoded.ids, asked, target, places, session.cancel)
            seen = tuple(structs.replace(moment, effect=effects.get(moment.position)) for moment in seen)
            if len(places) < len(seen):
                notes.append(f"exact effects at the {len(places)} strongest of {len(seen)} positions")
        known = summed(asked, seen, everywhere)
        incoming, outgoing = yield from edges_with_circuit(session, circuit, encoded, known, seen, notes)
        (pushed,) = lens.pushed(opened.anatomy, opened.tokenizer, [known], self.tokens)
        universal = yield from session.universal()
        ranked = () if circuit is None else circuit.neurons
        return NeuronCard(
            neuron=known,
            target=target,
            moments=seen,
            everywhere=everywhere,
            rank=next((rank for rank, each in enumerate(ranked, 1) if is_meant(each, asked)), 0),
            circuit_size=len(ranked),
            up=pushed[0],
            down=pushed[1],
            column_norm=float(opened.anatomy.down_column(*asked.site).float().norm()),
            reads=reading.reads(opened, asked, self.tokens),
            universal=asked.site in universal,
            tokens=encoded.tokens,
            atlas=profile_of(session, asked),
            incoming=incoming[:EDGES],
            outgoing=outgoing[:EDGES],
            notes=tuple(notes),
        )
