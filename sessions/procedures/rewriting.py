"""What a rewriting needs of the session: a neuron that may be rewritten, and a token that it can push."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.info import Token as TokenOfModel
from sessions.model.units import Unit, only_neurons
from sessions.results import Rewritten
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.rewriting.examples import Examples
    from sessions.rewriting.rewriting import Rewriting


def sacrificed_neuron(session: Session) -> Steps[tuple[Unit, str]]:
    """A quiet neuron that nothing else is done with, and a remark on it."""
    from sessions.rewriting.sacrificing import rewritten_in, sacrificed

    latest = session.saved.latest_atlas()
    atlas = session.saved.read_atlas(latest)[0] if latest else None
    busy = {suppressed.site for suppressed in session.suppressed}
    busy |= {site for entry in session.edits().entries for site in rewritten_in(entry.edit)}
    return (yield from sacrificed(session.opened(), atlas, busy, cancel=session.cancel))


def rewritable(session: Session, text: str) -> Unit:
    """The one neuron that a text names, if its weights may be rewritten."""
    neurons = only_neurons(session.select(text).neurons, "rewrite")
    if len(neurons) != 1 or neurons[0].position is not None:
        problem = (
            f"is {len(neurons):,} neurons" if len(neurons) != 1 else "has a position, and an edit of weights has none"
        )
        raise UsageError(f"'{text}' {problem}", "name one neuron: L12/N34")
    neuron = Unit(*neurons[0].site)
    session.opened().anatomy.check(*neuron.site)
    if neuron.anywhere in {held.anywhere for held in session.suppressed}:
        raise UsageError(f"{neuron} is suppressed, so that it stays at 0", f"release {neuron}")
    return neuron


def one_token(session: Session, text: str) -> TokenOfModel:
    """The token that a text is; refused where it is several, since a neuron pushes one direction."""
    from sessions.model.tokens import ids_behind, token_text

    tokenizer = session.opened().tokenizer
    ids = ids_behind(tokenizer, text)
    if not ids:
        raise UsageError(f"{text!r} is not a token", 'for example: " Austin", with its leading space')
    pieces = [token_text(tokenizer, token) for token in ids]
    if len(pieces) > 1:
        listed = " ".join(f'"{piece}"' for piece in pieces)
        raise UsageError(
            f'"{text}" is {len(pieces)} tokens, {listed}, and a neuron pushes one',
            f'push the first, --push "{pieces[0]}", or take a text that is one token',
        )
    return TokenOfModel(ids[0], pieces[0])


def unspaced(session: Session, text: str) -> list[str]:
    """A remark on a word without the space before it, where the model has a token with that space."""
    from sessions.model.tokens import ids_behind

    if not text[:1].isalnum() or len(ids_behind(session.opened().tokenizer, f" {text}")) > 1:
        return []
    return [f'"{text}" has no space before it; as a word of its own it is --push " {text}"']


def applied_rewrite(
    session: Session,
    made: Rewriting,
    token: TokenOfModel,
    examples: Examples,
    notes: Sequence[str],
    *,
    name: str,
    line: str,
    force: bool,
) -> Rewritten:
    """The edit, applied and saved, and what is said of it."""
    from sessions.edits.commuting import beside
    from sessions.rewriting.examples import counts
    from sessions.rewriting.rewriting import described, remarks

    neuron = made.made.neuron
    saved = session.take_edit(described(made, token, examples), name, line, force=force)
    return Rewritten(
        name=saved.name,
        neuron=neuron,
        token=token,
        rule=examples.rule,
        examples=examples.source,
        learnt=counts(examples.learnt),
        held=counts(examples.held),
        apart=examples.apart,
        rows=made.rows,
        chosen=made.chosen,
        before=made.before,
        scale_gate=made.made.scale_gate,
        scale_up=made.made.scale_up,
        bias=made.made.bias,
        separation=made.separation,
        firing=made.firing,
        norm=made.norm,
        normed=session.opened().anatomy.layers[neuron.layer].write_norm is not None,
        brake=made.brake,
        replies=made.replies,
        repetition=made.repetition,
        held_back=made.held_back,
        collapsed=made.collapsed,
        path=str(session.store.path("edit", saved.name)),
        notes=(*notes, *remarks(made, examples), *beside(session.opened(), session.edits(), saved)),
    )
