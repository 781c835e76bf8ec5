"""Numbers as people and models write them, read exactly.

A written number is digits of any script (42, ٤٢, ４２) with a sign, separators, a decimal part, an exponent or a
denominator: -1,234.5, 1.234,5, 1 234, 3/4, \\frac{3}{4}, 1e-3. Which of `.` and `,` is the decimal one is a matter of
language, so that 1.234 and 1,234 have two values each; the first of them is the English one. What is not read as such:
numbers in words (forty, 四十二), mixed ones (1 ½), powers (10^5), a percentage as a fraction. A number right after a
Latin letter, H2O, is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

#: Characters of a number that has a value; what is longer stands there and equals nothing.
LONGEST = 60

_SPACED = "'’٬\u00a0\u202f\u2009"  # only ever between thousands
_FRAC = r"\\[dt]?frac\s?\{\s?(?P<above>[-−]?\d+)\s?\}\s?\{\s?(?P<below>\d+)\s?\}"
_PLAIN = (
    r"(?P<sign>(?<![A-Za-z\d_)\]}])[-−–+])?(?<![A-Za-z_\d])(?<!\d[.,٫])"
    rf"(?P<digits>(?:\d{{1,3}}(?:[{_SPACED}]\d{{3}}(?!\d))+|\d+)(?:[.,٫]\d+)*|(?<![\w.])\.\d+)"
    r"(?:[eE](?P<exponent>[-+−]?\d{1,3})(?![\w.]))?"
)
_NUMBER = re.compile(f"{_FRAC}|{_PLAIN}")
_OVER = re.compile(r"\s?[/⁄]\s?(\d+)(?![\d/⁄])")


class WrittenNumber(NamedTuple):
    """A number in a text: where it stands, and what it may be worth, the likeliest first, or nothing."""

    start: int
    end: int
    values: tuple[Fraction, ...]


def numbers(text: str) -> Iterator[WrittenNumber]:
    """The numbers of a text, in order."""
    at = 0
    while (found := _NUMBER.search(text, at)) is not None:
        at = found.end()
        if found["below"] is not None:
            yield WrittenNumber(found.start(), at, _ratio((Fraction(_whole(found["above"])),), found["below"]))
            continue
        values = _values(found["digits"], found["exponent"] or "")
        over = _OVER.match(text, at)
        if over is not None and text[found.start() - 1 : found.start()] not in ("/", "⁄"):
            at, values = over.end(), _ratio(values, over[1])
        negative = found["sign"] is not None and found["sign"] != "+"
        yield WrittenNumber(found.start(), at, tuple(-value for value in values) if negative else values)


def value_of(text: str) -> Fraction | None:
    """The number that a text is; None where it is anything else, or more."""
    text = text.strip()
    found = next(numbers(text), None)
    if found is None or (found.start, found.end) != (0, len(text)):
        return None
    return found.values[0] if found.values else None


def _values(digits: str, exponent: str) -> tuple[Fraction, ...]:
    if len(digits) > LONGEST:
        return ()
    scale = Fraction(10) ** _whole(exponent) if exponent else 1
    plain = re.sub(f"[{_SPACED}]", "", digits)
    return tuple(dict.fromkeys(value * scale for value in _readings(plain)))


def _readings(digits: str) -> Iterator[Fraction]:
    """What digits with points and commas between them can be worth."""
    groups, marks = re.split("[.,٫]", digits), re.findall("[.,٫]", digits)
    if not marks:
        yield _decimal(groups[0], "")
    elif len(marks) == 1:
        decimal, whole = _decimal(*groups), _thousands(groups)
        if marks[0] == "," and whole is not None:
            yield whole
        yield decimal
        if marks[0] == "." and whole is not None:
            yield whole
        if marks[0] == "," and whole is None:
            yield _decimal(groups[-1], "")  # two numbers of a list
    elif len(set(marks)) == 1:
        whole = _thousands(groups) if marks[0] != "٫" else None
        if whole is not None:
            yield whole
        elif marks[0] == ",":
            yield _decimal(groups[-1], "")
    elif len(set(marks[:-1])) == 1 and (whole := _thousands(groups[:-1])) is not None:
        yield whole + _decimal("0", groups[-1])


def _thousands(groups: list[str]) -> Fraction | None:
    """The whole number that groups of digits are, in threes or, as in India, in twos before the last three."""
    first, *middle, last = groups
    in_threes = len(first) <= 3 and all(len(group) == 3 for group in middle)
    in_twos = len(first) <= 2 and middle and all(len(group) == 2 for group in middle)
    if len(last) != 3 or not first or int(first[0]) == 0 or not (in_threes or in_twos):
        return None
    return _decimal("".join(groups), "")


def _decimal(whole: str, part: str) -> Fraction:
    return Fraction(int(whole + part), 10 ** len(part))


def _ratio(values: tuple[Fraction, ...], below: str) -> tuple[Fraction, ...]:
    if len(below) > LONGEST or not int(below):
        return ()
    return tuple(value / int(below) for value in values)


def _whole(text: str) -> int:
    return int(text.replace("−", "-")) if len(text) <= LONGEST else 0
