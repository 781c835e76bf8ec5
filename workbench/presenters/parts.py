"""What presenters are made of: tables without lines, dim text, bars, and the things that several results show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text as Line

from sessions.circuits.circuit import Circuit, Neuron
from sessions.events import Value
from sessions.interventions.arms import Arm
from sessions.model.info import ModelInfo
from workbench.writing import (
    MISSING,
    aim,
    facts,
    inline,
    percent,
    plain,
    signed,
)

WIDE = 100
"""Columns from which two texts stand side by side."""
_ANY_WIDTH = 10_000


class Sheet(NamedTuple):
    """What a presenter may need beside the result: columns, seconds it took, text that already stands above; and
    whether the result stands alone, with no pane beside it that shows the circuit's neurons."""

    width: int
    seconds: float = 0.0
    streamed: str = ""
    alone: bool = False


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


def circuit(found: Circuit, sheet: Sheet, of: int = 0, took: str = "") -> RenderableType:
    said = [
        f"{len(found):,} of {of:,} neurons" if of else f"{len(found):,} neurons",
        f"{aim(found.target)} = {signed(found.target.value)}" if found.target.stated else "",
        inline(found.chosen),
        "" if found.conservation is None else f"conservation off by {percent(found.conservation)}",
        inline(found.way),
        took,
    ]
    return facts(said, sheet.width)


def position(neuron: Neuron) -> str:
    return "all" if neuron.position is None else str(neuron.position)


_ENDINGS = {
    "eos": "ended by itself",
    "length": "cut at max_tokens",
    "nan": "stopped: its logits were no longer numbers",
}


def ending(arm: Arm) -> str:
    return _ENDINGS.get(arm.stopped, f"stopped: {inline(arm.stopped)}")


def in_force(arm: Arm) -> Iterator[str]:
    """At how many of its tokens something was in force; told apart where it is for several parts of the text."""
    if len(arm.parts) < 2:
        if arm.fired is not None:
            yield f"in force at {arm.fired:,} of {arm.read:,} tokens"
        return
    for part in arm.parts:
        where = f"{inline(part.part)}: {counted(part.neurons, 'neuron')}"
        yield f"{where} at {part.fired:,} of {arm.read:,} tokens" if part.fired else f"{where}, never in force"


def held_back(arm: Arm) -> str:
    """How often the stutter guard, or another rule against repetition, changed a text; "" where none did."""
    return f"{arm.guarded:,} {'repeat' if arm.guarded == 1 else 'repeats'} held back" if arm.guarded else ""


def counted(count: int, what: str) -> str:
    """A number of things."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def table(sheet: Sheet, *headings: str) -> Table:
    """A table without lines. A heading that starts with `>` is of numbers, right-aligned; one with `!` names the rows.
    Neither is cut."""
    gap = 2 if sheet.width >= WIDE else 1
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
    for heading in headings:
        number, key = heading.startswith(">"), heading.startswith("!")
        title = cell(heading.removeprefix(">").removeprefix("!"))
        table.add_column(title, justify="right" if number else "left", no_wrap=number or key)
    return table


def width_of(table: Table) -> int:
    """Cells that a table takes where nothing of it is cut."""
    console = Console(width=_ANY_WIDTH)
    return Measurement.get(console, console.options, table).maximum


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
