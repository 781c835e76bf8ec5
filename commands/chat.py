"""Talking to a model: `say`, `history`, `forget`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.fields import Thinking
from commands.prompting import NO_SWITCH, Generation, hashes
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import Prose, Whole, Word
from sessions.errors import Cancelled, ModelError, UsageError
from sessions.events import Steps, Text
from sessions.interventions.arms import Condition, unopened
from sessions.model.info import Conversation, Encoded, Prompt
from sessions.results import Forgotten, HistoryShown, Said
from sessions.session import LastOutput, Session

if TYPE_CHECKING:
    from sessions.comparisons.chatting import ChatReply
    from sessions.model.generation import Decoding

FAMILY = "Chat"


@verb(
    "say",
    family=FAMILY,
    example=("say What is the capital of Texas?", 'say And of France? --system "Answer in one word."'),
)
class Say(Request, frozen=True):
    """Talk to the model; it remembers the conversation.

    Suppression and live interventions are in force. Where they are limited to the thought or the answer, the reply
    reports how many neurons each part has and at how many tokens they were in force. --system and --thinking hold
    for the rest of the conversation. A cancelled reply is kept as far as it went. history shows the conversation,
    forget clears it. The prompt and its seed play no part in it. --compare also shows the reply without the live
    interventions; the conversation continues with the first reply.
    """

    text: Annotated[tuple[str, ...], Arg(Prose(), "what you say; words are joined by single spaces", many=True)]
    system: Annotated[str | None, Opt(Word(), "system text of the conversation, instead of the template's own")] = None
    thinking: Thinking = None
    compared: Annotated[bool, Flag("also show the reply without the live interventions", flag="--compare")] = False
    how: Generation = Generation()

    def run(self, session: Session) -> Steps[Said]:
        from sessions.comparisons.chatting import asked, gone_on, replied

        opened, said = session.opened(), " ".join(self.text)
        if not opened.info.has_template:
            raise ModelError(
                f"{opened.info.name} has no chat template, so it cannot chat",
                "continue a text with prompt TEXT and generate, or open a chat model: model smollm2",
            )
        if self.compared and not session.live:
            raise UsageError(
                "nothing is live, so there is nothing to compare with",
                "make something live, shift L24/N1005 2 --live, or use arms",
            )
        conversation = session.history
        if self.system is not None:
            conversation = structs.replace(conversation, system=self.system)
        if self.thinking is not None and opened.info.has_thinking:
            conversation = structs.replace(conversation, thinking=self.thinking == "on")
        encoded = _read(session, asked(conversation, said))
        decoding = self.how.decoding(session, len(encoded.ids))
        reply = yield from replied(opened, encoded, Condition("", session.in_force), decoding, cancel=session.cancel)
        if reply.arm.text or reply.arm.stopped != "nan":
            conversation = gone_on(conversation, said, reply, _in_force(session))
            session.history = conversation
        session.last_output = LastOutput(text=reply.answer, logits=reply.logits)
        notes, baseline = list(hashes(self.text)), ""
        if self.compared and reply.arm.stopped != "cancelled":
            try:
                steps = replied(opened, encoded, Condition(""), decoding, cancel=session.cancel)
                baseline = (yield from _silently(steps)).answer
            except Cancelled:
                notes.append("the reply without the live interventions was cancelled")
        notes += [] if self.thinking is None or opened.info.has_thinking else [NO_SWITCH]
        return Said(
            encoded=encoded,
            arm=reply.arm,
            thought=reply.thought,
            answer=reply.answer,
            closing=reply.closing,
            exchanges=len(conversation),
            under=_in_force(session),
            baseline=baseline,
            notes=(*notes, *_remarks(session, encoded, reply, decoding), *unopened(reply.arm)),
        )


def _silently(steps: Steps[ChatReply]) -> Steps[ChatReply]:
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


def _read(session: Session, prompt: Prompt) -> Encoded:
    """What is said next, as the model reads it with all that was said before."""
    try:
        return session.read(prompt)
    except UsageError as error:
        if not prompt.history:
            raise
        raise UsageError(f"with what was said before, {error.message}", "make room: forget 1 --oldest") from error
    except ModelError as error:
        raise ModelError(error.message, "try without --system, or start over: forget") from error


def _in_force(session: Session) -> str:
    """What the model is under, in words."""
    suppressed = f"{len(session.suppressed):,} suppressed" if session.suppressed else ""
    return ", ".join(filter(None, [*(treatment.said for treatment in session.live), suppressed]))


def _remarks(session: Session, encoded: Encoded, reply: ChatReply, decoding: Decoding) -> list[str]:
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


@verb("history", family=FAMILY, example=("history", "history --last 3"))
class ShowHistory(Request, frozen=True):
    """Show the conversation: every turn, thoughts included."""

    last: Annotated[int | None, Opt(Whole(), "only the last so many exchanges")] = None

    def run(self, session: Session) -> HistoryShown:
        held = session.history
        return HistoryShown(
            turns=held.turns if self.last is None else held.turns[-2 * self.last :],
            exchanges=len(held),
            system=held.system,
            thinking=held.thinking,
        )


@verb("forget", family=FAMILY, example=("forget", "forget 1", "forget 1 --oldest"))
class Forget(Request, frozen=True):
    """Clear the conversation, or its last exchanges.

    Clearing all of it also clears its system text and thinking switch. An exchange is one message of yours and the
    reply to it.
    """

    count: Annotated[int | None, Arg(Whole(), "how many exchanges (default: the whole conversation)")] = None
    oldest: Annotated[bool, Flag("the oldest ones instead of the last, to make room")] = False

    def run(self, session: Session) -> Forgotten:
        from sessions.comparisons.chatting import forgotten

        before = len(session.history)
        if self.count is not None and self.count > before:
            have = (
                f"there are only {before}" if before > 1 else "there is only one" if before else "nothing was said yet"
            )
            raise UsageError(
                f"{have}: {self.count} exchanges cannot be forgotten", "see them: history; or forget, for all"
            )
        session.history = (
            Conversation() if self.count is None else forgotten(session.history, self.count, oldest=self.oldest)
        )
        return Forgotten(exchanges=before - len(session.history), left=len(session.history))
