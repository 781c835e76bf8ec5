"""How the session's prompt is continued, and what its next token may be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from sessions.events import Steps
from sessions.interventions.arms import Arm, Condition
from sessions.model.info import Encoded, TokenChance
from sessions.model.info import Token as TokenOfModel
from sessions.procedures.token_meant import token_meant
from sessions.results import Distribution
from sessions.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.model.generation import Decoding


def decoded(
    session: Session,
    *,
    stops: tuple[str, ...] = (),
    pushes: bool = False,
    length: int | None = None,
    **overrides: Any,
) -> Decoding:
    """How to generate after a prompt of `length` tokens, the session's unless given: the settings, with what the line
    says instead.

    The stutter guard is on of itself where a constant is added to a neuron: by what is live, or by what the line is
    about to do, as `pushes` says.
    """
    from sessions.model.generation import Decoding, ending_ids
    from sessions.model.tokens import ids_behind
    from sessions.settings import changed

    settings = session.settings
    pushes = pushes or any(treatment.pushes for treatment in session.in_force)
    for name, value in overrides.items():
        if value is not None:
            settings = changed(settings, name, str(value).lower())
    opened, context = session.opened(), session.opened().anatomy.context
    for stop in stops:
        ids_behind(opened.tokenizer, stop)  # refused where the model can never say it
    # The last token is not read again, so one more fits than there are positions left.
    length = len(session.encoded().ids) if length is None else length
    room = settings.max_tokens if context is None else context - length + 1
    return Decoding(
        max_tokens=min(settings.max_tokens, room),
        sample=settings.sample,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=settings.top_k,
        rng=settings.rng,
        stops=stops,
        ends=ending_ids(opened.model, opened.tokenizer),
        guard=settings.guard == "on" or (settings.guard == "auto" and pushes),
        repetition_penalty=settings.repetition_penalty,
        no_repeat_ngram=settings.no_repeat_ngram,
    )


def first_token(session: Session, text: str, which: str) -> tuple[TokenOfModel, tuple[str, ...]]:
    """The first token of a text after the prompt, and remarks, if there are more, that `which` is the first."""
    from sessions.model.tokens import continuation

    candidate = continuation(session.opened().tokenizer, session.encoded(), text)
    first, count = candidate.tokens[0], len(candidate.tokens)
    more = (f"{text!r} is {count} tokens; {which} is the first, {first.text!r}",) if count > 1 else ()
    return first, (*candidate.notes, *more)


def next_logits_of(session: Session):  # type: ignore[no-untyped-def]
    """Logits of the next token, `[vocab]`, with what is live in force; kept as what `expect` speaks of."""
    from sessions.interventions.answering import running_rows
    from sessions.model.distribution import next_logits

    opened, encoded = session.opened(), session.encoded()
    with running_rows(opened, [(encoded, Condition("", session.in_force))]):
        logits = next_logits(opened, encoded.ids, session.cancel)
    session.last_output = replace(session.last_output, logits=logits)
    return logits


def distribution_of(session: Session, ids: list[int] | tuple[int, ...]) -> Distribution:
    """The chances of some tokens in the last next-token distribution."""
    from sessions.model.distribution import chances

    logits = session.last_output.logits
    assert logits is not None
    tokens: tuple[TokenChance, ...] = chances(session.opened().tokenizer, logits, ids)
    return Distribution(encoded=session.encoded(), chances=tokens)


def extended(session: Session, encoded: Encoded, arm: Arm) -> Encoded:
    """A prompt with the text that an arm wrote behind it."""
    from sessions.model.tokens import token_text

    written = tuple(token_text(session.opened().tokenizer, token) for token in arm.ids)
    return structs.replace(
        encoded, text=encoded.text + arm.text, ids=(*encoded.ids, *arm.ids), tokens=(*encoded.tokens, *written)
    )


def silent_reply(session: Session, name: str, max_tokens: int | None) -> Steps[tuple[Arm, Tensor] | None]:
    """What the model says to the session's prompt as its weights are now; None without a prompt."""
    from sessions.interventions.answering import compare

    if session.prompt is None:
        return None
    (arm,), logits = yield from compare(
        session.opened(),
        session.encoded(),
        [Condition(name, session.in_force)],
        decoded(session, max_tokens=max_tokens),
        streamed=False,
        cancel=session.cancel,
    )
    return arm, logits[0]


def top_tokens(session: Session, *, count: int) -> Distribution:
    """The likeliest next tokens."""
    from sessions.model.distribution import likeliest

    logits = next_logits_of(session)
    return distribution_of(session, likeliest(logits, count))


def token_chances(session: Session, *, texts: tuple[str, ...]) -> Distribution:
    """The chances of the first token of each text as the next one."""
    meant = [token_meant(session, text) for text in texts]
    tokens = [first_token(session, text, "shown") for text, _ in meant]
    next_logits_of(session)
    shown = distribution_of(session, [token.id for token, _ in tokens])
    remarks = [[*said, *notes] for (_, said), (_, notes) in zip(meant, tokens, strict=True)]
    return structs.replace(shown, notes=tuple(note for notes in remarks for note in notes))
