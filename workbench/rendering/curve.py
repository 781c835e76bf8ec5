"""A curve as lines of a terminal: braille dots between axes, the ends of both axes named.

Each line of the curve has its own mark at its points. Where there is no room for axes, a line is one row of bars with
its first and last number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isfinite

from rich.cells import cell_len
from rich.console import RenderableType
from rich.text import Text

from sessions.views.blocks import Curve
from sessions.views.writing import curve as sparks
from sessions.views.writing import decimal, inline
from workbench.writing import facts

#: The least width of a plot, and its height in rows.
_PLOT, _ROWS = 40, 8
#: The least points of a curve whose numbers stand in a table too.
_TABLED = 3
#: The marks of the points, line by line; more lines than marks have none.
_MARKS = "○●△▲□■◇◆"
#: Up to so many points are marked; more would hide the line.
_MARKED = 40
#: The bits of a braille character, by row and column of its dots.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

Points = Sequence[tuple[float, float]]


def curve(block: Curve, width: int, rows: int = _ROWS) -> Iterator[RenderableType]:
    """The title with the names of the lines, and the plot; bars in a row if there is no room for it.

    A tabled curve is drawn as a plot of at least three points alone: of fewer its table says as much.
    """
    lines = {inline(line.name): _known(line.points) for line in block.lines}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return
    points_needed = _TABLED if block.tabled else 2
    if width < _PLOT or rows < 3 or all(len(points) < points_needed for points in lines.values()):
        if not block.tabled:
            yield from _bars(block, lines, width)
        return
    marks = [f"{mark} {name}" for mark, name in zip(_MARKS, lines, strict=False)] if len(lines) > 1 else []
    title = facts([inline(block.title), *marks], width)
    title.stylize("dim")
    yield title
    yield Text("\n".join(_Plot(list(lines.values()), width, rows).rows(inline(block.x))), no_wrap=True)


def _known(points: Sequence[tuple[float, float | None]]) -> Points:
    return [(x, y) for x, y in points if y is not None and isfinite(x) and isfinite(y)]


def _bars(block: Curve, lines: dict[str, Points], width: int) -> Iterator[RenderableType]:
    """One row per line of the curve."""
    for line, points in lines.items():
        values = [y for _, y in points]
        name = " ".join(filter(None, (inline(block.title), line if len(lines) > 1 else "")))
        ends = f"{decimal(values[0], 3)} → {decimal(values[-1], 3)}"
        cells = max(8, min(60, width - cell_len(name) - cell_len(ends) - 2))
        yield Text(f"{name} {sparks(values, cells)} {ends}", overflow="fold")


class _Plot:
    """The dots of all lines, four rows and two columns per cell, within the range of their numbers."""

    def __init__(self, lines: Sequence[Points], width: int, rows: int) -> None:
        xs = [x for points in lines for x, _ in points]
        ys = [y for points in lines for _, y in points]
        self._x, self._y = (min(xs), max(xs)), _round_range(min(ys), max(ys))
        self._names = [decimal(self._y[1], 3), decimal(self._y[0], 3)]
        self._margin = max(map(cell_len, self._names))
        self._width, self._height = width - self._margin - 2, rows
        self._cells = [[0] * self._width for _ in range(rows)]
        self._marks: dict[tuple[int, int], str] = {}
        for number, points in enumerate(lines):
            places = [(self._column(x), self._level(y)) for x, y in points]
            for one, other in pairwise(places):
                self._line(one, other)
            if number < len(_MARKS) and len(points) <= _MARKED:
                self._marks |= {(y // 4, x // 2): _MARKS[number] for x, y in places}

    def rows(self, x: str) -> Iterator[str]:
        """The rows of the plot from its largest number down, and the range of `x` below them."""
        for y in range(self._height):
            name = {0: self._names[0], self._height - 1: self._names[1]}.get(y, "")
            dots = "".join(self._cell(y, column) for column in range(self._width))
            yield f"{name:>{self._margin}} │{dots}".rstrip()
        first, last = (f"{end:g}" for end in self._x)
        between = self._width - cell_len(first) - cell_len(last)
        yield f"{'':{self._margin}}  {first}{x:^{between}}{last}" if between > cell_len(x) else f"{first} … {last}"

    def _cell(self, y: int, x: int) -> str:
        dots = self._cells[y][x]
        return self._marks.get((y, x)) or (chr(0x2800 + dots) if dots else " ")

    def _column(self, x: float) -> int:
        first, last = self._x
        return round((x - first) / (last - first) * (2 * self._width - 1)) if last > first else self._width

    def _level(self, y: float) -> int:
        lowest, highest = self._y
        return round((highest - y) / (highest - lowest) * (4 * self._height - 1))

    def _line(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        (x0, y0), (x1, y1) = one, other
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x, y = x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps)
            self._cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]


def _round_range(lowest: float, highest: float) -> tuple[float, float]:
    """The range of an axis: from 0 where the numbers come near it, to 1 where they are fractions near 1."""
    span = highest - lowest
    if 0 <= lowest < max(span, highest / 2):
        lowest = 0.0
    if 0.5 <= highest <= 1.0 and lowest >= 0:
        highest = 1.0
    return (lowest, highest) if highest > lowest else (lowest - 0.5, highest + 0.5)
