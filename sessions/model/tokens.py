"""Turns prompts and texts into the exact ids that a model reads, and ids back into text.

The ids of a prompt are the tokenizer's own. Raw text keeps the tokens that the tokenizer puts before it (a BOS, or
GLM's `[gMASK]<sop>`) and loses those behind it. A chat prompt is tokenised as `apply_chat_template` renders it. If both
the text and the tokenizer begin with the same prefix, the prompt has it once.

A continuation is tokenised in its place: the ids of both texts together, without those of the first. If the two would
merge, its ids are those behind another text, where they decode to the continuation alone. In the same way the text of
an id is what it adds to a text before it, because SentencePiece vocabularies drop the first blank of a text on its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from msgspec import Struct
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError, UsageError
from sessions.model import templates
from sessions.model.info import Encoded, Prompt, Token, Turn
from sessions.model.native import reading_by
from sessions.model.texts import ANCHORS, read_alone, special_ids, text_of, tried
from sessions.model.thinking import in_common, markers

Ids = tuple[int, ...]


def encode(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> Encoded:
    """Encode a prompt, rendered by the chat template or raw, and followed by its seed.

    A tokenizer without a template reads a chat prompt raw.

    Raises:
        UsageError: the prompt is empty.
        ModelError: the template cannot render the prompt, or a conversation has no template.
    """
    if prompt.exact:
        return _exactly(tokenizer, prompt)
    templated = prompt.chat and bool(tokenizer.chat_template)
    if prompt.history and not templated:
        raise ModelError("only a chat template can set the turns of a conversation apart", "start anew: prompt TEXT")
    text = (rendered(tokenizer, prompt) if templated else prompt.text) + prompt.seed
    ids = _ids(tokenizer, text, templated)
    if not ids:
        raise UsageError("the prompt is empty", 'for example: prompt "What is the capital of Texas?"')
    before_reply = rendered(tokenizer, prompt, begun=False) if templated else prompt.text
    return Encoded(
        prompt=prompt,
        text=text,
        ids=tuple(ids),
        tokens=tuple(token_text(tokenizer, i) for i in ids),
        bos=_leading(ids, tokenizer.bos_token_id),
        prefix=in_common(ids, framing(tokenizer).before),
        templated=templated,
        reply=len(ids) if before_reply == text else in_common(ids, _ids(tokenizer, before_reply, templated)),
    )


def _exactly(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> Encoded:
    """Encode a prompt as the exact ids that it carries."""
    ids = tuple(_with_rows(tokenizer, prompt.exact))
    return Encoded(
        prompt=prompt,
        text=text_of(tokenizer, ids),
        ids=ids,
        tokens=tuple(token_text(tokenizer, i) for i in ids),
        bos=_leading(list(ids), tokenizer.bos_token_id),
        prefix=in_common(ids, framing(tokenizer).before),
        templated=True,  # so that nothing is put before it
        reply=len(ids),
    )


def is_formatted(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether a text contains special tokens of the chat template, so that it was rendered before."""
    if not tokenizer.chat_template:
        return False
    try:
        template = rendered(tokenizer, Prompt(text="a"))
    except ModelError:
        return False
    begins = str(tokenizer.bos_token or "")  # of any text
    special = {str(token) for token in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab())}
    return any(token in text.removeprefix(begins) for token in special if token in template.removeprefix(begins))


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of raw text, with the tokens that the tokenizer puts before it; empty for blank text."""
    return _ids(tokenizer, text, templated=False) if text.strip() else []


def prefix_remarks(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> tuple[str, ...]:
    """A remark on the first tokens of a prompt, if they are not one BOS or none."""
    if encoded.bos > 1:
        return (f"the prompt begins with {encoded.bos} BOS tokens",)
    own = framing(tokenizer).before
    prefix = " ".join(repr(token_text(tokenizer, token)) for token in own)
    if own and encoded.prefix < len(own):
        return (f"the chat template begins without {prefix}, which the tokenizer puts before plain text",)
    return (f"the tokenizer begins every text with {prefix}",) if encoded.prefix > encoded.bos else ()


def rendered(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, *, begun: bool = True, more: tuple[dict[str, Any], ...] = ()
) -> str:
    """The prompt, and `more` messages after it, as the template writes them; with `begun`, the reply's beginning too.

    Raises:
        ModelError: the template refuses the messages.
    """
    messages = [*(message(tokenizer, turn) for turn in (*prompt.history, Turn("user", prompt.text))), *more]
    if prompt.system is not None:
        messages.insert(0, {"role": "system", "content": prompt.system})
    switches: dict[str, Any] = {}
    if prompt.thinking is not None:
        switches = {"enable_thinking": prompt.thinking, "thinking": prompt.thinking}
    try:
        return templates.rendered(tokenizer, messages, begun=begun, **switches)
    except templates.ProgramError as error:
        raise ModelError(
            f"the chat template refused the prompt: {error}", "try it without --system, or with --raw"
        ) from error


def message(tokenizer: PreTrainedTokenizerBase, turn: Turn) -> dict[str, Any]:
    """A turn as a message for templates, which decide whether the model reads an earlier thought again."""
    field = markers(tokenizer).field if turn.thought else ""
    return {"role": turn.role, "content": turn.text} | ({field: turn.thought} if field else {})


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, templated: bool) -> list[int]:
    """The tokenizer's ids of a text; a prefix that stands there twice is kept once."""
    own = framing(tokenizer)
    ids = read_alone(tokenizer, text) if templated else own.opened(_read_framed(tokenizer, text))
    bos = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    unit = list(own.before or bos)
    while unit and ids[: 2 * len(unit)] == unit * 2:
        ids = ids[len(unit) :]
    return list(_with_rows(tokenizer, ids))


def check_sound(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `Broken` if the tokenizer panics over a single token, because its file holds nonsense."""
    text_of(tokenizer, framing(tokenizer).before or (0,))


def bound(tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """From now on refuse ids beyond the model's `rows` of embeddings."""
    tokenizer.rows_of_model = rows


def _with_rows(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Sequence[int]:
    """The ids unchanged; raises `UsageError` for an id without an embedding."""
    rows = getattr(tokenizer, "rows_of_model", None)
    past = None if rows is None else next((token for token in ids if token >= rows), None)
    if past is not None:
        raise UsageError(
            f"{token_text(tokenizer, past)!r} is token {past:,}, and the model has embeddings for {rows:,} tokens only",
            "leave it out: it was added to the tokenizer, and not to the model",
        )
    return ids


class Framing(NamedTuple):
    """The ids that a tokenizer puts before and behind plain text."""

    before: Ids = ()
    behind: Ids = ()

    def opened(self, ids: list[int]) -> list[int]:
        """The ids of a text without those that end it, so that text can follow."""
        ends = len(self.behind) and tuple(ids[-len(self.behind) :]) == self.behind
        return ids[: -len(self.behind)] if ends else ids


@lru_cache(maxsize=8)
def framing(tokenizer: PreTrainedTokenizerBase) -> Framing:
    """The ids that the tokenizer puts around plain text."""
    text = next((letter for letter in ("a", *ANCHORS) if tried(tokenizer, letter)), "")
    if not text:
        return Framing()  # the vocabulary has whole words only
    whole, alone = _read_framed(tokenizer, text), read_alone(tokenizer, text)
    for start in range(len(whole) - len(alone) + 1):
        if whole[start : start + len(alone)] == alone:
            return Framing(tuple(whole[:start]), tuple(whole[start + len(alone) :]))
    return Framing()


def _read_framed(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text with those that the tokenizer puts around it."""
    with reading_by():
        return list(tokenizer(text)["input_ids"])


def _leading(ids: list[int], token: int | None) -> int:
    count = 0
    while count < len(ids) and ids[count] == token:
        count += 1
    return count


# Texts of ids


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    r"""The text of one id, with its leading blanks. The bytes of a part of a character are written as `\xe3\x81`."""
    text = text_of(tokenizer, (token,))
    if "\ufffd" not in text and not text.startswith("<0x"):
        return text
    data = _bytes_of(tokenizer, token)
    return text if data is None else data.decode("utf-8", "backslashreplace")


def _bytes_of(tokenizer: PreTrainedTokenizerBase, token: int) -> bytes | None:
    """The bytes of an id of a vocabulary of bytes; None if it is none of those.

    Byte-level BPE writes each byte as a character of its own (Radford et al., 2019); SentencePiece writes the bytes
    that it has no piece for as `<0xE3>`.
    """
    piece = tokenizer.convert_ids_to_tokens(token)
    if not isinstance(piece, str):
        return None
    alone = _BYTE.fullmatch(piece)
    if alone is not None:
        return bytes([int(alone[1], 16)])
    known = _byte_alphabet()
    return bytes(map(known.__getitem__, piece)) if piece and all(character in known for character in piece) else None


_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def _byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for: itself if it is visible, else the next of
    those from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(0x100 + at): byte for at, byte in enumerate(others)}


# Texts that follow others


class Joined(NamedTuple):
    """A text as the ids that follow a prompt.

    `merges` says that prompt and text together tokenise to other ids. `before` is the text that it was tokenised
    behind.
    """

    ids: Ids
    text: str
    before: str
    merges: bool


def joined(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, text: str) -> Joined:
    """The ids of `text` behind the prompt; if they would merge, its ids behind another text."""
    before, both = list(encoded.ids), encoded.text + text
    whole = _ids(tokenizer, both, encoded.templated)
    if whole[: len(before)] == before:
        return Joined(tuple(whole[len(before) :]), text, encoded.text, merges=False)
    anchor, ids = _behind(tokenizer, text)
    return Joined(ids, text, anchor, merges=True)


def ids_behind(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """The ids of a text behind any other text."""
    return _behind(tokenizer, text)[1]


def _behind(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[str, Ids]:
    """An anchor that does not merge with `text`, and the ids of `text` behind it."""
    chosen: tuple[str, Ids] | None = None
    for anchor in ANCHORS:
        before = tried(tokenizer, anchor)
        whole = read_alone(tokenizer, anchor + text) if before else []
        if not before or whole[: len(before)] != before:
            continue
        ids = tuple(whole[len(before) :])
        chosen = (anchor, ids) if chosen is None else chosen
        if text_of(tokenizer, ids) == text:
            chosen = anchor, ids
            break  # a tokenizer that changes accents or case never returns the same text: it keeps the first anchor
    anchor, ids = chosen or ("", tuple(read_alone(tokenizer, text)))
    return anchor, tuple(_with_rows(tokenizer, ids))


def spans_of(tokenizer: PreTrainedTokenizerBase, continued: Joined) -> list[tuple[int, int]]:
    """The first and last character (exclusive) of each id in the text.

    Raises:
        ModelError: the tokenizer reports no offsets.
    """
    try:
        read = tokenizer(continued.before + continued.text, add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError as error:
        raise ModelError("this tokenizer does not say where its tokens lie in a text", "leave out --weights") from error
    offsets, start = read["offset_mapping"], len(continued.before)
    return [(first - start, last - start) for first, last in offsets[len(offsets) - len(continued.ids) :]]


class TokenCandidate(Struct, frozen=True):
    """A text as the next tokens after a prompt; `notes` tell the user if it does not join the prompt."""

    tokens: tuple[Token, ...]
    notes: tuple[str, ...]


def continuation(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, text: str) -> TokenCandidate:
    """The tokens of `text` behind the prompt.

    If prompt and text would merge into other tokens than the prompt's own, the text is tokenised
    by itself, and a note says so.

    Raises:
        UsageError: the text has no tokens.
    """
    continued = joined(tokenizer, encoded, text)
    if not continued.ids:
        raise UsageError(f"{text!r} is not a token", 'for example: " Austin", with its leading space')
    notes = (f"{text!r} would merge with the end of the prompt; it is taken by itself",) if continued.merges else ()
    return TokenCandidate(tuple(Token(i, token_text(tokenizer, i)) for i in continued.ids), notes)


# Ends of replies


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids that end a reply: the tokenizer's EOS, and the id that the template writes after an assistant's turn."""
    return frozenset({tokenizer.eos_token_id, _template_end(tokenizer)} - {None})


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id to end a reply with: the one that the template writes after an assistant's turn, else EOS.

    Raises:
        ModelError: the tokenizer has neither.
    """
    written = _template_end(tokenizer)
    end = tokenizer.eos_token_id if written is None else written
    if end is None:
        raise ModelError("this tokenizer has no token that ends a text", "open a model whose tokenizer has one")
    return int(_with_rows(tokenizer, [end])[0])


def _template_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The first token behind an assistant's turn if it is special, else None.

    It stands at the end of the conversation or, if the template writes nothing there, before the user's next turn.
    """
    if not tokenizer.chat_template:
        return None
    marker = "zq"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": marker}]
    for more in ([], [{"role": "user", "content": "a"}]):
        try:
            text = templates.rendered(tokenizer, turns + more)
        except (templates.ProgramError, ModelError):  # it refuses these turns, or cannot run; EOS remains
            return None
        behind = text.rpartition(marker)[2].lstrip()
        if behind:
            first = tried(tokenizer, behind)[:1]
            return first[0] if first and first[0] in special_ids(tokenizer) else None
    return None


def last_positions(count: int, ids: Tensor) -> slice:
    """The last `count` positions of `ids`, `[rows, seq]`, as a slice for `logits_to_keep`.

    A number would let some families drop all other positions in their upper layers. A tensor would have to be on the
    device of the last layer.
    """
    return slice(ids.shape[1] - count, ids.shape[1])
