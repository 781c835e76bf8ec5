"""`neuron`: the card of one neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeGuard

from msgspec import structs

from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.verification import explained, read_elsewhere
from commands.words import SelectionWord, Whole
from sessions.circuits.circuit import Circuit
from sessions.circuits.findings import Moment
from sessions.circuits.flow import Edge
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.events import Progress, Steps
from sessions.model.target import Target
from sessions.model.units import Neuron
from sessions.results import NeuronCard
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.atlas.atlas import Atlas
    from sessions.atlas.findings import Profile
    from sessions.circuits.attribution import Attribution
    from sessions.model.info import Encoded

FAMILY = "Circuits"

#: Maxima on a card, of each sign.
PEAKS = 5
#: Edges on a card, of each direction.
EDGES = 20


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

        asked = one_of(session, self.neuron, length=session.circuit_length() if _explains(session.circuit) else None)
        opened, circuit = session.opened(), session.circuit
        opened.anatomy.check(*asked.site)
        yield Progress("attributing")
        encoded, target, attribution, notes = yield from _attributed(session, circuit)
        seen = card.moments(attribution, encoded.tokens, asked)
        everywhere = None
        if not self.no_verify and seen:
            strongest = sorted(seen, key=lambda moment: -abs(moment.attribution))[: card.MEASURED]
            places = sorted(moment.position for moment in strongest)
            effects, everywhere = yield from card.effects(opened, encoded.ids, asked, target, places, session.cancel)
            seen = tuple(structs.replace(moment, effect=effects.get(moment.position)) for moment in seen)
            if len(places) < len(seen):
                notes.append(f"exact effects at the {len(places)} strongest of {len(seen)} positions")
        known = _summed(asked, seen, everywhere)
        incoming, outgoing = yield from _edges(session, circuit, encoded, known, seen, notes)
        (pushed,) = lens.pushed(opened.anatomy, opened.tokenizer, [known], self.tokens)
        universal = yield from session.universal()
        ranked = () if circuit is None else circuit.neurons
        return NeuronCard(
            neuron=known,
            target=target,
            moments=seen,
            everywhere=everywhere,
            rank=next((rank for rank, each in enumerate(ranked, 1) if _is(each, asked)), 0),
            circuit_size=len(ranked),
            up=pushed[0],
            down=pushed[1],
            column_norm=float(opened.anatomy.down_column(*asked.site).float().norm()),
            reads=reading.reads(opened, asked, self.tokens),
            universal=asked.site in universal,
            tokens=encoded.tokens,
            atlas=_profile(session, asked),
            incoming=incoming[:EDGES],
            outgoing=outgoing[:EDGES],
            notes=tuple(notes),
        )


def atlas_at_hand(session: Session) -> Atlas | None:
    """The latest atlas of the model; None where there is none that can be read."""
    name = session.saved.latest_atlas()
    try:
        return session.saved.read_atlas(name)[0] if name else None
    except ArtifactError:  # a damaged one is no reason to say nothing else: `list` says what is wrong with it
        return None


def _profile(session: Session, neuron: Neuron) -> Profile | None:
    """What the latest atlas of the model says of a neuron; None where there is none that does."""
    atlas = atlas_at_hand(session)
    if atlas is None or not atlas.covers(neuron):
        return None
    from sessions.atlas.profiles import profile

    return profile(atlas, neuron, most=PEAKS)


def one_of(session: Session, text: str, *, length: int | None = None) -> Neuron:
    """The one neuron that a selection means; `length` as of `Session.select`.

    Raises:
        UsageError: it means several, or none.
    """
    selection = session.select(text, length=length)
    chosen = selection.neurons
    if len(chosen) > 1:
        raise UsageError(
            f"'{text}' is {len(chosen):,} neurons, and a card shows one", f"for example: neuron {chosen[0]}"
        )
    return chosen[0].counted(selection.length)


def _explains(circuit: Circuit | None) -> TypeGuard[Circuit]:
    """Whether a circuit has one prompt and one target, which a card can be about."""
    return circuit is not None and bool(circuit.ids) and bool(circuit.target.tokens)


def _is(neuron: Neuron, asked: Neuron) -> bool:
    return neuron.place == asked.place if asked.position is not None else neuron.site == asked.site


def _summed(asked: Neuron, seen: tuple[Moment, ...], everywhere: float | None) -> Neuron:
    """The neuron with what is known of it: at its position or, without one, summed over all of them. Its activation
    is then the one where its attribution is strongest, which gives the sign of what it writes."""
    here = [moment for moment in seen if asked.position in (None, moment.position)]
    if not here:
        return Neuron(*asked.place)
    strongest = max(here, key=lambda moment: abs(moment.attribution))
    effect = everywhere if asked.position is None else strongest.effect
    return Neuron(*asked.place, sum(moment.attribution for moment in here), strongest.activation, effect)


def _edges(
    session: Session,
    circuit: Circuit | None,
    encoded: Encoded,
    known: Neuron,
    seen: tuple[Moment, ...],
    notes: list[str],
) -> Steps[tuple[tuple[Edge, ...], tuple[Edge, ...]]]:
    """Its edges with the circuit's neurons, at its position or where its attribution is strongest; none, and a remark,
    where there can be none."""
    from sessions.circuits.edges import edges_of

    if circuit is None or not circuit.ids or not seen:
        return (), ()
    strongest = max(seen, key=lambda moment: abs(moment.attribution)).position
    place = known if known.position is not None else Neuron(*known.site, strongest)
    try:
        return (yield from edges_of(session.opened(), encoded.ids, circuit, place, cancel=session.cancel))
    except (ModelError, UsageError) as refusal:
        notes.append(f"no edges: {refusal.message}")
        return (), ()


def _attributed(session: Session, circuit: Circuit | None) -> Steps[tuple[Encoded, Target, Attribution, list[str]]]:
    """The prompt, its target, and what is attributed to every neuron: the circuit's, or the session's prompt and its
    likeliest token where there is no circuit, or one of many prompts."""
    import torch

    from sessions.circuits.attributing import attribute
    from sessions.circuits.cases import resolve_targets
    from sessions.circuits.methods import METHODS, within_reach
    from sessions.model.finite import locating
    from sessions.model.logits import value_of
    from sessions.texts.prompt_files import PromptRecord

    opened, notes = session.opened(), []
    usual = within_reach(opened.anatomy)
    method, attention = usual.name, usual.attention_by_default(session.settings.attention)
    if _explains(circuit):
        notes += read_elsewhere(session, circuit)
        encoded, target = explained(session), circuit.target
        if circuit.method in METHODS and METHODS[circuit.method].estimates:
            method, attention = circuit.method, circuit.attention
        else:
            notes.append(f"attributed by {method} against zero; the circuit's own are by {circuit.method}")
    else:
        prompt = session.encoded().prompt
        asked = PromptRecord(
            prompt=prompt.text,
            seed=prompt.seed,
            raw=not prompt.chat,
            system=prompt.system,
            thinking=prompt.thinking,
        )
        (case,) = yield from resolve_targets(opened, [asked], cancel=session.cancel)
        encoded, target = case.encoded, case.target
    with locating(opened, [encoded.ids]):
        attribution = attribute(
            opened.model,
            opened.anatomy,
            torch.tensor([encoded.ids], device=opened.device),
            lambda logits: value_of(target, logits),
            method=method,
            attention=attention,
            kept=len(target.tokens) if target.sequence else 1,
            cancel=session.cancel,
        )
    return encoded, target, attribution, notes
