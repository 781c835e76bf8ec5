"""A circuit's attributions or effects, summed by layer and position, and the layout of a map of the sums.

Layers go up, tokens to the right. Layers and positions without neurons are drawn if there is room for all. In a low
pane two layers share a row. What still does not fit can be scrolled to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from workbench.app.columns import CircuitColumns
from workbench.writing import bar, fitted, signed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workbench.app.columns import Numbers

MORE, LESS, UNKNOWN = "░▒▓█", "·-=#", "?"
#: The least fraction of the largest sum for each character.
STEPS = (0.0, 0.05, 0.2, 0.5)
#: The most cells of a column, and the cells per column for which positions without neurons are drawn as well.
_WIDEST, _ALL = 10, 7
#: Below this height two layers share a row if one each does not fit.
_LOW = 16
#: The height from which there is a legend, and from which the cursor's readout has two lines.
_LEGEND, _TWO_LINES = 8, 10
#: Cells of a layer's sum, and the most cells of its bar.
_SUM, _BAR = 9, 24
#: A column wider than this has its token below it; under narrower columns a mark shows where each token begins.
_NARROW = 3
_TOKEN = 12


@dataclass(frozen=True)
class HeatCell:
    """The sum over some neurons and their count; `total` is None if no value is known."""

    total: float | None = None
    count: int = 0


class HeatMap:
    """The sums of a circuit by layer and position.

    Args:
        columns: the circuit's numbers; many of them take a moment.
        values: the numbers to sum, one per neuron.

    Attributes:
        layers: the layers that have neurons, lowest first.
        positions: the positions that have neurons, in order; None (all positions) comes last.
    """

    def __init__(self, columns: CircuitColumns, values: Numbers) -> None:
        import numpy as np

        layers, of_layer = np.unique(columns.layers, return_inverse=True)
        positions, of_position = np.unique(columns.positions, return_inverse=True)
        self.layers = [int(layer) for layer in layers]
        self.positions = [None if position != position else int(position) for position in positions]
        cells = of_layer.reshape(-1) * len(positions) + of_position.reshape(-1)
        known = ~np.isnan(values)
        self._sums = self._table(cells, np.where(known, values, 0.0))
        self._known = self._table(cells, known)
        self._counts = self._table(cells, np.ones(len(columns)))
        self._rows = np.argsort(cells, kind="stable")
        self._starts = np.searchsorted(cells[self._rows], np.arange(self._sums.size + 1))
        self._row = {layer: number for number, layer in enumerate(self.layers)}
        self._column = {position: number for number, position in enumerate(self.positions)}

    def _table(self, cells: NDArray[np.intp], values: NDArray[Any]) -> NDArray[np.float64]:
        import numpy as np

        shape = len(self.layers), len(self.positions)
        counted: NDArray[np.float64] = np.bincount(cells, values, shape[0] * shape[1]).astype(float)
        return counted.reshape(shape)

    def cells(self, layers: range, positions: Sequence[int | None]) -> list[HeatCell]:
        """The cells of some layers at each of some positions."""
        numbers = self._numbers(layers)
        there = [self._column[position] for position in positions if position in self._column]
        tables = (table[numbers][:, there].sum(0).tolist() for table in (self._sums, self._known, self._counts))
        cells = (HeatCell(total if known else None, int(count)) for total, known, count in zip(*tables, strict=True))
        return [next(cells) if position in self._column else HeatCell() for position in positions]

    def layer(self, layers: range) -> HeatCell:
        """The cell of some layers over all positions."""
        numbers = self._numbers(layers)
        known = self._known[numbers].sum()
        return HeatCell(float(self._sums[numbers].sum()) if known else None, int(self._counts[numbers].sum()))

    def rows(self, layers: range, position: int | None, most: int | None = None) -> list[int]:
        """The rows of a cell's neurons in the circuit, at most `most` of them."""
        if position not in self._column:
            return []
        cells = [number * len(self.positions) + self._column[position] for number in self._numbers(layers)]
        pieces = [self._rows[self._starts[cell] : self._starts[cell + 1]][:most].tolist() for cell in cells]
        return sorted(row for piece in pieces for row in piece)[:most]

    def largest(self, span: int) -> float:
        """The largest |sum| of a cell of `span` layers."""
        return max((float(abs(sums).max()) for sums in self._spans(span).values()), default=0.0)

    def strongest(self) -> tuple[int, int | None]:
        """The layer and position of the largest |sum|."""
        row, column = divmod(int(abs(self._sums).argmax()), len(self.positions))
        return self.layers[row], self.positions[column]

    def _numbers(self, layers: range) -> list[int]:
        return [self._row[layer] for layer in layers if layer in self._row]

    def _spans(self, span: int) -> dict[int, NDArray[np.float64]]:
        spans: dict[int, NDArray[np.float64]] = {}
        for layer, sums in zip(self.layers, self._sums, strict=True):
            spans[layer // span] = spans[layer // span] + sums if layer // span in spans else sums
        return spans


def shade(cell: HeatCell, largest: float) -> str:
    """The character of a sum: fuller for larger sums, from another set for negative ones."""
    if not cell.count:
        return " "
    if cell.total is None:
        return UNKNOWN
    part = abs(cell.total) / largest if largest else 0.0
    level = max(number for number, step in enumerate(STEPS) if part >= step)
    return (LESS if cell.total < 0 else MORE)[level]


def drawn_bar(total: float | None, largest: float, width: int) -> str:
    """A sum as a bar: blocks if it is positive, `#` if it is negative."""
    if not total or not largest:
        return ""
    part = abs(total) / largest
    return bar(part, width) if total > 0 else LESS[-1] * max(round(part * width), 1)


@dataclass(frozen=True)
class Drawing:
    """The layout of a map.

    Attributes:
        bands: the layers of each row, highest first; `rows` of them are visible.
        positions: the positions of the columns; `across` of them, each `wide` cells, are visible.
        label: cells for the names of the layers.
        sums: whether each row ends with its sum.
        bar: cells for the bars of the rows.
        below: lines under the tokens for the cursor's readout.
        legend: whether there is a legend after them.
        largest, largest_sum: the largest |sum| of a cell and of a row.
    """

    bands: Sequence[range]
    rows: int
    positions: Sequence[int | None]
    across: int
    wide: int
    label: int
    sums: bool
    bar: int
    below: int
    legend: bool
    largest: float
    largest_sum: float

    def row(self, layer: int) -> int:
        """The row of a layer."""
        return next((number for number, band in enumerate(self.bands) if layer in band), 0)

    def column(self, position: int | None) -> int:
        """The column of a position."""
        return self.positions.index(position) if position in self.positions else 0


def laid_out(heat: HeatMap, tokens: int, width: int, height: int, wider: int = 0) -> Drawing:
    """The layout for a prompt of so many tokens in a pane of this size, with columns `wider` than the default."""
    legend = height >= _LEGEND
    room = max(height - 1 - legend - (2 if height >= _TWO_LINES else height > 2), 1)
    span = 2 if len(heat.layers) > room and height < _LOW else 1
    bands = _bands(heat.layers, span, room)
    rows = min(room, len(bands))
    label = max(len(named(band)) for band in bands) + 2
    beside = 0 if width < 30 else _SUM if width < 45 else _SUM + 9
    left = max(width - label - beside, 1)
    positions = _columns(heat.positions, tokens, left)
    wide = max(min(left // len(positions), _WIDEST) or 1, 1) + wider
    wide = max(min(wide, left), 1)
    across = max(min(left // wide, len(positions)), 1)
    totals = [heat.layer(band).total or 0.0 for band in bands]
    return Drawing(
        bands=bands,
        rows=rows,
        positions=positions,
        across=across,
        wide=wide,
        label=label,
        sums=beside > 0,
        bar=min(width - label - across * wide - _SUM - 1, _BAR) if beside > _SUM else 0,
        below=max(height - rows - 1 - legend, 0),
        legend=legend,
        largest=heat.largest(span),
        largest_sum=max(map(abs, totals), default=0.0),
    )


def _bands(layers: Sequence[int], span: int, room: int) -> list[range]:
    bands = sorted({layer // span for layer in layers}, reverse=True)
    if bands[0] - bands[-1] < room:
        bands = list(range(bands[0], bands[-1] - 1, -1))
    return [range(band * span, (band + 1) * span) for band in bands]


def _columns(positions: Sequence[int | None], tokens: int, room: int) -> Sequence[int | None]:
    every = [*range(tokens), *([None] if None in positions else [])]
    fits = len(every) * _ALL <= room and all(position is None or 0 <= position < tokens for position in positions)
    return every if fits else positions


def named(band: range) -> str:
    """The layers of a row: `L24`, `L24-25`."""
    return f"L{band[0]}" if len(band) == 1 else f"L{band[0]}-{band[-1]}"


def scrolled(first: int, cursor: int, room: int, count: int) -> int:
    """The first visible item, for a visible cursor and no wasted room. It scrolls by a third of the room."""
    if not first <= cursor < first + room:
        first = cursor - room // 3 if cursor < first else cursor - room + 1 + room // 3
    return max(min(first, count - room), 0)


def axis(tokens: Sequence[str], at: int, wide: int, room: int) -> str:
    """Tokens under their columns, where they have room; the token of column `at` always, marked `▴`."""
    drawn = [" "] * room
    here = at * wide
    left, text = _pointed(fitted(tokens[at], max(wide - 2, _TOKEN)), here, room)
    drawn[left : left + cell_len(text)] = [text, *[""] * (cell_len(text) - 1)]
    for number, token in enumerate(tokens):
        left = number * wide
        text = fitted(token, wide - 1) if wide > _NARROW else f"╵{fitted(token, _TOKEN)}"
        end = left + cell_len(text)
        if end <= room and all(cell == " " for cell in drawn[max(left - 1, 0) : end + 1]):
            drawn[left:end] = [text, *[""] * (end - left - 1)]
    return "".join(drawn).rstrip()


def _pointed(token: str, here: int, room: int) -> tuple[int, str]:
    """A token beside the mark of its column, on the side that has room: its first cell, and the text."""
    before, behind = here, room - here - 1
    if cell_len(token) <= behind or behind >= before:
        return here, f"▴{fitted(token, behind) if behind else ''}"
    token = fitted(token, before)
    return here - cell_len(token), f"{token}▴"


def summed(cell: HeatCell) -> str:
    """The sum of a row as text."""
    return f"{signed(cell.total, 2) if cell.count else '':>{_SUM}}"


def legend(largest: float) -> str:
    """The meaning of the characters."""
    steps = zip(MORE[1:], LESS[1:], STEPS[1:], strict=True)
    return f"{MORE} +   {LESS} −   " + "  ".join(f"{more}{less} ≥ {largest * step:.2g}" for more, less, step in steps)


def packed(words: Iterator[str], width: int, lines: int) -> list[str]:
    """Words on lines of this width, as many as fit, with `…` if some are left over."""
    packed_lines: list[str] = []
    for word in words:
        if packed_lines and cell_len(packed_lines[-1]) + 2 + cell_len(word) <= width:
            packed_lines[-1] += f"  {word}"
        elif len(packed_lines) < lines:
            packed_lines.append(fitted(word, width))
        else:
            if packed_lines and not packed_lines[-1].endswith("…"):
                packed_lines[-1] = fitted(f"{packed_lines[-1]} …", width)
            break
    return packed_lines
