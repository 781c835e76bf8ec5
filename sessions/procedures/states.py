"""Texts and positions whose states are captured or replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.errors import UsageError
from sessions.model.info import Encoded, Prompt
from sessions.model.units import Unit, only_neurons
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.atlas.atlas import By, Maximum
    from sessions.interventions.answering import ConditionedPrompt
    from sessions.model.hooks import StateSite

#: What is said where --thinking is given and the template takes no such switch.
NO_SWITCH = "the template has no thinking switch; --thinking does nothing here"


def observed_neuron(session: Session, text: str) -> Unit:
    """The one neuron that a text names, in the open model."""
    neurons = only_neurons(session.select(text).neurons, "capturing a neuron")
    if len(neurons) != 1:
        raise UsageError(f"'{text}' is {len(neurons):,} neurons; one is needed", "name one: L12/N34")
    session.opened().anatomy.check(*neurons[0].site)
    return neurons[0]


def strongest_in_atlas(
    session: Session, name: str, neuron: Unit, by: By, force: bool
) -> tuple[ConditionedPrompt, int, Maximum]:
    """The text that woke a neuron most, as far as the place where it did, and that place."""
    from sessions.directions.findings import Origin
    from sessions.model.tokens import token_text
    from sessions.patching.transplanting import source_of

    atlas, _ = session.saved.read_atlas(name, force=force)
    strongest = atlas.strongest(neuron, by)
    if strongest is None:
        raise UsageError(f"{neuron} was never computed in atlas '{name}'", "no token was routed to its expert")
    text = "".join(token_text(session.opened().tokenizer, token) for token in strongest.ids)
    origin = Origin(text=text, ids=strongest.ids, position=strongest.position, token=strongest.token)
    return source_of(session.opened().anatomy, origin, session.in_force), strongest.position, strongest


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
