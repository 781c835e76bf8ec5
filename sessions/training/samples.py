"""Tokenises the samples of a round, and weighs each token of a reply.

Training learns the reply, not the prompt. The ids of the reply are those that the rendered conversation has behind the
prompt, which are the ids that the model would have to write (see `model.replies`). A token that a phrase of a part
touches gets the weight of the part (conclusions 2, glue 0.1); all other tokens get the weight of `filler` (0.5).
Without weights, every token counts 1. Training also learns the end of the turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError, UsageError
from sessions.lines import quoted
from sessions.model.generation import ending_ids
from sessions.model.info import Encoded, Prompt, Turn
from sessions.model.opening import OpenModel
from sessions.model.replies import WrittenReply, written
from sessions.model.thinking import in_common
from sessions.model.tokens import Joined, encode, joined, spans_of, turn_end
from sessions.texts.sample_files import PARTS, Sample

#: The name of the weight of tokens outside all parts.
FILLER = "filler"
#: The default weights of a file with parts. A token in two parts gets the weight of the first.
WEIGHTS: Mapping[str, float] = {"conclusions": 2.0, "glue": 0.1, FILLER: 0.5}


@dataclass(frozen=True)
class Lesson:
    """A tokenised sample.

    `ids` are the ids of prompt and reply; the first `start` of them are not learned. `weights` has one weight for each
    id from there on. `cut` counts the characters removed from the left end of the prompt. `skipped` are the phrases of
    its parts that the reply does not contain.
    """

    name: str
    ids: tuple[int, ...]
    start: int
    weights: tuple[float, ...]
    cut: int = 0
    skipped: tuple[str, ...] = ()


def lessons_of(
    opened: OpenModel,
    samples: Sequence[Sample],
    *,
    weights: Mapping[str, float] | None = None,
    budget: int | None = None,
    thinking: bool = False,
    marker: str | None = None,
) -> tuple[Lesson, ...]:
    """Tokenise samples.

    Args:
        weights: the weight of each part; an empty mapping weighs every token 1. None takes `WEIGHTS` if any sample has
            parts, else 1 for every token.
        budget: the most tokens of a prompt with its template; a longer prompt loses the left end of its text.
        thinking: learn the thought too, before the reply.
        marker: the text that ends a thought; None takes the template's.

    Raises:
        UsageError: a sample has more tokens than the model has positions, or a part has no weight.
        ModelError: the template refuses a prompt.
    """
    if marker is not None and not thinking:
        raise UsageError("--marker says where a thought ends", "give --thinking with it")
    if thinking and not any(sample.thought for sample in samples):
        raise UsageError("no sample has a thought", 'leave out --thinking, or give them one: {"thought": "…"}')
    if weights is None and any(sample.parts for sample in samples):
        weights = WEIGHTS
    elif weights is not None:
        weights = {PARTS.get(part, part): weight for part, weight in weights.items()}
    return tuple(
        _lesson(opened, sample, sample.name or f"sample {number}", weights or None, budget, thinking, marker)
        for number, sample in enumerate(samples, 1)
    )


def _lesson(
    opened: OpenModel,
    sample: Sample,
    name: str,
    weights: Mapping[str, float] | None,
    budget: int | None,
    thinking: bool,
    marker: str | None,
) -> Lesson:
    tokenizer = opened.tokenizer
    text = _cut(tokenizer, sample, budget, thinking)
    encoded = encode(tokenizer, _prompt(sample, text, thinking))
    reply = written(tokenizer, encoded, Turn("assistant", sample.reply, sample.thought if thinking else ""), marker)
    continued, learned = _learned(opened, encoded, reply)
    ids = (*encoded.ids, *learned)
    limit = getattr(opened.anatomy.text_config, "max_position_embeddings", None)
    if limit is not None and len(ids) > limit:
        raise UsageError(
            f"{name} has {len(ids):,} tokens, {len(learned):,} of them its reply, and the model reads {limit:,}",
            "shorten the reply, or cut the prompt with --budget",
        )
    counts = (1.0,) * len(learned)
    if weights is not None:
        spans = spans_of(tokenizer, continued)[: len(learned)]
        spans += [(len(reply.text), len(reply.text))] * (len(learned) - len(spans))  # an end token without text
        counts = _weights(reply, spans, sample, weights, name)
    skipped = tuple(text for texts in sample.parts.values() for text in texts if text not in sample.reply)
    return Lesson(name, ids, len(encoded.ids), counts, len(sample.prompt) - len(text), skipped)


def _learned(opened: OpenModel, encoded: Encoded, reply: WrittenReply) -> tuple[Joined, tuple[int, ...]]:
    """The tokenised text behind the prompt, and its ids to learn: up to the id that ends the turn.

    If the template writes no such id behind a reply, the model's own end is appended.
    """
    tokenizer = opened.tokenizer
    whole = joined(tokenizer, encoded, reply.text)
    alone = joined(tokenizer, encoded, reply.text[: reply.end])
    ends, first = ending_ids(opened.model, tokenizer), in_common(whole.ids, alone.ids)
    stop = next((at for at in range(first, len(whole.ids)) if whole.ids[at] in ends), None)
    return (alone, (*alone.ids, turn_end(tokenizer))) if stop is None else (whole, whole.ids[: stop + 1])


def _prompt(sample: Sample, text: str, thinking: bool) -> Prompt:
    return Prompt(text=text, system=sample.system, thinking=True if thinking else None)


def _cut(tokenizer: PreTrainedTokenizerBase, sample: Sample, budget: int | None, thinking: bool) -> str:
    """The longest right end of the prompt's text that fits into the budget."""

    def fits(count: int) -> bool:
        text = sample.prompt[len(sample.prompt) - count :]
        return not text.strip() or len(encode(tokenizer, _prompt(sample, text, thinking)).ids) <= (budget or math.inf)

    if budget is None or fits(len(sample.prompt)):
        return sample.prompt
    low, high = 0, len(sample.prompt)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    if not sample.prompt[len(sample.prompt) - low :].strip():
        raise UsageError(f"a budget of {budget} tokens has no room for a prompt", "give more: --budget 256")
    return sample.prompt[len(sample.prompt) - low :]


def _weights(
    reply: WrittenReply,
    spans: Sequence[tuple[int, int]],
    sample: Sample,
    weights: Mapping[str, float],
    name: str,
) -> tuple[float, ...]:
    """The weight of each learned token, by its span in the text; a token outside all parts is filler."""
    parts = {PARTS.get(part, part): texts for part, texts in sample.parts.items()}
    unknown = next((part for part in parts if part not in weights), None)
    if unknown is not None:
        hint = f"--weights {quoted(f'{unknown}=1,{FILLER}=0.5')}"
        raise UsageError(f"{name} has a part '{unknown}', which has no weight", hint)
    answer = reply.text[: reply.end]
    phrases = [
        (weights[part], start, start + length)
        for part in weights
        for text in parts.get(part, ())
        if text in sample.reply
        for start, length in _places(answer, text, name)
    ]
    filler = weights.get(FILLER, 1.0)
    return tuple(
        next((weight for weight, start, end in phrases if first < end and last > start), filler)
        for first, last in spans
    )


def _places(text: str, part: str, name: str) -> list[tuple[int, int]]:
    """(start, length) of each occurrence of a phrase; if it is not there, of the phrase without outer blanks."""
    part = part if part in text else part.strip()
    if part not in text:
        raise ModelError(f"the chat template writes the reply of {name} without {part[:40]!r}", "leave that part out")
    places, at = [], text.find(part)
    while at >= 0:
        places.append((at, len(part)))
        at = text.find(part, at + 1)
    return places
