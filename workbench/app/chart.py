"""A chart of probabilities by multiplier, drawn in braille dots, with the multipliers below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from workbench.app.wrapping import row
from workbench.writing import SPARKS, bar, chance, multiple

_DIM, _BOLD = Style(dim=True), Style(bold=True)
_POINT, _CHOSEN = "○", "●"
#: The bits of a braille character, by row and column of its dots.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(frozen=True)
class CurveChart:
    """Probabilities by multiplier, in rising order; `chosen` is the index of the chosen point."""

    points: Sequence[tuple[float, float]]
    chosen: int

    def drawn(self, width: int, height: int) -> list[Strip]:
        """The curve in so many cells; one row of bars if there is no room for axes."""
        if height < 4 or width < 24 or len(self.points) < 2:
            return [self._sparks(width)] if height > 0 and self.points else []
        return _Plot(self, width - len("1.0 │"), height - 1).rows()

    def _sparks(self, width: int) -> Strip:
        """`×0 ▁▃[▆]█ ×2`."""
        lowest, highest = multiple(self.points[0][0]), multiple(self.points[-1][0])
        bars = [SPARKS[min(int(max(p, 0) * 8), 7)] for _, p in self.points]
        bars[self.chosen] = f"[{bars[self.chosen]}]"
        at, p = self.points[self.chosen]
        chosen = f"   {multiple(at)}  {chance(p)} {bar(p, 10)}"
        return row((f"{lowest} ", _DIM), "".join(bars), (f" {highest}", _DIM), chosen)


class _Plot:
    """The dots of a curve, four rows and two columns per cell."""

    def __init__(self, curve: CurveChart, width: int, height: int) -> None:
        self._curve = curve
        self._width, self._height = width, height
        self._cells = [[0] * width for _ in range(height)]
        points = [(self._column(at), self._level(p)) for at, p in curve.points]
        for (x0, y0), (x1, y1) in pairwise(points):
            self._line(x0, y0, x1, y1)
        self._marks = {(y // 4, x // 2): _POINT for x, y in points}
        x, y = points[curve.chosen]
        self._marks[y // 4, x // 2] = _CHOSEN

    def rows(self) -> list[Strip]:
        """The rows of the plot from 1.0 down to 0.0, and the multipliers below them."""
        middle = (self._height - 1) // 2 if self._height % 2 else None
        names = {0: "1.0", middle: "0.5", self._height - 1: "0.0"}
        return [
            *(row((f"{names.get(y, ''):>3} │", _DIM), "".join(self._cell(y, x) for x in range(self._width)))
              for y in range(self._height)),
            self._labels(),
        ]  # fmt: skip

    def _cell(self, y: int, x: int) -> str:
        dots = self._cells[y][x]
        return self._marks.get((y, x)) or (chr(0x2800 + dots) if dots else " ")

    def _column(self, at: float) -> int:
        lowest, highest = self._curve.points[0][0], self._curve.points[-1][0]
        share = (at - lowest) / (highest - lowest) if highest > lowest else 0.5
        return 4 + round(share * (2 * self._width - 9))

    def _level(self, p: float) -> int:
        return round((1 - min(max(p, 0.0), 1.0)) * (4 * self._height - 1))

    def _line(self, x0: int, y0: int, x1: int, y1: int) -> None:
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x, y = x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps)
            self._cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    def _labels(self) -> Strip:
        """The multipliers under their points, the chosen one in brackets. Labels that would touch are left out."""
        chosen = self._curve.chosen
        order = sorted(range(len(self._curve.points)), key=lambda place: place != chosen)
        line = [" "] * (self._width + 5)
        for place in order:
            at = self._curve.points[place][0]
            label = f"[{multiple(at)}]" if place == chosen else multiple(at)
            centre = 5 + self._column(at) // 2
            start = min(max(centre - cell_len(label) // 2, 0), len(line) - len(label))
            end = start + len(label)
            if all(character == " " for character in line[max(start - 1, 0) : end + 1]):
                line[start:end] = label
        return row("".join(line))
