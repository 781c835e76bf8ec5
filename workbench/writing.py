"""How single things are written in a terminal: text, numbers, bars, lists of facts.

Whatever comes from a user or a model passes through `plain`, `inline` or `quoted`, so that no character of it can
move the cursor, recolour the screen, turn the direction of reading or hide. Nothing in here draws.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sessions.circuits.circuit import Target

MISSING = "–"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_JOINERS = "\u200c\u200d"  # Persian and emoji need them, and they move nothing
_NUMBER_SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u08e2"  # format characters that are seen


class _Escapes(dict[int, str]):
    """A table for `str.translate` that learns, character by character, what has to be escaped."""

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
)  # other spaces than " " would look like it


def plain(text: str) -> str:
    """The text as several lines, safe to show: only newlines keep their effect."""
    return text.replace("\r\n", "\n").translate(_PLAIN)


def inline(text: str) -> str:
    r"""The text on one line, safe to show; a newline reads `\n`."""
    return text.translate(_INLINE)


def quoted(text: str) -> str:
    """The text in double quotes on one line, so that a leading space is seen and every character is known."""
    return f'"{text.translate(_QUOTED)}"'


def fitted(text: str, width: int) -> str:
    """One line cut to `width` cells, ending in `…` where something was cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def aim(target: Target) -> str:
    """What a circuit explains, in words: `logit " Austin" − logit " Dallas"`."""
    return target.described(quoted)


def signed(value: float | None, digits: int = 3) -> str:
    """A number that can help or hinder, its sign always shown: `+1.523`, `-0.040`, `+3.1e-05`."""
    if value is None or math.isnan(value):
        return MISSING
    if value == 0 or abs(value) >= 0.5 * 10**-digits:
        return f"{value:+.1f}" if abs(value) >= 1000 else f"{value:+.{digits}f}"
    return f"{value:+.1e}"


def chance(probability: float | None) -> str:
    """A probability: three decimals, or a power of ten where these would read 0."""
    if probability is None or math.isnan(probability):
        return MISSING
    return f"{probability:.3f}" if probability == 0 or probability >= 0.0005 else f"{probability:.0e}"


def percent(fraction: float | None, sign: bool = False) -> str:
    """A fraction as a percentage, to a digit that says something."""
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


def amount(done: float, total: float, unit: str) -> str:
    """How much of how much: `12/120 rows`, `3.1/270.9 MB`, `512 tokens`."""
    scale, unit = (1e6, "MB") if unit in ("B", "bytes") else (1.0, unit)
    form = ",.1f" if scale > 1 else ",.0f"
    numbers = f"{done / scale:{form}}/{total / scale:{form}}" if total else f"{done / scale:{form}}"
    return f"{numbers} {unit}".rstrip()


def bar(fraction: float | None, width: int) -> str:
    """`fraction` (0 to 1) of `width` cells, in eighths of a cell; whatever is more than nothing is seen."""
    if fraction is None or not fraction > 0:
        return ""
    eighths = max(1, round(min(fraction, 1.0) * width * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


#: Heights of a curve of one line.
SPARKS = "▁▂▃▄▅▆▇█"


def curve(values: Sequence[float], width: int) -> str:
    """Numbers as a curve of one line, from 0 to their largest, in `width` cells at most: each the mean of its share."""
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


def facts(parts: Iterable[str], width: int) -> Text:
    """Short facts in a row, ` · ` between them; lines break between facts, inside one only where it is too long."""
    lines: list[str] = []
    for part in filter(None, parts):
        if lines and cell_len(lines[-1]) + 3 + cell_len(part) <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return Text("\n".join(lines), overflow="fold")


def divergence(before: str, after: str) -> int:
    """Index of the first word in which two texts differ; the length of both when they are the same."""
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


_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


class Flow:
    """Text that arrives in bits, broken between words at the right edge of a terminal.

    The last word is held back until it is known to be complete: it may have to move to the next line.
    """

    def __init__(self, width: int) -> None:
        self.text = ""
        self._width = width
        self._column = 0
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be written now that `text` has come."""
        self.text += text
        pieces = _PIECES.findall(self._held + plain(text))
        self._held = pieces.pop() if pieces and self._open(pieces[-1]) else ""
        return "".join(map(self._placed, pieces))

    def finish(self) -> str:
        """The word that was held back; blanks at the end are nothing to show."""
        held, self._held = self._held, ""
        return "" if held.isspace() else self._placed(held)

    def _open(self, piece: str) -> bool:
        """Whether the next bit may still lengthen the piece, and it would still fit on a line."""
        return piece != "\n" and cell_len(piece) < self._width // 2 and cell_len(piece) == len(piece)

    def _placed(self, piece: str) -> str:
        length = cell_len(piece)
        if piece == "\n":
            self._column = 0
        elif self._column and self._column + length > self._width:
            self._column = 0 if piece.isspace() else length
            return "\n" + piece.strip()
        else:
            self._column = (self._column + length) % self._width if length > self._width else self._column + length
        return piece
