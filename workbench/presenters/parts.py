"""What presenters are made of: tables without lines, dim text, bars, and the things that several results show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions.events import Value
from sessions.model.info import ModelInfo
from sessions.model.units import Neuron
from workbench.writing import (
    MISSING,
    facts,
    inline,
    plain,
)

WIDE = 100
"""Columns from which two texts stand side by side."""


class Sheet(NamedTuple):
    """What a presenter may need beside the result: columns, seconds it took, text that already stands above."""

    width: int
    seconds: float = 0.0
    streamed: str = ""


@singledispatch
def shown(value: Value, sheet: Sheet) -> Iterable[RenderableType]:
    raise NotImplementedError(f"no presenter for {type(value).__name__}")


def model(info: ModelInfo, sheet: Sheet) -> RenderableType:
    widths = sorted(set(info.d_mlp))
    d_mlp = f"{widths[0]:,}" if len(widths) == 1 else f"{widths[0]:,}–{widths[-1]:,}" if widths else MISSING
    kind = f"{info.dtype} {info.quantisation}".strip()
    opened = [inline(info.name), inline(info.family), f"{info.n_parameters / 1e6:,.1f} M parameters"]
    shape = [f"{info.n_layers} layers", f"d_model {info.d_model:,}", f"d_mlp {d_mlp}", f"{info.n_heads} heads"]
    template = "chat template" if info.has_template else "no chat template"
    return facts([*opened, f"{kind} on {info.device}", *shape, f"{info.vocab_size:,} tokens", template], sheet.width)


def position(neuron: Neuron) -> str:
    return "all" if neuron.position is None else str(neuron.position)


def table(sheet: Sheet, *headings: str) -> Table:
    """A table without lines. A heading that starts with `>` is of numbers: right-aligned, never cut."""
    gap = 2 if sheet.width >= WIDE else 1
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
    for heading in headings:
        number = heading.startswith(">")
        table.add_column(cell(heading.removeprefix(">")), justify="right" if number else "left", no_wrap=number)
    return table


def cell(text: str) -> Line:
    """Text in a table: one line, cut with `…` where the terminal is too narrow."""
    return Line(text, no_wrap=True, overflow="ellipsis")


def text(text: str) -> Line:
    """Generated text, whole. Nothing at all is said, not shown as an empty line."""
    return Line(plain(text), overflow="fold") if text else Line("(empty)", style="dim")


def dim(line: Line) -> Line:
    line.stylize("dim")
    return line


def bar_cells(sheet: Sheet, beside: int) -> int:
    """Cells for bars next to `beside` cells of other columns."""
    return max(6, min(40, sheet.width - beside))


def pairs(rows: Mapping[str, str | Line]) -> Table:
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, said in rows.items():
        grid.add_row(Line(inline(name)), Line(inline(said)) if isinstance(said, str) else said)
    return grid


def columns(cells: Sequence[str], width: int) -> RenderableType:
    """Short entries in as many columns as fit, read downwards."""
    if not cells:
        return Line("no tokens", style="dim")
    widest = max(map(cell_len, cells))
    across = max(1, (width + 3) // (widest + 3))
    down = -(-len(cells) // across)
    grid = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    for _ in range(across):
        grid.add_column(no_wrap=True)
    for row in range(down):
        grid.add_row(*(cell(each) for each in cells[row::down]))
    return grid
