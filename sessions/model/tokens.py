"""Exact tokens: from what a user typed to the ids a model reads, and back.

Three things go wrong silently in scripts of this field: a beginning-of-sequence token that is
missing or doubled, because both template and tokenizer add it; a target whose leading space was
forgotten; and a target that merges with the prompt's last token. Here ids are made in one place,
shown on request, and a target is tokenised where it will stand: after the prompt.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from msgspec import Struct
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError, UsageError
from sessions.model.info import Encoded, Prompt, Token, Turn
from sessions.model.thinking import in_common, markers


def encode(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> Encoded:
    """The ids of a prompt: rendered by the chat template or raw, followed by the seed, with one BOS.

    A chat prompt on a tokenizer without a template is read raw.

    Raises:
        UsageError: there is nothing to read.
        ModelError: the template cannot render the prompt, or there is none for a conversation.
    """
    templated = prompt.chat and bool(tokenizer.chat_template)
    if prompt.history and not templated:
        raise ModelError("only a chat template can set the turns of a conversation apart", "start anew: prompt TEXT")
    text = (_rendered(tokenizer, prompt) if templated else prompt.text) + prompt.seed
    ids = _ids(tokenizer, text)
    if not ids:
        raise UsageError("the prompt is empty", 'for example: prompt "What is the capital of Texas?"')
    asked = _rendered(tokenizer, prompt, reply=False) if templated else prompt.text
    return Encoded(
        prompt=prompt,
        text=text,
        ids=tuple(ids),
        tokens=tuple(token_text(tokenizer, i) for i in ids),
        bos=_leading(ids, tokenizer.bos_token_id),
        templated=templated,
        reply=len(ids) if asked == text else in_common(ids, _ids(tokenizer, asked)),
    )


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text that is read as it stands, with one BOS where the tokenizer puts one; none for no text."""
    return _ids(tokenizer, text) if text.strip() else []


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return _with_one_bos(tokenizer, tokenizer.encode(text, add_special_tokens=False))


def replied(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, reply: Turn) -> str:
    """A prompt and the reply to it, its thought included, as the template writes them.

    Raises:
        ModelError: the template refuses them.
    """
    return _rendered(tokenizer, prompt, reply=False, more=(reply,))


def _rendered(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, *, reply: bool = True, more: tuple[Turn, ...] = ()
) -> str:
    """The prompt as its template writes it, and `more` turns after it; with `reply`, the beginning of the reply too."""
    messages = [_message(tokenizer, turn) for turn in (*prompt.history, Turn("user", prompt.text), *more)]
    if prompt.system is not None:
        messages.insert(0, {"role": "system", "content": prompt.system})
    switches: dict[str, Any] = {}
    if prompt.thinking is not None:
        switches = {"enable_thinking": prompt.thinking, "thinking": prompt.thinking}
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply, **switches))
    except Exception as error:  # templates are programs: they raise whatever they like
        raise ModelError(
            f"the chat template refused the prompt: {error}", "try it without --system, or with --raw"
        ) from error


def _message(tokenizer: PreTrainedTokenizerBase, turn: Turn) -> dict[str, str]:
    """A turn as templates take it. Whether an earlier thought is read again is for the template to say."""
    field = markers(tokenizer).field if turn.thought else ""
    return {"role": turn.role, "content": turn.text} | ({field: turn.thought} if field else {})


def _with_one_bos(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """Exactly one BOS at the start where the tokenizer adds one by itself or the text has one; else as it is."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return ids
    while len(ids) > 1 and ids[0] == bos and ids[1] == bos:
        ids = ids[1:]
    if adds_bos(tokenizer) and ids[:1] != [bos]:
        ids = [bos, *ids]
    return ids


@lru_cache(maxsize=8)
def adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer puts BOS before plain text of its own accord."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


def _leading(ids: list[int], token: int | None) -> int:
    count = 0
    while count < len(ids) and ids[count] == token:
        count += 1
    return count


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """The text one id stands for, leading space included. A part of a character shows as `<0xE2>` or ``�``."""
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    piece = tokenizer.convert_ids_to_tokens(token)
    if isinstance(piece, str) and piece.startswith("▁") and not text.startswith(" "):
        return " " + text  # SentencePiece drops the space of a first word when decoding
    return text


class Candidate(Struct, frozen=True):
    """A text as the next tokens after a prompt. `notes` say what the user may have meant otherwise."""

    tokens: tuple[Token, ...]
    notes: tuple[str, ...]


def continuation(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, text: str) -> Candidate:
    """The tokens that `text` becomes when it follows the prompt.

    Where prompt and text would merge into other tokens than the prompt's own, the text is tokenised
    alone, and a note says so.

    Raises:
        UsageError: the text has no tokens.
    """
    prompt_ids = tokenizer.encode(encoded.text, add_special_tokens=False)
    joined = tokenizer.encode(encoded.text + text, add_special_tokens=False)
    notes: list[str] = []
    if joined[: len(prompt_ids)] == prompt_ids:
        ids = joined[len(prompt_ids) :]
    else:
        ids = tokenizer.encode(text, add_special_tokens=False)
        notes.append(f"{text!r} would merge with the end of the prompt; it is taken by itself")
    if not ids:
        raise UsageError(f"{text!r} is not a token", 'for example: " Austin", with its leading space')
    return Candidate(tuple(Token(i, token_text(tokenizer, i)) for i in ids), tuple(notes))


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that end a reply: the tokenizer's EOS, and what the template writes after an assistant's turn."""
    ends = {tokenizer.eos_token_id} - {None}
    if tokenizer.chat_template:
        ends |= _template_end(tokenizer)
    return frozenset(ends)


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that a reply is to end with: what the template writes after an assistant's turn, else EOS.

    Raises:
        ModelError: the tokenizer has neither.
    """
    written = _template_end(tokenizer) if tokenizer.chat_template else set()
    end = next(iter(written), tokenizer.eos_token_id)
    if end is None:
        raise ModelError("this tokenizer has no token that ends a text", "open a model whose tokenizer has one")
    return int(end)


def _template_end(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    marker = "zq"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": marker}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except Exception:  # a template that wants other turns cannot be asked this way; EOS remains
        return set()
    after = tokenizer.encode(text.rpartition(marker)[2], add_special_tokens=False)
    special = set(tokenizer.all_special_ids)
    return {after[0]} if after and after[0] in special else set()


def last_positions(count: int, ids: Tensor) -> Tensor:
    """The last so many positions of `ids`, `[rows, seq]`, as `logits_to_keep` should have them.

    As a tensor: a number lets some families drop all other positions in their upper layers.
    """
    return torch.arange(ids.shape[1] - count, ids.shape[1], device=ids.device)
