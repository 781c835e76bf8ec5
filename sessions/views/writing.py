"""How texts, numbers and bars are written on every surface.

Every text of a user or a model passes through `plain`, `inline` or `quoted`, so that no character of it can move the
cursor, change colours, reverse the reading direction or stay invisible.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from sessions.model.target import Target
from sessions.views.blocks import Cell, Column

MISSING = Column(key="", title="").unknown
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_JOINERS = "\u200c\u200d"  # Persian and emoji need them, and they are harmless
_NUMBER_SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u08e2"  # format characters that are visible


class _Escapes(dict[int, str]):
    """A table for `str.translate` that is filled as characters occur."""

    def __init__(self, categories: tuple[str, ...], exceptions: dict[str, str]) -> None:
        super().__init__((ord(character), shown) for character, shown in exceptions.items())
        self._categories = categories

    def __missing__(self, code: int) -> str:
        character = chr(code)
        harmless = not unicodedata.category(character).startswith(self._categories)
        shown = character if harmless or character in _JOINERS + _NUMBER_SIGNS else _escaped(code)
        self[code] = shown
        return shown


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Controls (C0, C1), format characters (bidi, zero width, tags), lone surrogates, line and paragraph separators.
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_PLAIN = _Escapes(_UNSAFE, {"\n": "\n", "\t": "    "})
_INLINE = _Escapes(_UNSAFE, {"\n": "\\n", "\t": "\\t", "\r": "\\r"})
_QUOTED = _Escapes(
    (*_UNSAFE, "Zs"), {" ": " ", "\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
)  # other spaces would look like " "


def plain(text: str) -> str:
    """The text on several lines, safe to show: only newlines keep their effect."""
    return text.replace("\r\n", "\n").translate(_PLAIN)


def inline(text: str) -> str:
    r"""The text on one line, safe to show; a newline reads `\n`."""
    return text.translate(_INLINE)


def escaped(text: str) -> str:
    """The text on one line, escaped for HTML."""
    return html.escape(inline(text))


#: A byte that is no character by itself, in a token's text: its backslash is not doubled.
_BYTE, _ONE_BACKSLASH = re.compile(r"\\\\(x[89a-f][0-9a-f])"), r"\\\1"


def quoted(text: str) -> str:
    r"""The text in double quotes on one line, so that every space and character is visible; a lone byte as `\xe3`."""
    return f'"{_BYTE.sub(_ONE_BACKSLASH, text.translate(_QUOTED))}"'


def aim(target: Target) -> str:
    """The target in words: `logit " Austin" − logit " Dallas"`."""
    return target.described(quoted)


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign always shown: `+1.523`, `-0.040`, `+3.1e-05`."""
    if value is None or math.isnan(value):
        return MISSING
    if value == 0 or abs(value) >= 0.5 * 10**-digits:
        return f"{value:+.1f}" if abs(value) >= 1000 else f"{value:+.{digits}f}"
    return f"{value:+.1e}"


def chance(probability: float | None) -> str:
    """A probability with three decimals, in scientific notation where these would read 0."""
    if probability is None or math.isnan(probability):
        return MISSING
    return f"{probability:.3f}" if probability == 0 or probability >= 0.0005 else f"{probability:.0e}"


def percent(fraction: float | None, sign: bool = False) -> str:
    """A fraction as a percentage, with at least one significant digit."""
    if fraction is None or math.isnan(fraction):
        return MISSING
    if fraction == 0 or abs(fraction) >= 0.0005:
        return f"{fraction:+.1%}" if sign else f"{fraction:.1%}"
    return f"{100 * fraction:+.0e}%" if sign else f"{100 * fraction:.0e}%"


def multiple(multiplier: float) -> str:
    """A multiplier: `×0`, `×1.5`."""
    return f"×{multiplier:g}"


def duration(seconds: float) -> str:
    """`0.20 s`, `12.3 s`, `2 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def counted(count: int, what: str) -> str:
    """A number of things: `1 line`, `2 lines`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def cells(text: str) -> int:
    """The width of a text in cells of a monospaced font: East Asian wide characters take two, marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) or each in _JOINERS else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def shortened(text: str, length: int) -> str:
    """The text, or its beginning and `…`, in at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def written(cell: Cell, column: Column) -> str:
    """A cell of a column, safe to show on one line."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return column.unknown
    if isinstance(cell, tuple):
        if column.kind == "context":
            before, token, after = map(inline, cell)
            return f"{before}▸{token}◂{after}"
        return " ".join(map(quoted, cell)) or MISSING
    if isinstance(cell, str):
        return quoted(cell) if column.kind == "token" else inline(cell)
    return number(cell, column)


def number(value: float, column: Column) -> str:
    """A number as its column writes it."""
    if column.words and (word := dict(column.words).get(value)) is not None:
        return word
    if column.rounded:
        value = round(value, column.digits) + 0.0
    if column.kind == "share" or column.kind == "signed share":
        sign = column.kind == "signed share"
        whole = f"{value:{'+' if sign else ''}.{column.digits or 0}%}"
        return percent(value, sign) if column.digits is None else "+0%" if whole == "-0%" else whole
    if column.kind == "multiple":
        return multiple(value) if column.digits is None else f"×{decimal(value, column.digits)}"
    if column.kind in ("index", "name"):
        return f"{value:d}" if isinstance(value, int) else f"{value:g}"
    if column.kind == "signed":
        return f"{value:+,}" if isinstance(value, int) else signed(value, 3 if column.digits is None else column.digits)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if column.digits is None else decimal(value, column.digits)


def decimal(value: float, digits: int) -> str:
    """A number with `digits` decimals; in scientific notation where that would read 0 or take a dozen cells."""
    if abs(value) >= 1e6:
        return f"{value:.2e}"
    return f"{value:,.{digits}f}" if value == 0 or abs(value) >= 0.5 * 10**-digits else f"{value:.0e}"


def bar(fraction: float | None, width: int) -> str:
    """A bar of `fraction` (0 to 1) of `width` cells, in eighths of a cell; any value above 0 is visible."""
    if fraction is None or not fraction > 0:
        return ""
    eighths = max(1, round(min(fraction, 1.0) * width * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


#: Heights of a one-line curve.
SPARKS = "▁▂▃▄▅▆▇█"


def curve(values: Sequence[float], width: int) -> str:
    """Numbers as a one-line curve from 0 to their largest, in at most `width` cells, each the mean of its numbers."""
    groups = min(width, len(values))
    bounds = [round(number * len(values) / groups) for number in range(groups + 1)] if groups else []
    means = [sum(values[first:last]) / (last - first) for first, last in pairwise(bounds)]
    largest = max((mean for mean in means if math.isfinite(mean)), default=0.0)
    if not largest > 0:
        return ""
    return "".join(
        SPARKS[min(len(SPARKS) - 1, int(max(mean, 0.0) / largest * len(SPARKS)))] if math.isfinite(mean) else "?"
        for mean in means
    )


def divergence(before: str, after: str) -> int:
    """Index of the first word in which two texts differ; their length where they are equal."""
    pairs = zip(before, after, strict=False)
    same = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(before), len(after)))
    if len(before) == len(after) == same:
        return same
    while same and (_continues(before, same) or _continues(after, same)):
        same -= 1
    return same


def _continues(text: str, index: int) -> bool:
    """Whether a mark before `index` would split a word or a composed character."""
    if index >= len(text):
        return False
    here, previous = text[index], text[index - 1]
    if unicodedata.combining(here) or here in _JOINERS or previous in _JOINERS or "\ufe00" <= here <= "\ufe0f":
        return True
    alphabetic = here < "\u2e80" and previous < "\u2e80"  # Chinese and Japanese write no spaces between words
    return alphabetic and here.isalnum() and previous.isalnum()
