"""Generation: prefill, then one token a step, as a generator that can be watched and stopped.

Rows of a batch are independent texts: prompts of different lengths are padded on the left with
their own position ids, rows end at their own time, and each row draws its random numbers from its
own generator, so that a row samples the same text alone and in company. Temperature, top-k and
top-p are transformers' own logits warpers; what keeps a text from repeating itself is in `repetition`.

A row whose logits stop being numbers ends there, and the others go on: what one row computes reaches no other.

What is cached is used only as long as it is what a fresh pass would compute: where positions are encoded by the length
of the text (`positions`) and a row comes to a length that is encoded otherwise, the whole text is read again.

`transformers.generate` is not used because it can neither hand back control between tokens nor be
stopped in the middle of a row; `tests/sessions/model/test_generation.py` holds both token for token
equal.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from sessions.model.homes import home_of
from sessions.model.positions import encoding_of
from sessions.model.repetition import Rules
from sessions.model.texts import text_of
from sessions.model.tokens import end_of_turn


@dataclass(frozen=True)
class Decoding:
    """How to continue a text.

    `ends` are the ids that end a row (see `ending_ids`), `stops` texts that do. With `sample` off,
    the likeliest token is taken, and temperature, top-p, top-k and rng are not used. `guard`,
    `repetition_penalty` (1 is none) and `no_repeat_ngram` (0 is none) are the rules of `repetition`.
    """

    max_tokens: int = 64
    sample: bool = False
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    rng: int = 0
    stops: tuple[str, ...] = ()
    ends: frozenset[int] = frozenset()
    guard: bool = False
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0


@dataclass
class GeneratedRow:
    """One text being generated. `stopped` is "" while it grows, then "eos", "stop", "length" or "nan".

    `text` is that of the first `shown` ids; `window` is the first of those that were shown last. `read` counts the
    tokens that the model has read for it: the prompt's, and those of its own that it was given back. `guarded` counts
    the steps at which a rule of `repetition` kept the likeliest token back, None where no rule is on. `failed_at` is
    the step whose logits were no numbers, 0 being that of the first token; nothing is written in it.
    """

    ids: list[int] = field(default_factory=list)
    text: str = ""
    stopped: str = ""
    shown: int = 0
    window: int = 0
    read: int = 0
    guarded: int | None = None
    failed_at: int | None = None


@dataclass(frozen=True)
class GenerationStep:
    """One step of a batch: the raw logits it chose from, `[rows, vocab]`, and the text each row gained."""

    number: int
    logits: Tensor
    pieces: tuple[str, ...]


def ending_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that end a text, from the generation config, the tokenizer and the chat template."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in listed if i is not None) | end_of_turn(tokenizer)


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
) -> Generator[GenerationStep, None, list[GeneratedRow]]:
    """Continue every prompt; yields after each token, returns the finished rows.

    Args:
        prompts: ids of each row; lengths may differ.

    The key-value cache lives in this generator and goes when it is closed.
    """
    device = home_of(model.get_input_embeddings())
    ids, mask = left_padded(prompts, tokenizer.pad_token_id or 0, device)
    rules = Rules(
        ids,
        (mask.shape[1] - mask.sum(-1)).tolist(),
        penalty=decoding.repetition_penalty,
        ngram=decoding.no_repeat_ngram,
        guard=decoding.guard,
    )
    rows = [GeneratedRow(read=len(prompt), guarded=0 if rules.any else None) for prompt in prompts]
    pick = _picker(decoding, rules, len(rows), device)
    encoding = encoding_of(model)
    cache, everything = None, ids
    for number in range(decoding.max_tokens):
        with torch.inference_mode():
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            out = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache, logits = out.past_key_values, out.logits[:, -1]
            chosen, held, broken = pick(logits)
            said = torch.stack([chosen, held, broken], dim=1).tolist()
        pieces = tuple(_said(row, number, each, tokenizer, decoding) for row, each in zip(rows, said, strict=True))
        yield GenerationStep(number, logits, pieces)
        if all(row.stopped for row in rows):
            break
        ids = chosen[:, None]
        rules.read(chosen)
        everything = torch.cat([everything, ids], dim=1)
        growing = [len(prompt) + number for prompt, row in zip(prompts, rows, strict=True) if not row.stopped]
        if encoding is not None and not all(encoding.alike(length, length + 1) for length in growing):
            cache, ids = None, everything  # what was cached is of another encoding: all is read again
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    for row in rows:
        row.stopped = row.stopped or "length"
    return rows


def left_padded(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, `[rows, longest]`, padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    ids = [[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


#: What a step decides for each row, `[rows]` each: its token, whether a rule kept the likeliest one back (0 or 1), and
#: whether its logits are no numbers (0 or 1).
Choice = tuple[Tensor, Tensor, Tensor]


def _picker(decoding: Decoding, rules: Rules, rows: int, device: torch.device) -> Callable[[Tensor], Choice]:
    """How tokens are chosen from the logits of a step, `[rows, vocab]`."""
    drawn = _sampler(decoding, rows, device) if decoding.sample else None

    def pick(logits: Tensor) -> Choice:
        # NaN is larger than any number here, and a row of -inf alone has no likeliest token either.
        peak, likeliest = logits.max(-1)
        broken = ~peak.isfinite()
        if drawn is None and not rules.any:
            return likeliest, torch.zeros_like(likeliest), broken.long()
        scores = logits.float().masked_fill(broken[:, None], 0.0)
        ruled = rules(scores) if rules.any else scores
        best = ruled.argmax(-1) if rules.any else likeliest
        held = (best != likeliest) & ~broken
        return best if drawn is None else drawn(ruled), held.long(), broken.long()

    return pick


def _sampler(decoding: Decoding, rows: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    warpers = LogitsProcessorList([TemperatureLogitsWarper(decoding.temperature)])
    if decoding.top_k:
        warpers.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        warpers.append(TopPLogitsWarper(decoding.top_p))
    # One generator a row, all with the same seed: every arm of a comparison meets the same noise.
    generators = [torch.Generator(device).manual_seed(decoding.rng) for _ in range(rows)]

    def drawn(scores: Tensor) -> Tensor:
        none = torch.empty((rows, 0), dtype=torch.long, device=scores.device)
        chances = warpers(none, scores).softmax(-1)
        tokens = [torch.multinomial(row, 1, generator=rng) for row, rng in zip(chances, generators, strict=True)]
        return torch.cat(tokens)

    return drawn


def _said(
    row: GeneratedRow, number: int, choice: Sequence[int], tokenizer: PreTrainedTokenizerBase, decoding: Decoding
) -> str:
    """What this step decided for a row, as in `Choice`, written into it; the text it adds."""
    token, held, broken = choice
    if row.stopped:
        return ""
    row.read += number > 0  # the token of the step before, which the model was given back
    if broken:
        row.stopped, row.failed_at = "nan", number
        return _shown(row, tokenizer, final=True)
    if row.guarded is not None:
        row.guarded += held
    return _grow(row, token, tokenizer, decoding)


def _grow(row: GeneratedRow, token: int, tokenizer: PreTrainedTokenizerBase, decoding: Decoding) -> str:
    """Add a token to a row that has not ended; the text it adds, held back while a character is incomplete."""
    if token in decoding.ends:
        row.stopped = "eos"
        return _shown(row, tokenizer, final=True)
    row.ids.append(token)
    piece = _shown(row, tokenizer, final=len(row.ids) == decoding.max_tokens)
    for stop in decoding.stops:
        where = row.text.find(stop)
        if where >= 0:
            row.stopped = "stop"
            piece = piece[: max(0, len(piece) - (len(row.text) - where))]
            row.text = row.text[:where]
    return piece


def _shown(row: GeneratedRow, tokenizer: PreTrainedTokenizerBase, *, final: bool) -> str:
    """Text of the ids not shown yet.

    What was shown last is decoded again before it, so that spaces and accents that need their neighbours come out
    right: a window that begins where a character begins, and keeps long texts linear.
    """
    known = _decoded(tokenizer, row.ids[row.window : row.shown])
    now = _decoded(tokenizer, row.ids[row.window :])
    if now.endswith("�") and not final:
        return ""
    piece = now[len(known) :]
    row.window, row.shown = row.shown, len(row.ids)
    row.text += piece
    return piece


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return text_of(tokenizer, ids, special=False)
