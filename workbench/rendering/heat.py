"""A heat map as lines of a terminal: one shade per cell, names of rows at the left, names of columns below.

All columns are visible at every width. On a narrow terminal a column is one cell wide; if that is still too wide,
neighbouring columns are drawn as one, with their strongest shade. Names of columns are drawn where they have room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, isnan

from rich.cells import cell_len
from rich.console import RenderableType
from rich.text import Text

from sessions.views.blocks import Heat
from sessions.views.writing import decimal, inline
from workbench.writing import facts, fitted

#: The least fraction of the largest number for each shade, and the least fraction of the way along a scale. Numbers
#: before the start of a scale are blank.
_SIZES = {0.5: "█", 0.2: "▓", 0.05: "▒", 0.005: "░", 0.0: "·"}
_STEPS = {0.9: "█", 0.6: "▓", 0.3: "▒", 0.1: "░", 0.0: "·"}
#: The most cells of a column.
_WIDEST = 12


def heat(block: Heat, width: int) -> Iterator[RenderableType]:
    """The title with a legend of the shades, the rows, and the names of the columns."""
    names, columns = [*map(inline, block.rows)], [*map(inline, block.columns)]
    beside = min(max(map(cell_len, names), default=0), width // 2) + 2
    room = max(1, width - beside)
    as_one = max(1, -(-len(columns) // room))
    heads = columns[::as_one]
    across = max(1, min(_WIDEST, 1 + max(map(cell_len, columns), default=0), room // max(1, len(heads))))
    shades = _Shades(block)
    yield facts([inline(block.title), *shades.legend()], width)
    lines = []
    for name, row in zip(names, block.cells, strict=True):
        groups = (row[at : at + as_one] for at in range(0, len(row), as_one))
        cells = (max(group, key=shades.strength) for group in groups)
        line = "".join(shades.of(cell) * across for cell in cells)
        lines.append(f"{fitted(name, beside - 2):>{beside - 2}} │{line}".rstrip())
    lines.append((" " * beside + _axis(heads, across)).rstrip())
    yield Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
    if as_one > 1:
        note = f"{as_one} columns are drawn as one, with their strongest shade"
        yield Text(note, style="dim", overflow="fold")


class _Shades:
    """The characters of a map, and their legend."""

    def __init__(self, block: Heat) -> None:
        self._scale = block.scale
        known = (abs(value) for row in block.cells for value in row if value is not None and isfinite(value))
        self._largest = max(known, default=0.0)

    def of(self, value: float | None) -> str:
        """The shade of a cell: blank for None, `?` for NaN."""
        if value is None or isnan(value):
            return " " if value is None else "?"
        part = self.strength(value)
        return next((shade for least, shade in (_STEPS if self._scale else _SIZES).items() if part >= least), " ")

    def strength(self, value: float | None) -> float:
        """The strength of a cell's shade; negative if it has none."""
        if value is None or isnan(value):
            return -float("inf")
        if self._scale is not None:
            return self._scale.part(value)
        return abs(value) / self._largest if self._largest else -1.0

    def legend(self) -> list[str]:
        """The meaning of the characters."""
        if self._scale is None:
            sizes = [(shade, least * self._largest) for least, shade in _SIZES.items() if least and self._largest]
            return [f"{shade} ≥ {decimal(size, 2)}" for shade, size in sizes]
        start, end = map(inline, self._scale.names)
        steps = "  ".join(f"{shade} {least:.0%}" for least, shade in _STEPS.items())
        return [f"shades: part of the way from {start} to {end}", steps, "blank: further away"]


def _axis(names: Sequence[str], across: int) -> str:
    """The names of columns, as many as have room."""
    line, width = "", len(names) * across
    for number, name in enumerate(names):
        start = number * across
        if start >= cell_len(line) + bool(line):
            line += " " * (start - cell_len(line)) + fitted(name, max(1, width - start))
    return line if cell_len(line) <= width else fitted(line, width)
