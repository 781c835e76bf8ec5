"""Hidden states as vectors: `capture`, and how a text and a place in it are named."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import structs

from commands.choices import BY, STATE
from commands.fields import Thinking
from commands.names import SavedName
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import ObservedWord, TextWord, Whole
from sessions.artifacts import Key
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition
from sessions.procedures.states import check_layer, marked_in, observed_neuron, strongest_in_atlas, text_of
from sessions.procedures.vectors import taken_apart
from sessions.results import VectorShown
from sessions.session import Session

FAMILY = "Hidden states"


@verb(
    "capture",
    family=FAMILY,
    synonyms=("hidden state", "residual", "extract", "get activations", "record state"),
    needs=("model",),
    example=(
        'capture texas --prompt "The capital of Texas" --at Texas --layer 8 --raw',
        "capture wild L12/N34 --from atlas:small",
    ),
)
class Capture(Request, frozen=True):
    """Save the hidden state at one position of a text as a vector.

    The position is a number, or a word of the text, whose last token is taken. The vector records where it comes
    from, and inject puts it into other texts. With --from, text and position are those in an atlas where the
    neuron's activation is strongest: capture wild L12/N34 --from atlas:demo.
    """

    name: Annotated[str, Arg(SavedName("vector"), "the name to save it under")]
    neuron: Annotated[
        str | None, Arg(ObservedWord(), "with --from: the neuron whose strongest activation is looked up")
    ] = None
    text: Annotated[
        str | None, Opt(TextWord(), "the text to read (default: the session's prompt)", flag="--prompt")
    ] = None
    atlas: Annotated[
        str | None,
        Opt(SavedName("atlas"), "an atlas, atlas:NAME: read the text where the neuron is strongest", flag="--from"),
    ] = None
    by: Annotated[
        Literal["magnitude", "positive"] | None,
        Opt(BY, "with --from: strongest by magnitude (the default) or by positive activation"),
    ] = None
    at: Annotated[str | None, Opt(TextWord(), "a word of the text, or a position (default: -1, the last)")] = None
    nth: Annotated[int | None, Opt(Whole(), "which occurrence, where the word occurs several times")] = None
    layer: Annotated[int | None, Opt(Whole(0), "the layer (with --from, the neuron's own)")] = None
    site: Annotated[Literal["resid_pre", "resid_post", "mlp_out", "attn_out"], Opt(STATE, "where in the layer")] = (
        "resid_pre"
    )
    raw: Annotated[bool, Flag("read the text as it stands, without the chat template")] = False
    thinking: Thinking = None
    force: Annotated[bool, Flag("replace a vector of that name; use an atlas of another model")] = False

    def run(self, session: Session) -> Steps[VectorShown]:
        from sessions.patching.transplanting import captured

        layer = self.layer
        opened = session.opened()
        session.store.check_new("vector", self.name, self.force)
        notes: list[str] = []
        if self.atlas is not None:
            if self.neuron is None or self.text is not None or self.at is not None:
                problem = "--from takes text and position from the atlas" if self.neuron else "--from needs a neuron"
                raise UsageError(problem, f"capture {self.name} L12/N34 --from atlas:{self.atlas}")
            chosen = observed_neuron(session, self.neuron)
            source, position, maximum = strongest_in_atlas(
                session, self.atlas, chosen, self.by or "magnitude", self.force
            )
            layer = chosen.layer if layer is None else layer
            notes.append(
                f"{chosen} is {maximum.value:+.3f} at {maximum.token!r}, position {maximum.position}, in the atlas"
            )
        else:
            if self.neuron is not None:
                raise UsageError(f"'{self.neuron}' is a neuron, which needs an atlas", "name one: --from atlas:NAME")
            if self.by is not None:
                raise UsageError("--by needs an atlas", "name one: --from atlas:NAME")
            encoded, notes = text_of(session, self.text, self.raw, self.thinking, "--prompt")
            position = marked_in(encoded, self.at or "-1", self.nth, notes)
            source = (encoded, Condition("source", session.in_force))
        if layer is None:
            raise UsageError("--layer is missing", f"layers are 0 to {opened.info.n_layers - 1}")
        check_layer(session, layer, self.site)
        vector = captured(
            opened,
            source,
            position,
            layer,
            self.site,
            neuron=str(chosen) if self.atlas is not None else "",
            suppressed=session.state_key(),
            cancel=session.cancel,
        )
        named = vector.named(self.name, vector.model, vector.fingerprint)
        result = yield from taken_apart(session, named, [layer])
        line = structs.replace(self, layer=layer, force=False).line()
        path = session.keep(Key("vector", self.name), vector, line, force=self.force)
        return structs.replace(result, path=str(path), notes=tuple(notes))
