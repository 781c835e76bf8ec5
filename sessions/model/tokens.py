"""Exact tokens: from what a user typed to the ids a model reads, and back.

The ids of a prompt are the tokenizer's own: of raw text what the tokenizer makes of it, with whatever it puts before a
text (a BOS, or GLM's `[gMASK]<sop>`) and without what it puts after one; of a chat prompt what `apply_chat_template`
makes of it. Where both a text and the tokenizer begin with the same prefix, it stands there once.

A text that follows another is tokenised where it stands: the ids of both together, less those of the first. Where that
cannot be, because the two would merge, its ids are those it has behind another text, which is where they are read back
as that text and nothing else. Likewise the text of an id is what it adds to a text before it: vocabularies in the
manner of SentencePiece drop the first blank of whatever is decoded or encoded alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
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
    """The ids of a prompt: rendered by the chat template or raw, followed by the seed.

    A chat prompt on a tokenizer without a template is read raw.

    Raises:
        UsageError: there is nothing to read.
        ModelError: the template cannot render the prompt, or there is none for a conversation.
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
    asked = rendered(tokenizer, prompt, begun=False) if templated else prompt.text
    return Encoded(
        prompt=prompt,
        text=text,
        ids=tuple(ids),
        tokens=tuple(token_text(tokenizer, i) for i in ids),
        bos=_leading(ids, tokenizer.bos_token_id),
        prefix=in_common(ids, framing(tokenizer).before),
        templated=templated,
        reply=len(ids) if asked == text else in_common(ids, _ids(tokenizer, asked, templated)),
    )


def _exactly(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> Encoded:
    """A prompt that is read as the ids it was read as before."""
    ids = tuple(_with_rows(tokenizer, prompt.exact))
    return Encoded(
        prompt=prompt,
        text=text_of(tokenizer, ids),
        ids=ids,
        tokens=tuple(token_text(tokenizer, i) for i in ids),
        bos=_leading(list(ids), tokenizer.bos_token_id),
        prefix=in_common(ids, framing(tokenizer).before),
        templated=True,  # nothing is put before it any more
        reply=len(ids),
    )


def is_formatted(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether a text has been through the tokenizer's chat template already: special tokens of it stand in it."""
    if not tokenizer.chat_template:
        return False
    try:
        template = rendered(tokenizer, Prompt(text="a"))
    except ModelError:
        return False
    begins = str(tokenizer.bos_token or "")  # of any text
    own = {str(each) for each in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab())}
    return any(each in text.removeprefix(begins) for each in own if each in template.removeprefix(begins))


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text that is read as it stands, with what the tokenizer puts before it; none for no text."""
    return _ids(tokenizer, text, templated=False) if text.strip() else []


def prefix_remarks(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> tuple[str, ...]:
    """What should be known of how a prompt begins, where that is other than with one BOS or none."""
    if encoded.bos > 1:
        return (f"the prompt begins with {encoded.bos} BOS tokens",)
    own = framing(tokenizer).before
    said = " ".join(repr(token_text(tokenizer, each)) for each in own)
    if own and encoded.prefix < len(own):
        return (f"the chat template begins without {said}, which the tokenizer puts before plain text",)
    return (f"the tokenizer begins every text with {said}",) if encoded.prefix > encoded.bos else ()


def rendered(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, *, begun: bool = True, more: tuple[dict[str, Any], ...] = ()
) -> str:
    """The prompt as its template writes it, and `more` messages after it; with `begun`, the beginning of the reply too.

    Raises:
        ModelError: the template refuses them.
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
    """A turn as templates take it. Whether an earlier thought is read again is for the template to say."""
    field = markers(tokenizer).field if turn.thought else ""
    return {"role": turn.role, "content": turn.text} | ({field: turn.thought} if field else {})


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, templated: bool) -> list[int]:
    """The tokenizer's own ids of a text, with one prefix where both begin with it."""
    own = framing(tokenizer)
    ids = read_alone(tokenizer, text) if templated else own.opened(_read_framed(tokenizer, text))
    bos = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    unit = list(own.before or bos)
    while unit and ids[: 2 * len(unit)] == unit * 2:
        ids = ids[len(unit) :]
    return list(_with_rows(tokenizer, ids))


def check_sound(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `Broken` where the tokenizer panics over a letter: a file has told it nonsense."""
    text_of(tokenizer, framing(tokenizer).before or (0,))


def bound(tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """From now on refuse ids that a model with so many rows of embeddings has none for."""
    tokenizer.rows_of_model = rows


def _with_rows(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Sequence[int]:
    """The ids, each of which the model has an embedding for."""
    rows = getattr(tokenizer, "rows_of_model", None)
    past = None if rows is None else next((each for each in ids if each >= rows), None)
    if past is not None:
        raise UsageError(
            f"{token_text(tokenizer, past)!r} is token {past:,}, and the model has embeddings for {rows:,} tokens only",
            "leave it out: it was added to the tokenizer, and not to the model",
        )
    return ids


class Framing(NamedTuple):
    """The ids that a tokenizer puts before plain text, and those it puts behind it."""

    before: Ids = ()
    behind: Ids = ()

    def opened(self, ids: list[int]) -> list[int]:
        """The ids of a text without those that end it: something is to follow."""
        ends = len(self.behind) and tuple(ids[-len(self.behind) :]) == self.behind
        return ids[: -len(self.behind)] if ends else ids


@lru_cache(maxsize=8)
def framing(tokenizer: PreTrainedTokenizerBase) -> Framing:
    """What the tokenizer puts around plain text of its own accord."""
    text = next((each for each in ("a", *ANCHORS) if tried(tokenizer, each)), "")
    if not text:
        return Framing()  # it has tokens for whole words alone
    whole, alone = _read_framed(tokenizer, text), read_alone(tokenizer, text)
    for start in range(len(whole) - len(alone) + 1):
        if whole[start : start + len(alone)] == alone:
            return Framing(tuple(whole[:start]), tuple(whole[start + len(alone) :]))
    return Framing()


def _read_framed(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text with what the tokenizer puts around it."""
    with reading_by():
        return list(tokenizer(text)["input_ids"])


def _leading(ids: list[int], token: int | None) -> int:
    count = 0
    while count < len(ids) and ids[count] == token:
        count += 1
    return count


# Texts of ids


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """The text one id stands for, leading blanks included. A part of a character shows as `<0xE2>` or ``�``."""
    return text_of(tokenizer, (token,))


# Texts that follow others


class Joined(NamedTuple):
    """A text as the ids that follow a prompt.

    `merges` says that prompt and text together would be other ids. `before` is what stood before the text when it was
    tokenised.
    """

    ids: Ids
    text: str
    before: str
    merges: bool


def joined(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, text: str) -> Joined:
    """The ids of `text` behind the prompt's: of both together, or else those that it has behind another text."""
    before, both = list(encoded.ids), encoded.text + text
    whole = _ids(tokenizer, both, encoded.templated)
    if whole[: len(before)] == before:
        return Joined(tuple(whole[len(before) :]), text, encoded.text, merges=False)
    anchor, ids = _behind(tokenizer, text)
    return Joined(ids, text, anchor, merges=True)


def ids_behind(tokenizer: PreTrainedTokenizerBase, text: str) -> Ids:
    """The ids of a text that stands behind another, whatever that is."""
    return _behind(tokenizer, text)[1]


def _behind(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[str, Ids]:
    """A text to stand behind that merges with nothing of `text`, and the ids of `text` there."""
    found: tuple[str, Ids] | None = None
    for anchor in ANCHORS:
        before = tried(tokenizer, anchor)
        whole = read_alone(tokenizer, anchor + text) if before else []
        if not before or whole[: len(before)] != before:
            continue
        ids = tuple(whole[len(before) :])
        found = (anchor, ids) if found is None else found
        if text_of(tokenizer, ids) == text:
            found = anchor, ids
            break  # a tokenizer that changes texts (accents, case) never gives the same one back: then the first
    anchor, ids = found or ("", tuple(read_alone(tokenizer, text)))
    return anchor, tuple(_with_rows(tokenizer, ids))


def spans_of(tokenizer: PreTrainedTokenizerBase, found: Joined) -> list[tuple[int, int]]:
    """Where in the text each of its ids begins and ends.

    Raises:
        ModelError: the tokenizer does not know.
    """
    try:
        read = tokenizer(found.before + found.text, add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError as error:
        raise ModelError("this tokenizer does not say where its tokens lie in a text", "leave out --weights") from error
    offsets, start = read["offset_mapping"], len(found.before)
    return [(first - start, last - start) for first, last in offsets[len(offsets) - len(found.ids) :]]


class TokenCandidate(Struct, frozen=True):
    """A text as the next tokens after a prompt. `notes` say what the user may have meant otherwise."""

    tokens: tuple[Token, ...]
    notes: tuple[str, ...]


def continuation(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, text: str) -> TokenCandidate:
    """The tokens that `text` becomes when it follows the prompt.

    Where prompt and text would merge into other tokens than the prompt's own, the text is tokenised
    by itself, and a note says so.

    Raises:
        UsageError: the text has no tokens.
    """
    found = joined(tokenizer, encoded, text)
    if not found.ids:
        raise UsageError(f"{text!r} is not a token", 'for example: " Austin", with its leading space')
    notes = (f"{text!r} would merge with the end of the prompt; it is taken by itself",) if found.merges else ()
    return TokenCandidate(tuple(Token(i, token_text(tokenizer, i)) for i in found.ids), notes)


# Ends of replies


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that end a reply: the tokenizer's EOS, and what the template writes after an assistant's turn."""
    return frozenset({tokenizer.eos_token_id, _template_end(tokenizer)} - {None})


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that a reply is to end with: what the template writes after an assistant's turn, else EOS.

    Raises:
        ModelError: the tokenizer has neither.
    """
    written = _template_end(tokenizer)
    end = tokenizer.eos_token_id if written is None else written
    if end is None:
        raise ModelError("this tokenizer has no token that ends a text", "open a model whose tokenizer has one")
    return int(_with_rows(tokenizer, [end])[0])


def _template_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The first token behind an assistant's turn, if it is a special one; behind the last of a conversation, or, where
    nothing ends that, before the user's next turn."""
    if not tokenizer.chat_template:
        return None
    marker = "zq"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": marker}]
    for more in ([], [{"role": "user", "content": "a"}]):
        try:
            text = templates.rendered(tokenizer, turns + more)
        except (templates.ProgramError, ModelError):  # it wants other turns, or cannot be asked at all; EOS remains
            return None
        behind = text.rpartition(marker)[2].lstrip()
        if behind:
            first = tried(tokenizer, behind)[:1]
            return first[0] if first and first[0] in special_ids(tokenizer) else None
    return None


def last_positions(count: int, ids: Tensor) -> slice:
    """The last so many positions of `ids`, `[rows, seq]`, as `logits_to_keep` should have them.

    A number would let some families drop all other positions in their upper layers, and a tensor would have to be on
    the device of the last layer, wherever that is.
    """
    return slice(ids.shape[1] - count, ids.shape[1])
