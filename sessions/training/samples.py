"""What a round is trained on: samples as the model reads them, and how much each token of a reply counts.

Only the reply is learned, not the prompt: the ids that the template's rendering of the whole conversation has behind
those of the prompt, which are the ids that the model would have to write (see `model.replies`). The
tokens that a phrase of a part touches count as much as the weight of the part says (conclusions 2, glue 0.1), all
others as much as `filler` (0.5). Where no weights are given every token counts 1. The end of the turn is learned with
the reply.
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

#: The weight of tokens that no part names.
FILLER = "filler"
#: Weights that a file with parts is read with, unless others are given. A token in two parts counts as in the first.
WEIGHTS: Mapping[str, float] = {"conclusions": 2.0, "glue": 0.1, FILLER: 0.5}


@dataclass(frozen=True)
class Lesson:
    """A sample as the model reads it.

    `ids` are those of prompt and reply, `start` of them stand before what is learned; `weights` has one number a
    token from there on. `cut` counts the characters that the prompt lost at its left end, `skipped` are the phrases of
    its parts that are not in the reply.
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
    """The samples as the model reads them.

    Args:
        weights: by part; none at all counts every token 1. None takes `WEIGHTS` where a sample has parts, and 1 for all
            tokens where none has.
        budget: tokens that a prompt may have, its template included; a longer one loses the left end of its text.
        thinking: have the thought learned as well, before the reply.
        marker: the text that ends a thought; None takes the template's.

    Raises:
        UsageError: a sample is longer than the model has positions for, or a part has no weight.
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
    found, learned = _learned(opened, encoded, reply)
    ids = (*encoded.ids, *learned)
    limit = getattr(opened.anatomy.text_config, "max_position_embeddings", None)
    if limit is not None and len(ids) > limit:
        raise UsageError(
            f"{name} has {len(ids):,} tokens, {len(learned):,} of them its reply, and the model reads {limit:,}",
            "shorten the reply, or cut the prompt with --budget",
        )
    counts = (1.0,) * len(learned)
    if weights is not None:
        spans = spans_of(tokenizer, found)[: len(learned)]
        spans += [(len(reply.text), len(reply.text))] * (len(learned) - len(spans))  # an end that no text has
        counts = _weights(reply, spans, sample, weights, name)
    skipped = tuple(each for texts in sample.parts.values() for each in texts if each not in sample.reply)
    return Lesson(name, ids, len(encoded.ids), counts, len(sample.prompt) - len(text), skipped)


def _learned(opened: OpenModel, encoded: Encoded, reply: WrittenReply) -> tuple[Joined, tuple[int, ...]]:
    """What follows the prompt, as it was tokenised, and the ids of it that are learned: as far as the one that ends the
    turn. Where the template writes none behind a reply, the reply is ended with the model's own."""
    tokenizer = opened.tokenizer
    found = joined(tokenizer, encoded, reply.text)
    said = joined(tokenizer, encoded, reply.text[: reply.end])
    ends, first = ending_ids(opened.model, tokenizer), in_common(found.ids, said.ids)
    stop = next((at for at in range(first, len(found.ids)) if found.ids[at] in ends), None)
    return (said, (*said.ids, turn_end(tokenizer))) if stop is None else (found, found.ids[: stop + 1])


def _prompt(sample: Sample, text: str, thinking: bool) -> Prompt:
    return Prompt(text=text, system=sample.system, thinking=True if thinking else None)


def _cut(tokenizer: PreTrainedTokenizerBase, sample: Sample, budget: int | None, thinking: bool) -> str:
    """As much of the right end of the prompt's text as the budget has room for."""

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
    """The weight of each token of what is learned, given where in its text it lies; what no part names is filler."""
    parts = {PARTS.get(part, part): texts for part, texts in sample.parts.items()}
    unknown = next((part for part in parts if part not in weights), None)
    if unknown is not None:
        hint = f"--weights {quoted(f'{unknown}=1,{FILLER}=0.5')}"
        raise UsageError(f"{name} has a part '{unknown}', which has no weight", hint)
    said = reply.text[: reply.end]
    counted = [
        (weights[part], start, start + length)
        for part in weights
        for text in parts.get(part, ())
        if text in sample.reply
        for start, length in _places(said, text, name)
    ]
    filler = weights.get(FILLER, 1.0)
    return tuple(
        next((weight for weight, start, end in counted if first < end and last > start), filler)
        for first, last in spans
    )


def _places(text: str, part: str, name: str) -> list[tuple[int, int]]:
    """Where a part stands, and its length: word for word, but for blanks at its ends that the template takes off."""
    part = part if part in text else part.strip()
    if part not in text:
        raise ModelError(f"the chat template writes the reply of {name} without {part[:40]!r}", "leave that part out")
    found, at = [], text.find(part)
    while at >= 0:
        found.append((at, len(part)))
        at = text.find(part, at + 1)
    return found
