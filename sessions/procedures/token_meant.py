"""Which token a typed word means: with a space before it, or without.

Most words of a text follow a space, and tokenizers have it in the token: " Austin" is another token than "Austin".
Where the model finds the one with the space `LIKELIER` times as likely, it is the one that is meant by a word that was
typed without quotes. A quoted word, a word of a command file and a text given in Python are taken as they are, and a
remark says that the other is likelier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.errors import NotFinite
from sessions.model.target import UnquotedToken
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.model.info import Encoded

#: How many times as likely a token with a leading space is where it is the one that is meant.
LIKELIER = 100.0


def token_meant(session: Session, text: str, encoded: Encoded | None = None) -> tuple[str, list[str]]:
    """The text of the token that is meant as the next one after a prompt, the session's unless given; and remarks."""
    from sessions.interventions.answering import running_rows
    from sessions.interventions.arms import Condition
    from sessions.model.distribution import next_logits
    from sessions.model.tokens import continuation

    if not text[:1].isalnum():
        return text, []
    opened, read = session.opened(), session.encoded() if encoded is None else encoded
    spaced = f" {text}"
    plain, other = (continuation(opened.tokenizer, read, each).tokens[0].id for each in (text, spaced))
    if plain == other:
        return text, []
    try:
        with running_rows(opened, [(read, Condition("", session.in_force))]):
            probabilities = next_logits(opened, read.ids, session.cancel).softmax(-1)
    except NotFinite:
        return text, []  # the verb says where that begins
    p, likelier = float(probabilities[plain]), float(probabilities[other])
    if likelier < LIKELIER * p or likelier == 0:
        return text, []
    figures = f"(p {likelier:.2g} against {p:.2g})"
    if isinstance(text, UnquotedToken) and not session.files:
        remark = (
            f'"{spaced}" was taken, which is likelier than "{text}" {figures}; "{text}" in quotes means exactly that'
        )
        return spaced, [remark]
    return text, [f'"{spaced}" with its leading space is likelier here than "{text}" {figures}']
