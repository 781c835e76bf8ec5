"""A conversation as the model reads it, and what to say of a reply that did not end by itself."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from sessions.errors import ModelError, UsageError
from sessions.events import Steps, Text
from sessions.model.info import Conversation, Encoded, Prompt
from sessions.results import Forgotten
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.comparisons.chatting import ChatReply
    from sessions.model.generation import Decoding


def without_text(steps: Steps[ChatReply]) -> Steps[ChatReply]:
    """The same steps without the text as it grows: another one stands there."""
    reply = None
    with closing(steps):
        while reply is None:
            try:
                event = next(steps)
            except StopIteration as stop:
                reply = stop.value
            else:
                if not isinstance(event, Text):
                    yield event
    return reply


def read_conversation(session: Session, prompt: Prompt) -> Encoded:
    """What is said next, as the model reads it with all that was said before."""
    try:
        return session.read(prompt)
    except UsageError as error:
        if not prompt.history:
            raise
        raise UsageError(f"with what was said before, {error.message}", "make room: forget 1 --oldest") from error
    except ModelError as error:
        raise ModelError(error.message, "try without --system, or start over: forget") from error


def in_force_words(session: Session) -> str:
    """What the model is under, in words."""
    suppressed = f"{len(session.suppressed):,} suppressed" if session.suppressed else ""
    return ", ".join(filter(None, [*(treatment.said for treatment in session.live), suppressed]))


def remarks_on_reply(session: Session, encoded: Encoded, reply: ChatReply, decoding: Decoding) -> list[str]:
    """What a user should know of a reply that did not end by itself."""
    context = session.opened().anatomy.context
    full = context is not None and len(encoded.ids) + decoding.max_tokens > context
    match reply.arm.stopped:
        case "cancelled":
            return ["the reply was cancelled and is kept as far as it went; forget 1 removes it"]
        case "length" if full:
            return ["the model has no more positions; forget 1 --oldest makes room"]
        case "length" if reply.thought and not reply.answer:
            return ["the reply ended inside its thought; raise --max-tokens, or use --thinking off"]
        case "nan" if not reply.arm.text:
            return ["the reply is empty and is not kept"]
    return []


def forget(session: Session, *, count: int | None, oldest: bool) -> Forgotten:
    """Clear the conversation, or some of its exchanges."""
    from sessions.comparisons.chatting import forgotten

    before = len(session.history)
    if count is not None and count > before:
        have = f"there are only {before}" if before > 1 else "there is only one" if before else "nothing was said yet"
        raise UsageError(f"{have}: {count} exchanges cannot be forgotten", "see them: history; or forget, for all")
    session.history = Conversation() if count is None else forgotten(session.history, count, oldest=oldest)
    return Forgotten(exchanges=before - len(session.history), left=len(session.history))
