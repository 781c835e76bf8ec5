"""Talking to a model: `say`, `history`, `forget`."""

from __future__ import annotations

from typing import Annotated

from msgspec import structs

from commands.fields import Thinking
from commands.prompting import Generation, hashes
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import Prose, Whole, Word
from sessions.errors import Cancelled, ModelError, UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, unopened
from sessions.last_output import LastOutput
from sessions.procedures.chat import forget, in_force_words, read_conversation, remarks_on_reply, without_text
from sessions.procedures.states import NO_SWITCH
from sessions.results import Forgotten, HistoryShown, Said
from sessions.session import Session

FAMILY = "Chat"


@verb(
    "say",
    family=FAMILY,
    synonyms=("chat", "talk", "message"),
    needs=("model",),
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
        from sessions.comparisons.chatting import gone_on, next_prompt, replied

        opened, text = session.opened(), " ".join(self.text)
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
        encoded = read_conversation(session, next_prompt(conversation, text))
        decoding = self.how.decoding(session, len(encoded.ids))
        reply = yield from replied(opened, encoded, Condition("", session.in_force), decoding, cancel=session.cancel)
        if reply.arm.text or reply.arm.stopped != "nan":
            conversation = gone_on(conversation, text, reply, in_force_words(session))
            session.history = conversation
        session.last_output = LastOutput(text=reply.answer, logits=reply.logits)
        notes, baseline = list(hashes(self.text)), ""
        if self.compared and reply.arm.stopped != "cancelled":
            try:
                steps = replied(opened, encoded, Condition(""), decoding, cancel=session.cancel)
                baseline = (yield from without_text(steps)).answer
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
            under=in_force_words(session),
            baseline=baseline,
            notes=(*notes, *remarks_on_reply(session, encoded, reply, decoding), *unopened(reply.arm)),
        )


@verb("history", family=FAMILY, synonyms=("conversation", "turns"), example=("history", "history --last 3"))
class ShowHistory(Request, frozen=True):
    """Show the conversation: every turn, thoughts included."""

    reads_only = True

    last: Annotated[int | None, Opt(Whole(), "only this many exchanges, the last")] = None

    def run(self, session: Session) -> HistoryShown:
        history = session.history
        return HistoryShown(
            turns=history.turns if self.last is None else history.turns[-2 * self.last :],
            exchanges=len(history),
            system=history.system,
            thinking=history.thinking,
        )


@verb(
    "forget",
    family=FAMILY,
    synonyms=("new chat", "reset chat", "clear chat"),
    example=("forget", "forget 1", "forget 1 --oldest"),
)
class Forget(Request, frozen=True):
    """Clear the conversation, or its last exchanges.

    Clearing all of it also clears its system text and thinking switch. An exchange is one message of yours and the
    reply to it.
    """

    count: Annotated[int | None, Arg(Whole(), "how many exchanges (default: the whole conversation)")] = None
    oldest: Annotated[bool, Flag("the oldest ones instead of the last, to make room")] = False

    def run(self, session: Session) -> Forgotten:
        return forget(session, count=self.count, oldest=self.oldest)
