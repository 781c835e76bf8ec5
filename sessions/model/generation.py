"""Generates text: prefill, then one token a step, as a Python generator that can be watched and stopped.

The rows of a batch are independent texts. Prompts of different lengths are padded on the left with their own position
ids. Each row ends at its own time, and all rows share the random numbers of a step, so that a row samples the same text
alone and in a batch. Temperature, top-k and top-p are transformers' own logits warpers. The rules against repetition
are in `repetition`.

A row whose logits become infinite or NaN ends there; the other rows go on.

The cache is used only while it equals what a fresh pass would compute. If positions are encoded by the length of the
text (`positions`) and a row reaches a length with another encoding, the whole text is read again.

With a compiled model (`compiling`) the prompt is read as ever, and the steps after it are one graph each.

A step waits for the device once, for the chosen tokens. Positions and texts are known on the host (`known_pass`).

`transformers.generate` is not used because it cannot return control between tokens, nor stop in the middle of a row.
`tests/sessions/model/test_generation.py` checks that both produce the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import Cache, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from sessions.model import masks
from sessions.model.compiling import CompiledText, compiled_decoding
from sessions.model.homes import home_of
from sessions.model.known_pass import KnownPass, knowing
from sessions.model.positions import encoding_of
from sessions.model.repetition import Rules
from sessions.model.texts import text_of
from sessions.model.tokens import end_of_turn


@dataclass(frozen=True)
class Decoding:
    """The options for continuing a text.

    `ends` are ids that end a row (see `ending_ids`), and `stops` are texts that end it. With `sample` off,
    each step takes the likeliest token, and temperature, top-p, top-k and rng are unused. `guard`,
    `repetition_penalty` (1 is off) and `no_repeat_ngram` (0 is off) are the rules of `repetition`.
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

    `text` is the text of the first `shown` ids; the ids shown last begin at `window`. `read` counts the
    tokens that the model has read for the row: the prompt's and its own. `guarded` counts
    the steps at which a rule of `repetition` rejected the likeliest token, None if no rule is on. `failed_at` is
    the step whose logits were infinite or NaN, counted from 0; that step adds no token.
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
    """One step of a batch: its raw logits, `[rows, vocab]`, and the text that it adds to each row."""

    number: int
    logits: Tensor
    pieces: tuple[str, ...]


def ending_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids that end a text, from the generation config, the tokenizer and the chat template."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in listed if i is not None) | end_of_turn(tokenizer)


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
) -> Generator[GenerationStep, None, list[GeneratedRow]]:
    """Continue every prompt; yield after each token, and return the finished rows.

    Closing the generator frees its key-value cache.

    Args:
        prompts: the ids of each row; their lengths may differ.
    """
    device = home_of(model.get_input_embeddings())
    rules = Rules(prompts, penalty=decoding.repetition_penalty, ngram=decoding.no_repeat_ngram, guard=decoding.guard)
    rows = [GeneratedRow(read=len(prompt), guarded=0 if rules.any else None) for prompt in prompts]
    pick = _picker(decoding, rules, device)
    reader = _Reader(model, prompts, tokenizer.pad_token_id or 0, device)
    for number in range(decoding.max_tokens):
        with torch.inference_mode():
            logits = reader.read([not row.stopped for row in rows])
            chosen, ruled_out, broken = pick(logits)
            choices = torch.stack([chosen, ruled_out, broken], dim=1).tolist()  # the one wait of a step
        pieces = tuple(
            _add_choice(row, number, choice, tokenizer, decoding) for row, choice in zip(rows, choices, strict=True)
        )
        yield GenerationStep(number, logits, pieces)
        if all(row.stopped for row in rows):
            break
        tokens = [choice[0] for choice in choices]
        with torch.inference_mode():
            rules.read(tokens, chosen)
            reader.append(tokens, chosen)
    for row in rows:
        row.stopped = row.stopped or "length"
    return rows


class _Reader:
    """Reads texts as they grow: the prompts in the first pass, then one token of each in every pass."""

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], pad: int, device: torch.device
    ) -> None:
        self._model = model
        self._encoding = encoding_of(model)
        self._ids, self._mask = left_padded(prompts, pad, device)
        longest = max(map(len, prompts))
        self._padding = [longest - len(prompt) for prompt in prompts]
        self._texts = [[pad] * padding + list(prompt) for padding, prompt in zip(self._padding, prompts, strict=True)]
        self._new = longest
        self._positions: Tensor | None = None
        self._cache: Cache | None = None
        self._everything = self._ids
        self._compiled = compiled_decoding(model)
        self._text: CompiledText | None = None

    def read(self, running: Sequence[bool]) -> Tensor:
        """Read what is new, and return the logits after it, `[rows, vocab]`."""
        length = len(self._texts[0])
        if self._encoding is not None and self._cache is not None:
            ends = [length - padding for padding, runs in zip(self._padding, running, strict=True) if runs]
            if not all(self._encoding.alike(end - 1, end) for end in ends):
                # The cache has another encoding: read everything again.
                self._cache, self._positions = None, None
                self._ids, self._new = self._everything, length
        if self._positions is None:
            self._positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        else:
            self._positions = self._positions[:, -1:] + 1
        if self._cache is not None and self._compiled is not None:
            self._text, self._compiled = self._compiled.begin(self._cache, self._padding), None
        if self._text is not None:
            found = self._text.step(self._ids, self._positions, self._known())
            if found is not None:
                return found
            self._cache, self._text = self._text.plain(), None
        masked = any(self._padding)
        with knowing(self._known()), self._lengths(length), masks.padded() if masked else masks.unpadded():
            out = self._model(
                input_ids=self._ids,
                attention_mask=self._mask if masked else None,
                position_ids=self._positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self._cache = out.past_key_values
        logits: Tensor = out.logits[:, -1]
        return logits

    def append(self, tokens: Sequence[int], chosen: Tensor) -> None:
        """Add a token to each text, given on the host and, `[rows]`, on the device."""
        self._ids, self._new = chosen[:, None], 1
        for text, token in zip(self._texts, tokens, strict=True):
            text.append(token)
        if self._encoding is not None:
            self._everything = torch.cat([self._everything, self._ids], dim=1)
        if self._encoding is not None or any(self._padding):
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)

    def _known(self) -> KnownPass:
        length = len(self._texts[0])
        return KnownPass(
            [text[-self._new :] for text in self._texts],
            [[max(place - padding, 0) for place in range(length - self._new, length)] for padding in self._padding],
        )

    def _lengths(self, length: int) -> AbstractContextManager[None]:
        if self._encoding is None:
            return nullcontext()
        return self._encoding.as_long_as([length - padding for padding in self._padding])


def left_padded(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, `[rows, longest]`, padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    ids = [[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


#: The choice of a step for each row, `[rows]` each: its token, whether a rule rejected the likeliest token (0 or 1),
#: and whether the logits are infinite or NaN (0 or 1).
Choice = tuple[Tensor, Tensor, Tensor]


def _picker(decoding: Decoding, rules: Rules, device: torch.device) -> Callable[[Tensor], Choice]:
    """The function that chooses tokens from the logits of a step, `[rows, vocab]`."""
    drawn = _sampler(decoding, device) if decoding.sample else None

    def pick(logits: Tensor) -> Choice:
        # `max` returns NaN if a row has one; a row of -inf alone has no likeliest token either.
        peak, likeliest = logits.max(-1)
        broken = ~peak.isfinite()
        if drawn is None and not rules.any:
            return likeliest, torch.zeros_like(likeliest), broken.long()
        scores = logits.float().masked_fill(broken[:, None], 0.0)
        ruled = rules(scores) if rules.any else scores
        best = ruled.argmax(-1) if rules.any else likeliest
        ruled_out = (best != likeliest) & ~broken
        return best if drawn is None else drawn(ruled), ruled_out.long(), broken.long()

    return pick


def _sampler(decoding: Decoding, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The function that draws a token for each row from scores, `[rows, vocab]`.

    The token of a row is argmax p/q with q drawn from an exponential distribution, which `torch.multinomial` computes
    for one draw. All rows share q, so a row gets the same numbers alone and in a batch, and all arms of a comparison
    get the same ones.
    """
    warpers = LogitsProcessorList([TemperatureLogitsWarper(decoding.temperature)])
    if decoding.top_k:
        warpers.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        warpers.append(TopPLogitsWarper(decoding.top_p))
    rng = torch.Generator(device).manual_seed(decoding.rng)

    def drawn(scores: Tensor) -> Tensor:
        none = torch.empty((len(scores), 0), dtype=torch.long, device=scores.device)
        chances = warpers(none, scores).softmax(-1)
        noise = torch.empty_like(chances[0]).exponential_(generator=rng)
        return (chances / noise).argmax(-1)

    return drawn


def _add_choice(
    row: GeneratedRow, number: int, choice: Sequence[int], tokenizer: PreTrainedTokenizerBase, decoding: Decoding
) -> str:
    """Apply a step's choice (see `Choice`) to a row, and return the text that it adds."""
    token, ruled_out, broken = choice
    if row.stopped:
        return ""
    row.read += number > 0  # this step read the token of the step before
    if broken:
        row.stopped, row.failed_at = "nan", number
        return _shown(row, tokenizer, final=True)
    if row.guarded is not None:
        row.guarded += ruled_out
    return _grow(row, token, tokenizer, decoding)


def _grow(row: GeneratedRow, token: int, tokenizer: PreTrainedTokenizerBase, decoding: Decoding) -> str:
    """Add a token to a running row and return the text that it adds, or "" while a character is incomplete."""
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
    """The text of the ids not shown yet.

    The ids shown last are decoded again with the new ones, so that spaces and accents that need their neighbours come
    out right. This window begins at the start of a character, and keeps the cost of long texts linear.
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
