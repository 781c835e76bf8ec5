"""Locating a word, or a number, in a text: the position of a token.

A word is searched in the text, not among token ids, so that leading spaces and the number of its tokens do not matter.
A word of several tokens is located at its last one, where the model has read all of it (the place where subjects are
enriched: Meng et al. 2022, arXiv:2202.05262). The user's own text is searched first, then the rest of the template.
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
    """A position in a text, its token, and a remark on how it was found, if there is one."""

    position: int
    token: str
    note: str = ""


def marked(encoded: Encoded, word: str, nth: int | None = None) -> Mark:
    """The position that a word, or a number, means in a text. Numbers below 0 count from the end.

    Args:
        nth: which occurrence of the word, from 1; None where there has to be only one.

    Raises:
        UsageError: there is no such position, the word is not in the text, or it is there more than once.
    """
    first, last = span(encoded, word, nth)
    token = encoded.tokens[last]
    if first == last:
        return Mark(last, token)
    return Mark(last, token, f"{word!r} is {last - first + 1} tokens there; the last is meant, {token!r} at {last}")


def span(encoded: Encoded, word: str, nth: int | None = None) -> tuple[int, int]:
    """The first and last position of a word, or a number, in a text. Arguments and errors as in `marked`."""
    length = len(encoded.ids)
    if _NUMBER.fullmatch(word):
        position = int(word) + length if int(word) < 0 else int(word)
        if not 0 <= position < length:
            raise UsageError(f"the text has no position {word}", f"its {length} positions are 0 to {length - 1}")
        return position, position
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
    return spans[(nth or 1) - 1]


def _occurrences(encoded: Encoded, word: str) -> list[tuple[int, int]]:
    """First and last position of each occurrence."""
    starts = [0, *accumulate(map(len, encoded.tokens))]
    text = "".join(encoded.tokens)
    spans = list(_whole(text, word)) or [span for span in _anywhere(text, word) if {*span} <= {*starts}]
    own = [span for span in spans if _inside(span, text, encoded)]
    return [(bisect_right(starts, begin) - 1, bisect_right(starts, end - 1) - 1) for begin, end in own or spans]


def _whole(text: str, word: str) -> Iterator[tuple[int, int]]:
    """Where the text has the word as a whole word, in characters."""
    before = r"(?<!\w)" if word[0].isalnum() else ""
    after = r"(?!\w)" if word[-1].isalnum() else ""
    return (match.span() for match in re.finditer(before + re.escape(word) + after, text))


def _anywhere(text: str, word: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in re.finditer(re.escape(word), text))


def _inside(span: tuple[int, int], text: str, encoded: Encoded) -> bool:
    """Whether a span is in the user's own text or seed."""
    own, seed = encoded.prompt.text.strip(), encoded.prompt.seed
    begin = text.rfind(own, 0, len(text) - len(seed))
    if begin < 0:
        return True
    within = begin <= span[0] and span[1] <= begin + len(own)
    return within or (bool(seed) and span[0] >= len(text) - len(seed))


def _readable(encoded: Encoded) -> str:
    text = encoded.prompt.text + encoded.prompt.seed
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
