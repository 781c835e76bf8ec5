"""Texts for a terminal: those of `sessions.views.writing`, and those measured in cells. Nothing here draws."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sessions.views.writing import (
    MISSING,
    SPARKS,
    aim,
    bar,
    chance,
    divergence,
    duration,
    inline,
    multiple,
    percent,
    plain,
    quoted,
    signed,
)

__all__ = [
    "MISSING", "SPARKS", "FlowingText", "aim", "amount", "around", "bar", "chance", "divergence", "duration", "facts",
    "fitted", "inline", "multiple", "percent", "plain", "quoted", "signed",
]  # fmt: skip


def fitted(text: str, width: int) -> str:
    """One line cut to `width` cells; a cut line ends in `…`."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def around(before: str, token: str, after: str, width: int) -> str:
    """A marked token with its context on one line: `…before▸token◂after…`.

    Each side gets half of the room beside the token, and what the other side does not need.
    """
    marked, before, after = f"▸{inline(token)}◂", inline(before), inline(after)
    beside = max(1, width - cell_len(marked))
    room = max(beside // 2, beside - cell_len(after))
    if cell_len(before) > room:
        while before and cell_len(before) >= room:
            before = before[1:]
        before = f"…{before}"
    return fitted(f"{before}{marked}{after}", width)


def amount(done: float, total: float, unit: str) -> str:
    """Progress as text: `12/120 rows`, `3.1/270.9 MB`, `512 tokens`."""
    scale, unit = (1e6, "MB") if unit in ("B", "bytes") else (1.0, unit)
    form = ",.1f" if scale > 1 else ",.0f"
    numbers = f"{done / scale:{form}}/{total / scale:{form}}" if total else f"{done / scale:{form}}"
    return f"{numbers} {unit}".rstrip()


def facts(parts: Iterable[str], width: int) -> Text:
    """Short facts in a row, joined by ` · `. Lines break between facts, inside one only if it is too long."""
    lines: list[str] = []
    for part in filter(None, parts):
        if lines and cell_len(lines[-1]) + 3 + cell_len(part) <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return Text("\n".join(lines), overflow="fold")


_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


class FlowingText:
    """Streamed text, broken between words at the right edge of a terminal.

    The last word is held back until it is complete: it may have to move to the next line.
    """

    def __init__(self, width: int) -> None:
        self.text = ""
        self._width = width
        self._column = 0
        self._held = ""

    def feed(self, text: str) -> str:
        """Add `text`. Returns what can be written now."""
        self.text += text
        pieces = _PIECES.findall(self._held + plain(text))
        self._held = pieces.pop() if pieces and self._open(pieces[-1]) else ""
        return "".join(map(self._placed, pieces))

    def finish(self) -> str:
        """The word that was held back; '' if it is blank."""
        held, self._held = self._held, ""
        return "" if held.isspace() else self._placed(held)

    def _open(self, piece: str) -> bool:
        """Whether more text may lengthen the piece, and it would still fit on a line."""
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
