"""What a rewriting needs of the session: a neuron that may be rewritten, and a token that it can push."""

from __future__ import annotations

from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.info import Token as TokenOfModel
from sessions.model.units import Neuron
from sessions.session import Session


def sacrificed_neuron(session: Session) -> Steps[tuple[Neuron, str]]:
    """A quiet neuron that nothing else is done with, and a remark on it."""
    from sessions.rewriting.sacrificing import rewritten_in, sacrificed

    latest = session.saved.latest_atlas()
    atlas = session.saved.read_atlas(latest)[0] if latest else None
    busy = {neuron.site for neuron in session.suppressed}
    busy |= {site for entry in session.edits().entries for site in rewritten_in(entry.edit)}
    return (yield from sacrificed(session.opened(), atlas, busy, cancel=session.cancel))


def rewritable(session: Session, text: str) -> Neuron:
    neurons = session.select(text).neurons
    if len(neurons) != 1 or neurons[0].position is not None:
        said = (
            f"is {len(neurons):,} neurons" if len(neurons) != 1 else "has a position, and an edit of weights has none"
        )
        raise UsageError(f"'{text}' {said}", "name one neuron: L12/N34")
    neuron = Neuron(*neurons[0].site)
    session.opened().anatomy.check(*neuron.site)
    if neuron.site in {each.site for each in session.suppressed}:
        raise UsageError(f"{neuron} is suppressed, so that it stays at 0", f"release {neuron}")
    return neuron


def one_token(session: Session, text: str) -> TokenOfModel:
    """The token that a text is; refused where it is several, since a neuron pushes one direction."""
    from sessions.model.tokens import ids_behind, token_text

    tokenizer = session.opened().tokenizer
    ids = ids_behind(tokenizer, text)
    if not ids:
        raise UsageError(f"{text!r} is not a token", 'for example: " Austin", with its leading space')
    pieces = [token_text(tokenizer, each) for each in ids]
    if len(pieces) > 1:
        listed = " ".join(f'"{piece}"' for piece in pieces)
        raise UsageError(
            f'"{text}" is {len(pieces)} tokens, {listed}, and a neuron pushes one',
            f'push the first, --push "{pieces[0]}", or take a text that is one token',
        )
    return TokenOfModel(ids[0], pieces[0])
