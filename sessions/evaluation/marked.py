"""Finds the number that a reply marks as its answer, among all numbers that it writes.

    \\boxed{…}        the last number in the last box that has one (the rule of MATH: Hendrycks et al. 2021), without
                      exponents
    #### 72           the number right behind the first such mark; in #### Answer: 72 the first number of the last such
                      line (the rule of GSM8K: Cobbe et al. 2021)
    the answer is 72  the number right behind the first such words (Wei et al. 2022)

A box ends at the end of its line at the latest; the other marks also end with their sentence. Of an equation such as
9 * 2 = 18, the number behind the last equals sign counts. A numbered heading (#### 1. Compute …) marks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sessions.evaluation.numbers import WrittenNumber

_BOX = "\\boxed{"
_SIGN = re.compile(r"(?<!#)####(?!#)")
_WORDS = re.compile(r"\banswer\s+is\b", re.IGNORECASE)
#: Text allowed between a mark and its number: a colon, a currency sign, markup of bold text or formulas.
_BETWEEN = re.compile(r"[\s:*_~≈$€£¥₹\\(\[{]*")
_HEADING = re.compile(r"\s*\d{1,2}[.)]\s+[^\W\d]")
_SENTENCE = re.compile(r"[.!?;](?=\s|$)|\n")


def marked(text: str, written: Sequence[WrittenNumber]) -> WrittenNumber | None:
    """The one of a text's numbers that it marks as its answer; None if it marks none."""
    return _boxed(text, written) or _signed(text, written) or _worded(text, written)


def _boxed(text: str, written: Sequence[WrittenNumber]) -> WrittenNumber | None:
    for start in reversed([match.end() for match in re.finditer(re.escape(_BOX), text)]):
        inside = [number for number in _within(written, start, _closing(text, start)) if not _is_exponent(text, number)]
        if inside:
            return inside[-1]
    return None


def _signed(text: str, written: Sequence[WrittenNumber]) -> WrittenNumber | None:
    counts = [match.end() for match in _SIGN.finditer(text) if _HEADING.match(text, match.end())]
    marks = [match.end() for match in _SIGN.finditer(text) if match.end() not in counts or len(counts) == 1]
    direct = (_right_behind(text, written, start) for start in marks)
    lines = ((start, text.find("\n", start)) for start in reversed(marks))
    loose = (next(_within(written, start, end if end >= 0 else len(text)), None) for start, end in lines)
    return next(filter(None, direct), None) or next(filter(None, loose), None)


def _worded(text: str, written: Sequence[WrittenNumber]) -> WrittenNumber | None:
    places = (_right_behind(text, written, match.end()) for match in _WORDS.finditer(text))
    return next(filter(None, places), None)


def _right_behind(text: str, written: Sequence[WrittenNumber], start: int) -> WrittenNumber | None:
    """The number right behind a mark, or the number that it equals in the same sentence."""
    between = _BETWEEN.match(text, start)
    assert between is not None
    first = next(_within(written, start, len(text)), None)
    if first is None or first.start > between.end():
        return None
    sentence = _SENTENCE.search(text, first.end)
    end = len(text) if sentence is None else sentence.start()
    equal = text.rfind("=", first.end, end)
    return (next(_within(written, equal, end), None) if equal >= 0 else None) or first


def _within(written: Sequence[WrittenNumber], start: int, end: int) -> Iterator[WrittenNumber]:
    return (number for number in written if start <= number.start < end)


def _closing(text: str, start: int) -> int:
    """The position of the brace that closes the one before `start`, or the end of the line if none does."""
    depth = 1
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return at
    line = text.find("\n", start)
    return len(text) if line < 0 else line


def _is_exponent(text: str, number: WrittenNumber) -> bool:
    return text[: number.start].rstrip("{").endswith(("^", "_"))
