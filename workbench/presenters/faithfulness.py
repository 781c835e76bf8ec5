"""What a circuit keeps, and what is left without it: the result of `faithfulness`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from sessions import results
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, bar, facts, inline, signed

#: Longer bars do not say more: those of what is kept are in the middle of a table of numbers.
LONGEST = 24


@shown.register
def _(value: results.Faithfulness, sheet: parts.Sheet) -> Iterator[RenderableType]:
    prompts = parts.counted(value.prompts, "prompt")
    targets = [f"mean target {signed(value.whole)}", f"{signed(value.none)} with all neurons held"]
    drawn = f"random: mean of {value.controls} draws" if value.controls else ""
    yield facts(
        [prompts, *targets, f"held at {inline(value.held)}", f"{inline(value.order)} first", drawn], sheet.width
    )
    cells = min(parts.bar_cells(sheet, beside=48) // 2, LONGEST)
    scale = max(1.0, *(each or 0.0 for row in value.rows for each in (row.kept, row.left)))
    control = (">random kept", ">random left") if value.controls else ()
    table = parts.table(sheet, ">size", ">kept", "", ">left", "", *control)
    for row in value.rows:
        table.add_row(
            "all" if row.size == value.size else f"{row.size:,}",
            _fraction(row.kept),
            _curve(row.kept, scale, cells),
            _fraction(row.left),
            _curve(row.left, scale, cells),
            *([_fraction(row.random_kept), _fraction(row.random_left)] if control else []),
        )
    yield table


def _fraction(value: float | None) -> str:
    """Two decimals: what is smaller than that is nothing here."""
    return MISSING if value is None else f"{value:+.2f}".replace("-0.00", "+0.00")


def _curve(value: float | None, scale: float, cells: int) -> str:
    """A bar, and where it is shorter than that a tick at 1."""
    drawn = "" if value is None else bar(value / scale, cells)
    whole = max(1, round(cells / scale))
    return drawn if len(drawn) >= whole else f"{drawn:<{whole - 1}}▕"
