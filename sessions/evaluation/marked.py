"""The number that a reply marks as its answer, and no other that it goes on to write.

    \\boxed{…}        the last number in the last box that has one (the rule of MATH: Hendrycks et al. 2021), exponents
                      aside
    #### 72           the number behind the first mark that has one right behind it; of #### Answer: 72 the first one in
                      the last such line (the rule of GSM8K: Cobbe et al. 2021)
    the answer is 72  the number right behind the first such words (Wei et al. 2022)

What is marked ends with its line, and of words and #### with its sentence. Where it is an equation, 9 * 2 = 18, what
stands behind the last sign of equality is meant. A heading that counts, #### 1. Compute …, marks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sessions.evaluation.numbers import WrittenNumber

_BOX = "\\boxed{"
_SIGN = re.compile(r"(?<!#)####(?!#)")
_WORDS = re.compile(r"\banswer\s+is\b", re.IGNORECASE)
#: What may stand between a mark and its number: a colon, an amount's currency, what sets it in bold or in formulas.
_BETWEEN = re.compile(r"[\s:*_~≈$€£¥₹\\(\[{]*")
_HEADING = re.compile(r"\s*\d{1,2}[.)]\s+[^\W\d]")
_SENTENCE = re.compile(r"[.!?;](?=\s|$)|\n")


def marked(text: str, found: Sequence[WrittenNumber]) -> WrittenNumber | None:
    """The number of those `found` in a text that it marks as its answer; None where it marks none."""
    return _boxed(text, found) or _signed(text, found) or _worded(text, found)


def _boxed(text: str, found: Sequence[WrittenNumber]) -> WrittenNumber | None:
    for start in reversed([match.end() for match in re.finditer(re.escape(_BOX), text)]):
        inside = [each for each in _within(found, start, _closing(text, start)) if not _is_exponent(text, each)]
        if inside:
            return inside[-1]
    return None


def _signed(text: str, found: Sequence[WrittenNumber]) -> WrittenNumber | None:
    counts = [match.end() for match in _SIGN.finditer(text) if _HEADING.match(text, match.end())]
    marks = [match.end() for match in _SIGN.finditer(text) if match.end() not in counts or len(counts) == 1]
    direct = (_right_behind(text, found, start) for start in marks)
    lines = ((start, text.find("\n", start)) for start in reversed(marks))
    loose = (next(_within(found, start, end if end >= 0 else len(text)), None) for start, end in lines)
    return next(filter(None, direct), None) or next(filter(None, loose), None)


def _worded(text: str, found: Sequence[WrittenNumber]) -> WrittenNumber | None:
    places = (_right_behind(text, found, match.end()) for match in _WORDS.finditer(text))
    return next(filter(None, places), None)


def _right_behind(text: str, found: Sequence[WrittenNumber], start: int) -> WrittenNumber | None:
    """The number right behind a mark, or what it is said to equal in the same sentence."""
    between = _BETWEEN.match(text, start)
    assert between is not None
    first = next(_within(found, start, len(text)), None)
    if first is None or first.start > between.end():
        return None
    sentence = _SENTENCE.search(text, first.end)
    end = len(text) if sentence is None else sentence.start()
    equal = text.rfind("=", first.end, end)
    return (next(_within(found, equal, end), None) if equal >= 0 else None) or first


def _within(found: Sequence[WrittenNumber], start: int, end: int) -> Iterator[WrittenNumber]:
    return (number for number in found if start <= number.start < end)


def _closing(text: str, start: int) -> int:
    """Where the brace is that closes the one before this place; the end of the line where none does."""
    depth = 1
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return at
    line = text.find("\n", start)
    return len(text) if line < 0 else line


def _is_exponent(text: str, number: WrittenNumber) -> bool:
    return text[: number.start].rstrip("{").endswith(("^", "_"))
