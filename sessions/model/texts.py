"""Texts of ids: what ids add to a text before them.

Vocabularies in the manner of SentencePiece drop the first blank of whatever is decoded alone, so that `▁▁` and `▁` read
alike and a text that begins with a word has lost its blank. So ids are decoded behind another token, whose text is then
taken off again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError
from sessions.model.native import Broken, reading_by


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, special: bool = True) -> str:
    """What ids add to a text before them, leading blanks included; with `special` off, without special tokens."""
    anchor, known = _anchor(tokenizer)
    whole = _decoded(tokenizer, (*anchor, *ids), special)
    return whole[len(known) :] if whole.startswith(known) else _decoded(tokenizer, ids, special)


def read_alone(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text, with nothing put before or behind them.

    Raises:
        ModelError: the tokenizer has no tokens for it, or is broken.
    """
    with reading_by():
        return list(tokenizer.encode(text, add_special_tokens=False))


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], special: bool) -> str:
    with reading_by():
        return str(tokenizer.decode(list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False))


#: Texts that something may stand behind: one of them is in any vocabulary, and one of them merges with nothing.
ANCHORS = ("\n", ".", "a", "0", ")", "é")


@lru_cache(maxsize=8)
def _anchor(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], str]:
    """An id with a text of its own, for others to be decoded behind it, and that text; nothing where there is none."""
    special = special_ids(tokenizer)
    for text in (*ANCHORS[1:], ANCHORS[0]):
        for token in tried(tokenizer, text)[-1:]:
            if token not in special and _decoded(tokenizer, (token,), special=False) == text:
                return (token,), text
    return (), ""


def tried(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text; none where the tokenizer has no token for it and none for what is unknown either.

    Raises:
        Broken: the tokenizer is.
    """
    try:
        return read_alone(tokenizer, text)
    except Broken:
        raise
    except ModelError:
        return []


@lru_cache(maxsize=8)
def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that are no text: the named special tokens, and those that were added to the vocabulary as such."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(tokenizer.all_special_ids) | added
