"""What a neuron's card shows, gathered from the circuit, the prompt, the weights and the latest atlas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

from msgspec import structs

from sessions.atlas.findings import Peak
from sessions.circuits.circuit import Circuit
from sessions.circuits.findings import Moment
from sessions.circuits.flow import Edge
from sessions.circuits.methods import METHODS
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.events import Progress, Steps
from sessions.model.target import Target
from sessions.model.units import Unit, only_neurons
from sessions.procedures.circuits import explained, read_elsewhere
from sessions.results import NeuronCard, NeuronRow, NeuronTable, UniversalRow, UniversalShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.atlas.atlas import Atlas
    from sessions.atlas.findings import Profile
    from sessions.circuits.attribution import Attribution
    from sessions.model.info import Encoded

#: Maxima on a card, of each sign.
PEAKS = 5
#: Edges on a card, of each direction.
EDGES = 20


def atlas_at_hand(session: Session) -> Atlas | None:
    """The latest atlas of the model; None where there is none that can be read."""
    name = session.saved.latest_atlas()
    try:
        return session.saved.read_atlas(name)[0] if name else None
    except ArtifactError:  # a damaged one is no reason to say nothing else: `list` says what is wrong with it
        return None


def profile_of(session: Session, neuron: Unit) -> Profile | None:
    """What the latest atlas of the model says of a neuron; None where there is none that does."""
    atlas = atlas_at_hand(session)
    if atlas is None or not atlas.covers(neuron):
        return None
    from sessions.atlas.profiles import profile

    return profile(atlas, neuron, most=PEAKS)


def one_of(session: Session, text: str, *, length: int | None = None) -> Unit:
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


def explains(circuit: Circuit | None) -> TypeGuard[Circuit]:
    """Whether a circuit has one prompt and one target, which a card can be about."""
    return circuit is not None and bool(circuit.ids) and bool(circuit.target.tokens)


def is_meant(neuron: Unit, wanted: Unit) -> bool:
    """Whether a neuron is the one asked for, at its position if it has one."""
    return neuron.place == wanted.place if wanted.position is not None else neuron.anywhere == wanted.anywhere


def summed(wanted: Unit, seen: tuple[Moment, ...], everywhere: float | None) -> Unit:
    """The neuron with what is known of it: at its position or, without one, summed over all of them. Its activation
    is then the one where its attribution is strongest, which gives the sign of what it writes."""
    here = [moment for moment in seen if wanted.position in (None, moment.position)]
    if not here:
        return Unit.at(wanted.place)
    strongest = max(here, key=lambda moment: abs(moment.attribution))
    effect = everywhere if wanted.position is None else strongest.effect
    attribution = sum(moment.attribution for moment in here)
    return structs.replace(
        Unit.at(wanted.place), attribution=attribution, activation=strongest.activation, effect=effect
    )


def edges_with_circuit(
    session: Session,
    circuit: Circuit | None,
    encoded: Encoded,
    known: Unit,
    seen: tuple[Moment, ...],
    notes: list[str],
) -> Steps[tuple[tuple[Edge, ...], tuple[Edge, ...]]]:
    """Its edges with the circuit's neurons, at its position or where its attribution is strongest; none, and a remark,
    where there can be none."""
    from sessions.circuits.edges import edges_of

    if circuit is None or not circuit.ids or not seen:
        return (), ()
    strongest = max(seen, key=lambda moment: abs(moment.attribution)).position
    place = known if known.position is not None else Unit(*known.site, strongest)
    try:
        return (yield from edges_of(session.opened(), encoded.ids, circuit, place, cancel=session.cancel))
    except (ModelError, UsageError) as refusal:
        notes.append(f"no edges: {refusal.message}")
        return (), ()


def attributed(session: Session, circuit: Circuit | None) -> Steps[tuple[Encoded, Target, Attribution, list[str]]]:
    """The prompt, its target, and what is attributed to every neuron: the circuit's, or the session's prompt and its
    likeliest token where there is no circuit, or one of many prompts."""
    import torch

    from sessions.circuits.attributing import attribute
    from sessions.circuits.cases import resolve_targets
    from sessions.circuits.methods import within_reach
    from sessions.model.finite import locating
    from sessions.model.logits import value_of
    from sessions.texts.prompt_files import PromptRecord

    opened, notes = session.opened(), []
    usual = within_reach(opened.anatomy)
    method, attention = usual.name, usual.attention_by_default(session.settings.attention)
    if explains(circuit):
        notes += read_elsewhere(session, circuit)
        encoded, target = explained(session), circuit.target
        if circuit.method in METHODS and METHODS[circuit.method].estimates:
            method, attention = circuit.method, circuit.attention
        else:
            notes.append(f"attributed by {method} against zero; the circuit's own are by {circuit.method}")
    else:
        prompt = session.encoded().prompt
        record = PromptRecord(
            prompt=prompt.text,
            seed=prompt.seed,
            raw=not prompt.chat,
            system=prompt.system,
            thinking=prompt.thinking,
        )
        (case,) = yield from resolve_targets(opened, [record], cancel=session.cancel)
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


def over_corpus(atlas: Atlas | None, neuron: Unit) -> tuple[Peak | None, float | None]:
    """A neuron's strongest activation over the corpus of an atlas, and how often it fires; None where it says
    nothing of it."""
    if atlas is None or neuron.kind != "neuron" or not atlas.covers(neuron):
        return None, None
    strongest = atlas.strongest(neuron)
    if strongest is None:
        return None, None
    from sessions.atlas.profiles import peak

    return peak(strongest), float(atlas.layer(neuron.layer).rate[neuron.index])


def pushes_of(session: Session, units: Sequence[Unit], tokens: int) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The tokens that each unit pushes up and down: none for experts, and for heads outside the circuit's prompt."""
    from sessions.directions.lens import pushed, pushed_by_heads

    opened, circuit = session.opened(), session.circuit
    ids = () if circuit is None else circuit.ids
    neurons = [unit for unit in units if unit.kind == "neuron"]
    heads = [unit for unit in units if unit.kind == "head" and unit.position is not None and ids]
    known = dict(zip(neurons, pushed(opened.anatomy, opened.tokenizer, neurons, tokens), strict=True))
    if heads:
        known |= zip(heads, pushed_by_heads(opened, ids, heads, tokens, session.cancel), strict=True)
    return [known.get(unit, ((), ())) for unit in units]


def neuron_table(session: Session, *, text: str, most: int | None, tokens: int) -> Steps[NeuronTable]:
    """Neurons with what the circuit, their weights and the latest atlas say of them."""
    chosen = session.select(text, length=session.circuit_length())
    shown = chosen.neurons[: session.settings.rows if most is None else most]
    circuit = session.circuit
    pushes = pushes_of(session, shown, tokens)
    yield Progress("looking into the atlas")
    atlas = atlas_at_hand(session)
    peaks = [over_corpus(atlas, neuron) for neuron in shown]
    known = atlas if any(peak for peak, _ in peaks) else None
    return NeuronTable(
        circuit=circuit,
        total=len(chosen.neurons),
        rows=tuple(
            NeuronRow(
                neuron=neuron,
                token="" if circuit is None else circuit.token(neuron.position),
                share=None if circuit is None else circuit.share(neuron),
                up=up,
                down=down,
                peak=peak,
                rate=rate,
            )
            for neuron, (up, down), (peak, rate) in zip(shown, pushes, peaks, strict=True)
        ),
        atlas="" if known is None else known.name,
        corpus="" if known is None else known.about.corpus,
    )


def card_of(session: Session, *, text: str, tokens: int, no_verify: bool) -> Steps[NeuronCard]:
    """The card of the neuron that a text names."""
    from sessions.circuits import card
    from sessions.directions import lens, reading

    neuron = one_of(session, text, length=session.circuit_length() if explains(session.circuit) else None)
    only_neurons([neuron], "neuron", f"attention {neuron}" if neuron.kind == "head" else "")
    opened, circuit = session.opened(), session.circuit
    opened.anatomy.check(*neuron.site)
    yield Progress("attributing")
    encoded, target, attribution, notes = yield from attributed(session, circuit)
    seen = card.moments(attribution, encoded.tokens, neuron)
    everywhere = None
    if not no_verify and seen:
        strongest = sorted(seen, key=lambda moment: -abs(moment.attribution))[: card.MEASURED]
        places = sorted(moment.position for moment in strongest)
        effects, everywhere = yield from card.effects(opened, encoded.ids, neuron, target, places, session.cancel)
        seen = tuple(structs.replace(moment, effect=effects.get(moment.position)) for moment in seen)
        if len(places) < len(seen):
            notes.append(f"exact effects at the {len(places)} strongest of {len(seen)} positions")
    known = summed(neuron, seen, everywhere)
    incoming, outgoing = yield from edges_with_circuit(session, circuit, encoded, known, seen, notes)
    (pushed,) = lens.pushed(opened.anatomy, opened.tokenizer, [known], tokens)
    universal = yield from session.universal()
    ranked = () if circuit is None else circuit.neurons
    return NeuronCard(
        neuron=known,
        target=target,
        moments=seen,
        everywhere=everywhere,
        rank=next((rank for rank, other in enumerate(ranked, 1) if is_meant(other, neuron)), 0),
        circuit_size=len(ranked),
        up=pushed[0],
        down=pushed[1],
        column_norm=float(opened.anatomy.down_column(*neuron.site).float().norm()),
        reads=reading.reads(opened, neuron, tokens),
        universal=neuron.site in universal,
        tokens=encoded.tokens,
        atlas=profile_of(session, neuron),
        incoming=incoming[:EDGES],
        outgoing=outgoing[:EDGES],
        notes=tuple(notes),
    )


def universal_neurons(session: Session, *, tokens: int) -> Steps[UniversalShown]:
    """The model's universal neurons, with what each of them pushes."""
    from sessions.circuits.universal import PROMPTS, STRONGEST, listed
    from sessions.directions.lens import pushed
    from sessions.model.units import Unit

    opened = session.opened()
    universal = yield from listed(opened, session.home, session.cancel)
    neurons = [Unit(neuron.layer, neuron.index) for neuron in universal.neurons]
    pushes = pushed(opened.anatomy, opened.tokenizer, neurons, tokens)
    return UniversalShown(
        model=opened.info.name,
        rows=tuple(
            UniversalRow(neuron=neuron, prompts=constant.prompts, up=up, down=down)
            for neuron, constant, (up, down) in zip(neurons, universal.neurons, pushes, strict=True)
        ),
        prompts=len(PROMPTS),
        strongest=STRONGEST,
        published=universal.published,
    )
