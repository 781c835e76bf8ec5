"""Hidden states of one text in another: `inject`."""

from __future__ import annotations

from typing import Annotated, Literal

from commands.capturing import FAMILY
from commands.choices import STATE
from commands.fields import Thinking
from commands.names import SavedName
from commands.ranges import ALL_LAYERS, LayersOrAll
from commands.request import Arg, Excludes, Flag, Opt, Request
from commands.verb import verb
from commands.words import Length, ListWord, NumberWord, ObservedWord, TextWord, TokenWord, Whole
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition
from sessions.procedures.injecting import ARMS, injected_beside, injected_by_layer, observed_neurons, target_in
from sessions.procedures.states import marked_in, text_of
from sessions.results import Injected, InjectedByLayer
from sessions.session import Session

_MAP = 'for example: inject texas --into "x is" --at x --layers all'


@verb(
    "inject",
    family=FAMILY,
    synonyms=("patchscope", "patchscopes", "transplant", "swap"),
    needs=("model",),
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
            notes += [f"{name}: {note}" for note in more]
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
        aim, observe = (
            target_in(session, encoded, notes, text=self.target),
            observed_neurons(session, observe=self.observe),
        )
        baseline = (encoded, Condition(ARMS[0], session.in_force))
        if layers is not None:
            return (
                yield from injected_by_layer(
                    session,
                    baseline,
                    transplants[0],
                    layers,
                    observe,
                    aim,
                    notes,
                    adds=self.add,
                    scale=self.scale,
                    per_layer_inputs=self.per_layer_inputs,
                )
            )
        return (
            yield from injected_beside(
                session,
                baseline,
                transplants,
                observe,
                aim,
                notes,
                per_layer_inputs=self.per_layer_inputs,
                max_tokens=self.max_tokens,
                adds=self.add,
                scale=self.scale,
            )
        )


def _range(layers: tuple[int, int] | str | None, count: int) -> range | None:
    """The layers of a map, all of them where the line says so; None where no map is asked for."""
    if layers is None:
        return None
    return range(count) if layers == ALL_LAYERS else range(int(layers[0]), int(layers[1]) + 1)
