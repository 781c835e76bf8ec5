"""Reads numbers exactly, as people and models write them.

A written number is digits of any script (42, ٤٢, ４２) with a sign, separators, a decimal part, an exponent or a
denominator: -1,234.5, 1.234,5, 1 234, 3/4, \\frac{3}{4}, 1e-3. Languages differ in the decimal sign, so 1.234 and 1,234
have two values each, the English one first. Not read are numbers in words (forty, 四十二), mixed numbers (1 ½), powers
(10^5), and percentages as fractions. Digits right after a Latin letter, as in H2O, are not a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

#: The most characters of a number with a value; a longer one has none.
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
    """A number in a text: its first and last character (exclusive), and its possible values, the likeliest first."""

    start: int
    end: int
    values: tuple[Fraction, ...]


def numbers(text: str) -> Iterator[WrittenNumber]:
    """The numbers of a text, in order."""
    at = 0
    while (match := _NUMBER.search(text, at)) is not None:
        at = match.end()
        if match["below"] is not None:
            yield WrittenNumber(match.start(), at, _ratio((Fraction(_whole(match["above"])),), match["below"]))
            continue
        values = _values(match["digits"], match["exponent"] or "")
        over = _OVER.match(text, at)
        if over is not None and text[match.start() - 1 : match.start()] not in ("/", "⁄"):
            at, values = over.end(), _ratio(values, over[1])
        negative = match["sign"] is not None and match["sign"] != "+"
        yield WrittenNumber(match.start(), at, tuple(-value for value in values) if negative else values)


def value_of(text: str) -> Fraction | None:
    """The value of a text that is one number and nothing else; otherwise None."""
    text = text.strip()
    number = next(numbers(text), None)
    if number is None or (number.start, number.end) != (0, len(text)):
        return None
    return number.values[0] if number.values else None


def _values(digits: str, exponent: str) -> tuple[Fraction, ...]:
    if len(digits) > LONGEST:
        return ()
    scale = Fraction(10) ** _whole(exponent) if exponent else 1
    plain = re.sub(f"[{_SPACED}]", "", digits)
    return tuple(dict.fromkeys(value * scale for value in _readings(plain)))


def _readings(digits: str) -> Iterator[Fraction]:
    """The possible values of digits with points and commas between them."""
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
    """The whole number in groups of three digits, or as in India of two before the last three; else None."""
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
