"""Hidden states of one text in another: `inject`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commands.capturing import FAMILY, check_layer, marked_in, text_of
from commands.choices import STATE, THINKING
from commands.names import SavedName
from commands.prompting import decoded
from commands.ranges import ALL_LAYERS, LayersOrAll
from commands.verb import argument, option, verb
from commands.words import Length, Listed, Number, Observed, Text, Token, Whole
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, shifts
from sessions.model.info import Encoded
from sessions.model.target import Target
from sessions.model.units import Neuron
from sessions.patching.transplants import Placed
from sessions.results import Injected, InjectedByLayer
from sessions.session import Reading, Session

if TYPE_CHECKING:
    from sessions.directions.vector import Vector
    from sessions.interventions.answering import Asked
    from sessions.model.hooks import StateSite
    from sessions.patching.transplanting import Transplant

#: Neurons that are observed at most.
_MOST = 50
#: The text as it is, and the arms beside it.
_ARMS = ("baseline", "injected", "random")


@dataclass(frozen=True)
class Wanted:
    """How vectors are put into a text, and what is looked at there."""

    adds: bool
    scale: float
    inputs: bool
    observe: tuple[Neuron, ...]
    target: Target | None


@verb("inject", family=FAMILY, example='inject texas --into "A detailed description of x is that" --at x --raw')
@argument("names", metavar="NAME,…", help="captured vectors, as many as places", type=Listed())
@option("--into", type=Text(), help="the text to put them into (default: the session's prompt)")
@option("--at", type=Listed(), required=True, help="where in it: words, or positions, with commas between them")
@option("--nth", type=Whole(), help="which one, where a word stands there several times")
@option("--layer", type=Whole(0), help="the layer to put them at (default: the one they are from)")
@option("--layers", type=LayersOrAll(), help="from each of these layers into each of them: a map instead of a text")
@option("--site", type=STATE, help="where in the layer (default: where they are from)")
@option("--add", is_flag=True, help="add them to what stands there instead of replacing it")
@option("--scale", type=Number(), default=1.0, help="times how much")
@option("--observe", type=Observed(), help="neurons to read at the place (default: those the source woke most)")
@option("--target", type=Token(), help="a token whose probability to show as the next one")
@option("--per-layer-inputs", is_flag=True, help="swap the per-layer embeddings of the position as well")
@option("--max-tokens", "--generate", "max_tokens", type=Length(), help="tokens to generate at most")
@option("--raw", is_flag=True, help="read the text as it stands, without the chat template")
@option("--thinking", type=THINKING, help="let a thinking model think, where its template has the switch")
@option("--force", is_flag=True, help="even if they were captured on another model of that width")
def inject(
    session: Session,
    names: tuple[str, ...],
    into: str | None,
    at: tuple[str, ...],
    nth: int | None,
    layer: int | None,
    layers: tuple[int, int] | str | None,
    site: StateSite | None,
    add: bool,
    scale: float,
    observe: str | None,
    target: str | None,
    per_layer_inputs: bool,
    max_tokens: int | None,
    raw: bool,
    thinking: str | None,
    force: bool,
) -> Steps[Injected | InjectedByLayer]:
    """Put captured states into another text and see what the model makes of them.

    At each place the state of the text is replaced, in the prompt and so in all that is generated from it. Beside
    the text as it is and the one with the states stands one with random vectors of the same norms. Neurons are
    read at the place: in the source, in the text as it is, with the state, and with the random vector.

    With --layers there is no text: what the source holds at each layer is put at each layer, and a map shows how
    much came over: the activation of the neuron that is observed, the probability of the --target or, without
    either, KL in nats of the next token from the source's.
    """
    opened = session.opened()
    if per_layer_inputs and not opened.anatomy.embeds_per_layer:
        raise UsageError(f"{opened.info.name} has no per-layer embeddings", "leave out --per-layer-inputs")
    encoded, notes = text_of(session, into, raw, thinking, "--into")
    vectors = []
    for name in names:
        found, more = session.saved.read_vector(SavedName("vector").read(name), force=force)
        vectors.append(found)
        notes += [f"{name}: {each}" for each in more]
    if len(vectors) == 1:
        vectors *= len(at)
    if len(vectors) != len(at):
        raise UsageError(f"there are {len(vectors)} vectors and {len(at)} places", "as many of one as of the other")
    positions = [marked_in(encoded, word, nth, notes) for word in at]
    aim = _aim(session, encoded, target, notes)
    wanted = Wanted(add, scale, per_layer_inputs, _observed(session, observe), aim)
    asked = (encoded, Condition(_ARMS[0], session.in_force))
    if layers is not None:
        if layer is not None or max_tokens is not None or len(at) > 1:
            wrong = "one vector at one place" if len(at) > 1 else "no --layer" if layer is not None else "no text"
            raise UsageError(f"a map of --layers has {wrong}", 'for example: inject texas --into "x is" --at x')
        chosen = range(opened.info.n_layers) if layers == ALL_LAYERS else range(int(layers[0]), int(layers[1]) + 1)
        transplant = _transplant(session, vectors[0], positions[0], chosen[0], site, wanted)
        return (yield from _by_layer(session, asked, transplant, chosen, wanted, notes))
    transplants = [
        _transplant(session, vector, position, layer, site, wanted)
        for vector, position in zip(vectors, positions, strict=True)
    ]
    return (yield from _beside(session, asked, transplants, wanted, max_tokens, notes))


def _observed(session: Session, text: str | None) -> tuple[Neuron, ...]:
    if text is None:
        return ()
    neurons = tuple({neuron.site: neuron for neuron in session.select(text).neurons}.values())
    if len(neurons) > _MOST:
        raise UsageError(f"'{text}' is {len(neurons):,} neurons; {_MOST} are observed at most", "for example: top10")
    for neuron in neurons:
        session.opened().anatomy.check(*neuron.site)
    return neurons


def _aim(session: Session, encoded: Encoded, target: str | None, notes: list[str]) -> Target | None:
    if target is None:
        return None
    from sessions.model.tokens import continuation

    found = continuation(session.opened().tokenizer, encoded, target)
    notes += found.notes
    if len(found.tokens) > 1:
        notes.append(f"{target!r} is {len(found.tokens)} tokens; the first is meant, {found.tokens[0].text!r}")
    return Target(tokens=found.tokens[:1], value=0.0)


def _transplant(
    session: Session,
    vector: Vector,
    position: int,
    layer: int | None,
    site: StateSite | None,
    wanted: Wanted,
) -> Transplant:
    """A vector and its place, after every check on them."""
    from sessions.patching.transplanting import Transplant

    anatomy = session.opened().anatomy
    where = site or vector.site
    if vector.site == "neurons" or where == "neurons":
        raise UsageError(
            f"vector '{vector.name}' is over the neurons of a layer, and a state is one of the residual stream",
            f"shift adds to neurons; capture {vector.name} at a state",
        )
    own = vector.layers[0] if len(vector.layers) == 1 else layer
    if own is None or (own not in vector.directions):
        raise UsageError(
            f"vector '{vector.name}' has {len(vector.layers)} layers, {vector.layers[0]} to {vector.layers[-1]}",
            "say which: --layer N",
        )
    into = own if layer is None else layer
    check_layer(session, into, where)
    state = vector.directions[own]
    if len(state) != anatomy.d_model:
        raise ArtifactError(
            f"vector '{vector.name}' has {len(state):,} numbers, and this model's states have {anatomy.d_model:,}",
            "open the model it was made on",
        )
    return Transplant(vector, state * wanted.scale, into, where, position, wanted.adds)


def _doubts(session: Session, transplants: Sequence[Transplant], observe: Sequence[Neuron]) -> list[str]:
    """What is to be said of vectors, and of neurons, before anything is read off them."""
    from sessions.patching.transplanting import first_reader

    notes = []
    for each in {id(one.vector): one for one in transplants}.values():
        vector, origin = each.vector, each.vector.origin
        if origin is None:
            notes.append(f"'{vector.name}' was not captured in a text: there is no source to hold it against")
        elif origin.under != session.under():
            notes.append(f"'{vector.name}' was captured while other neurons were suppressed, or other edits on")
    notes += _other_streams(session, [each.site for each in transplants])
    if any(each.position == 0 for each in transplants):
        notes.append("position 0 begins the text: no other state is like it, and all that follows looks at it")
    first = min(first_reader(each.layer, each.site) for each in transplants)
    below = [neuron for neuron in observe if neuron.layer < first]
    if below:
        notes.append(f"{below[0]} is below layer {first}, and the place it is read at does not change there")
    return notes


def _other_streams(session: Session, sites: Sequence[StateSite]) -> list[str]:
    """What is to be said where a state of the residual stream is one of several streams."""
    count = session.opened().anatomy.streams
    if count == 1 or not any(site.startswith("resid") for site in sites):
        return []
    return [
        f"this model has {count} residual streams: the state goes into the one that attention and MLPs read, and "
        f"{'the other' if count == 2 else f'the {count - 1} others'} stay as they are"
    ]


def _beside(
    session: Session,
    asked: Asked,
    transplants: Sequence[Transplant],
    wanted: Wanted,
    max_tokens: int | None,
    notes: list[str],
) -> Steps[Injected]:
    """The text as it is, with the vectors, and with random ones."""
    from sessions.interventions.answering import compare
    from sessions.patching.injecting import injected
    from sessions.patching.transplanting import transplanted

    opened, (encoded, condition), rng = session.opened(), asked, session.settings.rng
    plan = yield from transplanted(
        opened, asked, transplants, observe=wanted.observe, inputs=wanted.inputs, rng=rng, cancel=session.cancel
    )
    conditions = [Condition(name, condition.treatments) for name in _ARMS]
    decoding = decoded(session, max_tokens=max_tokens, length=len(encoded.ids))
    with injected(opened.anatomy, plan.rows):
        arms, logits = yield from compare(
            opened, encoded, conditions, decoding, target=wanted.target, cancel=session.cancel
        )
    session.reading = Reading(text=arms[1].text, baseline=arms[0].text, logits=logits[1])
    return Injected(
        encoded=encoded,
        adds=wanted.adds,
        scale=wanted.scale,
        inputs=wanted.inputs,
        placed=plan.placed,
        observed=plan.observed,
        target=wanted.target,
        arms=arms,
        shifts=shifts(arms[0], arms[1]),
        notes=(*notes, *_doubts(session, transplants, wanted.observe)),
    )


def _by_layer(
    session: Session,
    asked: Asked,
    transplant: Transplant,
    layers: range,
    wanted: Wanted,
    notes: list[str],
) -> Steps[InjectedByLayer]:
    """From every layer of the source into every layer of the text."""
    from sessions.patching.layer_sweep import swept

    opened, origin, vector = session.opened(), transplant.vector.origin, transplant.vector
    if origin is None or vector.fingerprint != opened.info.fingerprint:
        raise ArtifactError(
            f"vector '{vector.name}' was not captured in a text of this model, which would be read at every layer",
            "capture one: capture NAME --prompt TEXT --at WORD --layer N",
        )
    observe, target = wanted.observe, wanted.target
    if len(observe) > 1 or (observe and target is not None):
        raise UsageError("a map shows one thing", "observe one neuron, or name a --target")
    for layer in layers:
        check_layer(session, layer, transplant.site)
    found = yield from swept(
        opened,
        asked,
        transplant.position,
        origin,
        layers,
        transplant.site,
        observe=observe[0] if observe else None,
        target=target.tokens[0].id if target is not None else None,
        adds=wanted.adds,
        scale=wanted.scale,
        inputs=wanted.inputs,
        rng=session.settings.rng,
        cancel=session.cancel,
    )
    place = Placed(
        name=vector.name,
        position=transplant.position,
        token=asked[0].tokens[transplant.position],
        layer=vector.layers[0],
        site=transplant.site,
        norm=float(transplant.state.norm()),
        replaced=0.0,
        cosine=None,
        came_from=origin.token,
        reaches=found.reaches_below > 0,
        reaches_below=found.reaches_below,
    )
    return InjectedByLayer(
        encoded=asked[0],
        adds=wanted.adds,
        scale=wanted.scale,
        inputs=wanted.inputs,
        place=place,
        measure="activation" if observe else "kl" if target is None else "probability",
        observed=observe[0] if observe else None,
        target=target,
        map=found,
        notes=(*notes, *_other_streams(session, [transplant.site])),
    )
