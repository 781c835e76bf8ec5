"""Hidden states as vectors: `capture`, and how a text and a place in it are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import structs

from commands.choices import BY, STATE
from commands.fields import Thinking
from commands.names import SavedName
from commands.prompting import NO_SWITCH
from commands.request import Arg, Flag, Opt, Request
from commands.vectors import taken_apart
from commands.verb import verb
from commands.words import ObservedWord, TextWord, Whole
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition
from sessions.model.info import Encoded, Prompt
from sessions.model.units import Neuron
from sessions.results import VectorShown
from sessions.session import Session
from sessions.store import Key

if TYPE_CHECKING:
    from sessions.atlas.atlas import By, Maximum
    from sessions.interventions.answering import ConditionedPrompt
    from sessions.model.hooks import StateSite

FAMILY = "Hidden states"


@verb(
    "capture",
    family=FAMILY,
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
                said = "--from takes text and position from the atlas" if self.neuron else "--from needs a neuron"
                raise UsageError(said, f"capture {self.name} L12/N34 --from atlas:{self.atlas}")
            chosen = _one(session, self.neuron)
            asked, position, found = _in_atlas(session, self.atlas, chosen, self.by or "magnitude", self.force)
            layer = chosen.layer if layer is None else layer
            notes.append(f"{chosen} is {found.value:+.3f} at {found.token!r}, position {found.position}, in the atlas")
        else:
            if self.neuron is not None:
                raise UsageError(f"'{self.neuron}' is a neuron, which needs an atlas", "name one: --from atlas:NAME")
            if self.by is not None:
                raise UsageError("--by needs an atlas", "name one: --from atlas:NAME")
            encoded, notes = text_of(session, self.text, self.raw, self.thinking, "--prompt")
            position = marked_in(encoded, self.at or "-1", self.nth, notes)
            asked = (encoded, Condition("source", session.in_force))
        if layer is None:
            raise UsageError("--layer is missing", f"layers are 0 to {opened.info.n_layers - 1}")
        check_layer(session, layer, self.site)
        vector = captured(
            opened,
            asked,
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


def _one(session: Session, text: str) -> Neuron:
    neurons = session.select(text).neurons
    if len(neurons) != 1:
        raise UsageError(f"'{text}' is {len(neurons):,} neurons; one is needed", "name one: L12/N34")
    session.opened().anatomy.check(*neurons[0].site)
    return neurons[0]


def _in_atlas(
    session: Session, name: str, neuron: Neuron, by: By, force: bool
) -> tuple[ConditionedPrompt, int, Maximum]:
    """The text that woke a neuron most, as far as the place where it did, and that place."""
    from sessions.directions.findings import Origin
    from sessions.model.tokens import token_text
    from sessions.patching.transplanting import source_of

    atlas, _ = session.saved.read_atlas(name, force=force)
    found = atlas.strongest(neuron, by)
    if found is None:
        raise UsageError(f"{neuron} was never computed in atlas '{name}'", "no token was routed to its expert")
    text = "".join(token_text(session.opened().tokenizer, each) for each in found.ids)
    origin = Origin(text=text, ids=found.ids, position=found.position, token=found.token)
    return source_of(session.opened().anatomy, origin, session.in_force), found.position, found


def text_of(
    session: Session, text: str | None, raw: bool, thinking: str | None, option: str
) -> tuple[Encoded, list[str]]:
    """A text as the model reads it, the session's prompt if there is none, and remarks on that."""
    opened = session.opened()
    if text is None:
        if raw or thinking is not None:
            flag = "--raw" if raw else "--thinking"
            raise UsageError(f"{flag} needs a text in this line", f"give one with {option}, or leave {flag} out")
        return session.encoded(), []
    notes = []
    if thinking is not None and not opened.info.has_thinking:
        notes.append(NO_SWITCH)
    switch = None if thinking is None else thinking == "on"
    return session.read(Prompt(text=text, chat=not raw, thinking=switch)), notes


def marked_in(encoded: Encoded, word: str, nth: int | None, notes: list[str]) -> int:
    """The position a word means in a text; what should be said of it is put to the notes."""
    from sessions.model.locate_word import marked

    mark = marked(encoded, word, nth)
    if mark.note:
        notes.append(mark.note)
    return mark.position


def check_layer(session: Session, layer: int, site: StateSite) -> None:
    """Raise `UsageError` or `ModelError` unless the model has this site of this layer."""
    from sessions.directions.vector import check_site

    anatomy = session.opened().anatomy
    anatomy.check_layer(layer)
    check_site(anatomy, site, layer)
