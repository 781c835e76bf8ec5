"""Texts of ids: what ids add to a text before them.

Vocabularies in the manner of SentencePiece drop the first blank of whatever is decoded alone, so that `▁▁` and `▁` read
alike and a text that begins with a word has lost its blank. So ids are decoded behind another token, whose text is then
taken off again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, special: bool = True) -> str:
    """What ids add to a text before them, leading blanks included; with `special` off, without special tokens."""
    anchor, known = _anchor(tokenizer)
    whole = _decoded(tokenizer, (*anchor, *ids), special)
    return whole[len(known) :] if whole.startswith(known) else _decoded(tokenizer, ids, special)


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], special: bool) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False))


#: Texts that something may stand behind: one of them is in any vocabulary, and one of them merges with nothing.
ANCHORS = ("\n", ".", "a", "0", ")", "é")


@lru_cache(maxsize=8)
def _anchor(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], str]:
    """An id with a text of its own, for others to be decoded behind it, and that text; nothing where there is none."""
    special = special_ids(tokenizer)
    for text in (*ANCHORS[1:], ANCHORS[0]):
        for token in tokenizer.encode(text, add_special_tokens=False)[-1:]:
            if token not in special and _decoded(tokenizer, (token,), special=False) == text:
                return (token,), text
    return (), ""


@lru_cache(maxsize=8)
def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that are no text: the named special tokens, and those that were added to the vocabulary as such."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(tokenizer.all_special_ids) | added
