"""Marking a place in a text: from a word, or a number, to the position of a token.

A word is looked for as it stands in the text, between the tokens' own characters, not among their ids: whether it has a
leading space and how many tokens it became is for the tokenizer to say. Of several tokens the last one is meant, where
the model has read all of it (the place where subjects are enriched: Meng et al. 2022, arXiv:2202.05262). What the user
wrote is looked at first, and only if the word is not there what a template put around it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from sessions.errors import UsageError
from sessions.model.info import Encoded

_NUMBER = re.compile(r"-?[0-9]{1,9}")
#: Places that an error names.
_NAMED = 8


class Mark(NamedTuple):
    """A position in a text, its token, and what should be said about how it was found, if anything."""

    position: int
    token: str
    note: str = ""


def marked(encoded: Encoded, word: str, nth: int | None = None) -> Mark:
    """The position that a word, or a number, means in a text. Numbers below 0 count from the end.

    Args:
        nth: which occurrence of the word, from 1; None where there has to be only one.

    Raises:
        UsageError: there is no such position, or the word is not there, or there more often than once.
    """
    length = len(encoded.ids)
    if _NUMBER.fullmatch(word):
        position = int(word) + length if int(word) < 0 else int(word)
        if not 0 <= position < length:
            raise UsageError(f"the text has no position {word}", f"its {length} positions are 0 to {length - 1}")
        return Mark(position, encoded.tokens[position])
    spans = _occurrences(encoded, word)
    if not spans:
        raise UsageError(f"{word!r} does not stand in the text", f"it reads: {_readable(encoded)}")
    places = ", ".join(str(last) for _, last in spans[:_NAMED]) + (", …" if len(spans) > _NAMED else "")
    if nth is None and len(spans) > 1:
        raise UsageError(
            f"{word!r} stands in the text {len(spans)} times, at {places}", "choose with --nth 1, or by its position"
        )
    if nth is not None and nth > len(spans):
        times = "once" if len(spans) == 1 else f"{len(spans)} times"
        raise UsageError(f"{word!r} stands in the text {times}, at {places}", f"--nth is 1 to {len(spans)}")
    first, last = spans[(nth or 1) - 1]
    token = encoded.tokens[last]
    if first == last:
        return Mark(last, token)
    return Mark(last, token, f"{word!r} is {last - first + 1} tokens there; the last is meant, {token!r} at {last}")


def _occurrences(encoded: Encoded, word: str) -> list[tuple[int, int]]:
    """First and last position of each occurrence."""
    starts = [0, *accumulate(map(len, encoded.tokens))]
    text = "".join(encoded.tokens)
    found = list(_whole(text, word)) or [span for span in _anywhere(text, word) if {*span} <= {*starts}]
    own = [span for span in found if _inside(span, text, encoded)]
    return [(bisect_right(starts, begin) - 1, bisect_right(starts, end - 1) - 1) for begin, end in own or found]


def _whole(text: str, word: str) -> Iterator[tuple[int, int]]:
    """Where the word stands by itself, in characters."""
    before = r"(?<!\w)" if word[0].isalnum() else ""
    after = r"(?!\w)" if word[-1].isalnum() else ""
    return (match.span() for match in re.finditer(before + re.escape(word) + after, text))


def _anywhere(text: str, word: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in re.finditer(re.escape(word), text))


def _inside(span: tuple[int, int], text: str, encoded: Encoded) -> bool:
    """Whether the user wrote what stands there."""
    asked, seed = encoded.prompt.text, encoded.prompt.seed
    begin = text.rfind(asked.strip(), 0, len(text) - len(seed))
    if begin < 0:
        return True
    within = begin <= span[0] and span[1] <= begin + len(asked.strip())
    return within or (bool(seed) and span[0] >= len(text) - len(seed))


def _readable(encoded: Encoded) -> str:
    text = encoded.prompt.text + encoded.prompt.seed
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
