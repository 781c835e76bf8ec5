"""Hidden states of one text in another: `inject`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from commands.capturing import FAMILY
from commands.choices import STATE
from commands.fields import Thinking
from commands.names import SavedName
from commands.ranges import ALL_LAYERS, LayersOrAll
from commands.request import Arg, Excludes, Flag, Opt, Request
from commands.verb import verb
from commands.words import Length, ListWord, NumberWord, ObservedWord, TextWord, TokenWord, Whole
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, shifts
from sessions.model.info import Encoded
from sessions.model.target import Target
from sessions.model.units import Neuron
from sessions.procedures.generating import decoded
from sessions.procedures.states import check_layer, marked_in, text_of
from sessions.results import Injected, InjectedByLayer
from sessions.session import LastOutput, Session

if TYPE_CHECKING:
    from sessions.interventions.answering import ConditionedPrompt
    from sessions.patching.transplanting import Transplant

#: Neurons that are observed at most.
_MOST = 50
#: The text as it is, and the arms beside it.
_ARMS = ("baseline", "injected", "random")
_MAP = 'for example: inject texas --into "x is" --at x --layers all'


@verb(
    "inject",
    family=FAMILY,
    example=(
        'inject texas --into "A detailed description of x is that" --at x --raw',
        'inject texas --into "x is" --at x --layers all',
        'inject texas --into "x is" --at x --layer 12 --observe top10',
    ),
)
class InjectStates(Request, frozen=True, kw_only=True):
    """Put captured states into another text and generate from there.

    The states replace those at the given positions of the text. The result shows three texts: unchanged, with the
    states, and with random vectors of the same norms. Neurons are read at the position: in the source, in the
    unchanged text, with the state, and with the random vector.

    With --layers nothing is generated: the source's state at each layer is put at each layer, and a map shows how
    much arrives: the activation of the observed neuron, the probability of the --target or, without either, KL in
    nats of the next token from the source's.
    """

    names: Annotated[
        tuple[str, ...], Arg(ListWord(), "captured vectors, one for all positions or one for each", metavar="NAME,…")
    ]
    into: Annotated[str | None, Opt(TextWord(), "the text to put them into (default: the session's prompt)")] = None
    at: Annotated[tuple[str, ...], Opt(ListWord(), "where in it: words or positions, separated by commas")]
    nth: Annotated[int | None, Opt(Whole(), "which occurrence, where a word occurs several times")] = None
    layer: Annotated[int | None, Opt(Whole(0), "the layer to put them at (default: the layer they are from)")] = None
    layers: Annotated[
        tuple[int, int] | str | None,
        Opt(LayersOrAll(), "a map instead of a text: from each of these layers into each of them"),
    ] = None
    site: Annotated[
        Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None,
        Opt(STATE, "where in the layer (default: the site they are from)"),
    ] = None
    add: Annotated[bool, Flag("add them to the states there instead of replacing these")] = False
    scale: Annotated[float, Opt(NumberWord(), "multiply them by this")] = 1.0
    observe: Annotated[
        str | None, Opt(ObservedWord(), "neurons to read at the position (default: the strongest in the source)")
    ] = None
    target: Annotated[str | None, Opt(TokenWord(), "show the probability of this token as the next one")] = None
    per_layer_inputs: Annotated[bool, Flag("swap the per-layer embeddings of the position as well")] = False
    max_tokens: Annotated[int | None, Opt(Length(), "tokens to generate at most", also="--generate")] = None
    raw: Annotated[bool, Flag("read the text as it stands, without the chat template")] = False
    thinking: Thinking = None
    force: Annotated[bool, Flag("use vectors captured on another model of that width")] = False

    rules = (
        Excludes("layers", ("layer",), "--layers and --layer exclude each other", _MAP),
        Excludes("layers", ("max_tokens",), "a map of --layers generates no text", _MAP),
    )

    def run(self, session: Session) -> Steps[Injected | InjectedByLayer]:
        from sessions.patching.transplanting import Transplant

        opened = session.opened()
        if self.per_layer_inputs and not opened.anatomy.embeds_per_layer:
            raise UsageError(f"{opened.info.name} has no per-layer embeddings", "leave out --per-layer-inputs")
        encoded, notes = text_of(session, self.into, self.raw, self.thinking, "--into")
        vectors = []
        for name in self.names:
            vector, more = session.saved.read_vector(SavedName("vector").read(name), force=self.force)
            vectors.append(vector)
            notes += [f"{name}: {each}" for each in more]
        if len(vectors) == 1:
            vectors *= len(self.at)
        if len(vectors) != len(self.at):
            raise UsageError(
                f"there are {len(vectors)} vectors and {len(self.at)} places", "give one vector, or as many as places"
            )
        places = [marked_in(encoded, word, self.nth, notes) for word in self.at]
        if self.layers is not None and len(self.at) > 1:
            raise UsageError("a map of --layers takes one vector at one place", _MAP)
        layers = _range(self.layers, opened.info.n_layers)
        layer = self.layer if layers is None else layers[0]
        transplants = [
            Transplant.of(opened.anatomy, vector, place, layer=layer, site=self.site, scale=self.scale, adds=self.add)
            for vector, place in zip(vectors, places, strict=True)
        ]
        aim, observe = self._aim(session, encoded, notes), self._observed(session)
        asked = (encoded, Condition(_ARMS[0], session.in_force))
        if layers is not None:
            return (yield from self._by_layer(session, asked, transplants[0], layers, observe, aim, notes))
        return (yield from self._beside(session, asked, transplants, observe, aim, notes))

    def _aim(self, session: Session, encoded: Encoded, notes: list[str]) -> Target | None:
        """The token whose probability is shown; what should be said of it is put to the notes."""
        if self.target is None:
            return None
        from sessions.model.tokens import continuation

        found = continuation(session.opened().tokenizer, encoded, self.target)
        notes += found.notes
        if len(found.tokens) > 1:
            notes.append(f"{self.target!r} is {len(found.tokens)} tokens; the first is meant, {found.tokens[0].text!r}")
        return Target(tokens=found.tokens[:1], value=0.0)

    def _observed(self, session: Session) -> tuple[Neuron, ...]:
        if self.observe is None:
            return ()
        neurons = tuple({neuron.site: neuron for neuron in session.select(self.observe).neurons}.values())
        if len(neurons) > _MOST:
            raise UsageError(
                f"'{self.observe}' is {len(neurons):,} neurons; {_MOST} are observed at most", "for example: top10"
            )
        for neuron in neurons:
            session.opened().anatomy.check(*neuron.site)
        return neurons

    def _beside(
        self,
        session: Session,
        asked: ConditionedPrompt,
        transplants: Sequence[Transplant],
        observe: tuple[Neuron, ...],
        aim: Target | None,
        notes: list[str],
    ) -> Steps[Injected]:
        """The text as it is, with the vectors, and with random ones."""
        from sessions.interventions.answering import compare
        from sessions.patching.injecting import injected
        from sessions.patching.transplanting import remarks, transplanted

        opened, (encoded, condition), inputs = session.opened(), asked, self.per_layer_inputs
        plan = yield from transplanted(
            opened,
            asked,
            transplants,
            observe=observe,
            inputs=inputs,
            rng=session.settings.rng,
            cancel=session.cancel,
        )
        conditions = [Condition(name, condition.treatments) for name in _ARMS]
        decoding = decoded(session, max_tokens=self.max_tokens, length=len(encoded.ids))
        with injected(opened.anatomy, plan.rows):
            arms, logits = yield from compare(opened, encoded, conditions, decoding, target=aim, cancel=session.cancel)
        session.last_output = LastOutput(text=arms[1].text, baseline=arms[0].text, logits=logits[1])
        return Injected(
            encoded=encoded,
            adds=self.add,
            scale=self.scale,
            inputs=inputs,
            placed=plan.placed,
            observed=plan.observed,
            target=aim,
            arms=arms,
            shifts=shifts(arms[0], arms[1]),
            notes=(*notes, *remarks(opened.anatomy, transplants, observe, session.state_key())),
        )

    def _by_layer(
        self,
        session: Session,
        asked: ConditionedPrompt,
        transplant: Transplant,
        layers: range,
        observe: tuple[Neuron, ...],
        aim: Target | None,
        notes: list[str],
    ) -> Steps[InjectedByLayer]:
        """From every layer of the source into every layer of the text."""
        from sessions.patching.layer_sweep import swept
        from sessions.patching.transplanting import other_streams

        opened, origin, vector = session.opened(), transplant.vector.origin, transplant.vector
        if origin is None or vector.fingerprint != opened.info.fingerprint:
            raise ArtifactError(
                f"vector '{vector.name}' has no text of this model, which a map reads at every layer",
                "capture one: capture NAME --prompt TEXT --at WORD --layer N",
            )
        if len(observe) > 1 or (observe and aim is not None):
            raise UsageError("a map shows one thing", "observe one neuron, or name a --target")
        for layer in layers:
            check_layer(session, layer, transplant.site)
        layer_map = yield from swept(
            opened,
            asked,
            transplant.position,
            origin,
            layers,
            transplant.site,
            observe=observe[0] if observe else None,
            target=None if aim is None else aim.tokens[0].id,
            adds=self.add,
            scale=self.scale,
            inputs=self.per_layer_inputs,
            rng=session.settings.rng,
            cancel=session.cancel,
        )
        return InjectedByLayer(
            encoded=asked[0],
            adds=self.add,
            scale=self.scale,
            inputs=self.per_layer_inputs,
            place=transplant.mapped(asked[0].tokens[transplant.position], layer_map.reaches_below),
            measure="activation" if observe else "kl" if aim is None else "probability",
            observed=observe[0] if observe else None,
            target=aim,
            map=layer_map,
            notes=(*notes, *other_streams(opened.anatomy, [transplant.site])),
        )


def _range(layers: tuple[int, int] | str | None, count: int) -> range | None:
    """The layers of a map, all of them where the line says so; None where no map is asked for."""
    if layers is None:
        return None
    return range(count) if layers == ALL_LAYERS else range(int(layers[0]), int(layers[1]) + 1)
