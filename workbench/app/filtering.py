"""Filters of tables: words of text, and comparisons of a column with a number. Pure: a text becomes its parts.

    attr>0.4   |effect|>1   share>5%   act <= 2   position=41   Austin   " the"

A column goes by its key, its title, or the beginning of either. A comparison may have spaces around its sign, and
`|column|` compares the size. A number equals one that rounds to it: `attr=0.4` finds .42. Percent columns compare what
they show, with or without the `%`. What is not finished yet, such as `attr>`, is left out; what is wrong, such as
`attr>x`, is left out too, and `wrong` says why. Everything else is a word: in quotes it is a text, without them a
table may read it in its own way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple


class FilterColumn(NamedTuple):
    """A column of numbers: its key, its title, and whether it shows fractions in percent."""

    key: str
    title: str
    percent: bool = False


class NumberComparison(NamedTuple):
    """A comparison of a column with a number.

    `sign` is one of `>`, `<`, `>=`, `<=`, `=` and `!=`. With `size` the sign of the value does not count. `step` is
    how far a value that equals the number may be from it: half of its last digit.
    """

    key: str
    sign: str
    number: float
    size: bool = False
    step: float = 0.0

    def holds(self, values: Any) -> Any:
        """Whether it is true of a number, or of each in an array; false of None and NaN."""
        if values is None:
            return False
        values = abs(values) if self.size else values
        match self.sign:
            case ">":
                return values > self.number
            case "<":
                return values < self.number
            case ">=":
                return values >= self.number
            case "<=":
                return values <= self.number
            case "!=":
                return abs(values - self.number) > self.step
        return abs(values - self.number) <= self.step


class FilterParts(NamedTuple):
    """The parts of a filter: comparisons, all of which are to hold; quoted texts; other words; and what is wrong."""

    comparisons: tuple[NumberComparison, ...] = ()
    quoted: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    wrong: str = ""


_NUMBER = r"[-+−.\d]\S*"
_PART = re.compile(
    r'"(?P<inside>[^"]*)"?'
    r"|(?P<bar>\|?)(?P<name>[^\W\d_][^\s\"|<>=!≤≥]*)(?P<end>\|?)"
    rf"(?:(?P<sign>[<>=!]=|[<>=≤≥])(?:\s*(?P<number>{_NUMBER})|(?P<wrong>\S*))"
    rf"|\s+(?P<apart>[<>=!]=|[<>=≤≥])\s*(?:(?P<after>{_NUMBER})|$))"
    r"|(?P<word>\S+)"
)
_UNFINISHED = re.compile(r"[-+]?\.?|[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?")
_SIGNS = {"≥": ">=", "≤": "<=", "==": "="}
#: The beginning of `|column|>1`, which is no text yet.
_BAR = re.compile(r"\|(?:[^\W\d_]\w*\|?)?")


def parts(text: str, columns: Sequence[FilterColumn]) -> FilterParts:
    """The parts of a filter as it is being typed. `columns` are those that a number can be compared with."""
    comparisons: list[NumberComparison] = []
    quoted: list[str] = []
    words: list[str] = []
    wrong = ""
    for match in _PART.finditer(text):
        sign = match["sign"] or match["apart"]
        if sign:
            found = _comparison(match, _SIGNS.get(sign, sign), columns)
            if isinstance(found, NumberComparison):
                comparisons.append(found)
            elif found is None:
                words += match[0].split()
            else:
                wrong = wrong or found
        elif match["inside"]:
            quoted.append(match["inside"])
        elif match["word"] and not _BAR.fullmatch(match["word"]):
            words.append(match["word"])
    return FilterParts(tuple(comparisons), tuple(quoted), tuple(words), wrong)


def hint(columns: Sequence[FilterColumn]) -> str:
    """What can be typed, shown while the filter is empty: `attr>0.4  |attr|>0.4  share>5%  text`."""
    plain = next((column.title for column in columns if not column.percent), "")
    percent = next((column.title for column in columns if column.percent), "")
    shown = [f"{plain}>0.4", f"|{plain}|>0.4"] if plain else []
    return "  ".join([*shown, *([f"{percent}>5%"] if percent else []), 'text  " text"'])


def _comparison(match: re.Match[str], sign: str, columns: Sequence[FilterColumn]) -> NumberComparison | str | None:
    """The comparison, or what is wrong with it: "" if it is only unfinished; None if it is none."""
    name, number = match["name"], (match["number"] or match["after"] or match["wrong"] or "").replace("−", "-")
    column = _named(name, columns)
    if column is None:
        if sign in ("=", "!=") or match["apart"] or not columns:
            return None
        return f"no column of numbers is '{name}': {', '.join(each.title for each in columns)}"
    if isinstance(column, str):
        return column
    if bool(match["bar"]) != bool(match["end"]):
        return f"write |{name}|{sign}{number}"
    percent, number = number.endswith("%"), number.removesuffix("%")
    if _UNFINISHED.fullmatch(number):
        return ""
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in number:
        return f"'{number}' is not a number"
    if percent and not column.percent:
        return f"{column.title} is not in percent"
    scale = 0.01 if column.percent else 1.0
    digits = 0 if "." not in number else len(number.partition(".")[2])
    step = 0.0 if "e" in number.lower() else 0.5 * 10.0**-digits
    return NumberComparison(column.key, sign, value * scale, bool(match["bar"]), step * scale)


def _named(name: str, columns: Sequence[FilterColumn]) -> FilterColumn | str | None:
    """The column that a name means; None if there is none, a message if there are several."""
    meant = name.casefold()
    exact = [column for column in columns if meant in (column.key.casefold(), column.title.casefold())]
    found = exact or [
        column for column in columns if any(each.casefold().startswith(meant) for each in (column.key, column.title))
    ]
    if len(found) > 1:
        return f"'{name}' may be {' or '.join(column.title for column in found)}"
    return found[0] if found else None
