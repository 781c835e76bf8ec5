"""Chatting: a reply within a conversation, under the live interventions, its thought separated from its answer.

A reply that is cancelled half way is kept as far as it went: the steps return it instead of raising. Earlier thoughts
are kept in the conversation and passed to the chat template, which usually drops them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs
from torch import Tensor

from sessions.cancel import Cancel
from sessions.errors import Cancelled
from sessions.events import Steps, Text
from sessions.interventions.answering import compare
from sessions.interventions.arms import Arm, Condition
from sessions.model.generation import Decoding
from sessions.model.info import Conversation, Encoded, Prompt, Turn
from sessions.model.opening import OpenModel
from sessions.model.replies import lead
from sessions.model.thinking import apart, apart_in, markers
from sessions.model.tokens import ids_behind


@dataclass(frozen=True)
class ChatReply:
    """A generated reply: its arm, its thought, its answer, and the marker between the two, "" where there is none.

    `logits` are those of its first position, `[vocab]`, None where it was cancelled.
    """

    arm: Arm
    thought: str
    answer: str
    closing: str
    logits: Tensor | None


def next_prompt(conversation: Conversation, text: str) -> Prompt:
    """The prompt that the model reads when `text` is said next."""
    return Prompt(text=text, system=conversation.system, thinking=conversation.thinking, history=conversation.turns)


def replied(
    opened: OpenModel,
    encoded: Encoded,
    condition: Condition,
    decoding: Decoding,
    *,
    cancel: Cancel | None = None,
) -> Steps[ChatReply]:
    """Let the model reply; yields the text as it grows.

    Raises:
        Cancelled: nothing was said yet.
        UsageError, ModelError: as in `compare`.
    """
    reply = ""
    steps = compare(opened, encoded, [condition], decoding, cancel=cancel)
    try:
        with contextlib.closing(steps):
            while True:
                try:
                    event = next(steps)
                except StopIteration as stop:
                    (arm,), logits = stop.value
                    break
                if isinstance(event, Text):
                    reply += event.text
                yield event
    except Cancelled:
        if not reply:
            raise
        return _unfinished(opened, encoded, condition, reply)
    thought, answer = apart(opened.tokenizer, encoded.ids[encoded.reply :], arm.ids)
    answer = _own(opened, encoded, answer)
    if arm.stopped == "stop":  # a stop text was cut off the text, but not off the ids
        thought, answer = (thought, _cut(answer, decoding.stops)) if answer else (_cut(thought, decoding.stops), "")
    return ChatReply(arm, thought, answer, _parting(opened, thought, answer), logits[0])


def _own(opened: OpenModel, encoded: Encoded, answer: str) -> str:
    """An answer without the leading space that the template puts before every answer."""
    blank = lead(opened.tokenizer, encoded)
    return answer.removeprefix(blank) if blank.isspace() else answer


def _cut(text: str, stops: Sequence[str]) -> str:
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


def _unfinished(opened: OpenModel, encoded: Encoded, condition: Condition, text: str) -> ChatReply:
    """A reply as far as it was shown. Its ids are no longer known, so its text is tokenised again."""
    ids = ids_behind(opened.tokenizer, text)
    arm = Arm(
        name=condition.name,
        multiplier=condition.multiplier,
        text=text,
        ids=ids,
        stopped=Cancelled.kind,
        next_tokens=(),
        read=len(encoded.ids) + len(ids),
    )
    thought, answer = apart_in(opened.tokenizer, encoded.ids[encoded.reply :], text)
    answer = _own(opened, encoded, answer)
    return ChatReply(arm, thought, answer, _parting(opened, thought, answer), None)


def _parting(opened: OpenModel, thought: str, answer: str) -> str:
    return markers(opened.tokenizer).closing if thought and answer else ""


def gone_on(conversation: Conversation, text: str, reply: ChatReply, under: str = "") -> Conversation:
    """The conversation with this exchange appended; `under` names what was in force."""
    exchange = (Turn("user", text), Turn("assistant", reply.answer, reply.thought, under))
    return structs.replace(conversation, turns=(*conversation.turns, *exchange))


def forgotten(conversation: Conversation, exchanges: int, *, oldest: bool = False) -> Conversation:
    """The conversation without its last `exchanges`, or its first with `oldest`."""
    turns = conversation.turns
    kept = turns[2 * exchanges :] if oldest else turns[: max(0, len(turns) - 2 * exchanges)]
    return structs.replace(conversation, turns=kept)
