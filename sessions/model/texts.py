"""Decodes ids to the text that they add behind other text.

SentencePiece vocabularies drop the first blank of any text that is decoded alone: `▁▁` and `▁` read alike, and a text
loses the blank before its first word. So ids are decoded behind another token, whose text is then removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from sessions.errors import ModelError
from sessions.model.native import Broken, reading_by


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, special: bool = True) -> str:
    """The text that ids add behind other text, with leading blanks; without special tokens if `special` is off."""
    anchor, known = _anchor(tokenizer)
    whole = _decoded(tokenizer, (*anchor, *ids), special)
    return whole[len(known) :] if whole.startswith(known) else _decoded(tokenizer, ids, special)


def read_alone(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text, without the tokens that the tokenizer adds before or behind it.

    Raises:
        ModelError: the tokenizer has no tokens for the text, or is broken.
    """
    with reading_by():
        return list(tokenizer.encode(text, add_special_tokens=False))


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], special: bool) -> str:
    with reading_by():
        return str(tokenizer.decode(list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False))


#: Texts to decode behind: any vocabulary has one of them, and one of them never merges with what follows.
ANCHORS = ("\n", ".", "a", "0", ")", "é")


@lru_cache(maxsize=8)
def _anchor(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], str]:
    """An id to decode others behind, and its text; nothing if the vocabulary has no such token."""
    special = special_ids(tokenizer)
    for text in (*ANCHORS[1:], ANCHORS[0]):
        for token in tried(tokenizer, text)[-1:]:
            if token not in special and _decoded(tokenizer, (token,), special=False) == text:
                return (token,), text
    return (), ""


def tried(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text; empty if the tokenizer has no tokens for it and no unknown token.

    Raises:
        Broken: the tokenizer panics.
    """
    try:
        return read_alone(tokenizer, text)
    except Broken:
        raise
    except ModelError:
        return []


@lru_cache(maxsize=8)
def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of special tokens: the named ones, and those added to the vocabulary as special."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(tokenizer.all_special_ids) | added
