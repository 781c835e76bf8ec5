"""Adapters beside the weights: the results of `adapter`, `ensemble`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, facts, fitted, inline, percent


@shown.register
def _(value: results.AdaptersListed, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if not value.rows:
        yield Line("no adapter is kept")
        return
    table = parts.table(sheet, "adapter", "", ">weight", "kind", ">rank", ">numbers", "of", "made on")
    for row in value.rows:
        broken = f"✗ {inline(row.error)}" if row.error else ""
        table.add_row(
            parts.cell(fitted(inline(row.name), 24)),
            row.state or MISSING,
            MISSING if row.weight is None else f"{row.weight:g}",
            row.kind,
            f"{row.rank:,}",
            _numbers(row.parameters),
            parts.cell(broken or f"{row.projections:,}: {inline(' '.join(row.targets))}"),
            parts.cell(fitted(inline(_base(row.base)), 30)),
        )
    yield table


@shown.register
def _(value: results.AdapterShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield _adapter(value.row, value.done, sheet, inline(value.path))
    if value.positions:
        changed = f"{value.changed:,} of {value.positions:,} first choices of a next token come out otherwise"
        apart = "" if value.apart is None else f"logits apart by {value.apart:.1g} of their spread"
        yield facts(["by rounding", changed, apart], sheet.width)


@shown.register
def _(value: results.Ensembled, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield _adapter(value.row, "loaded", sheet)
    said = " + ".join(f"{weight:g} {inline(name)}" for name, weight in value.members)
    off = f"off by {percent(value.off)} from the weighted sum" if value.off > 1e-4 else "the weighted sum"
    taken = f"taken off: {inline(', '.join(value.taken_off))}" if value.taken_off else ""
    yield facts([said, value.combination, off, taken], sheet.width)


def _adapter(row: results.AdapterRow, done: str, sheet: parts.Sheet, path: str = "") -> RenderableType:
    said = [f"adapter {inline(row.name)} {done}", f"{row.kind} of rank {row.rank:,}"]
    what = f"{counted(row.projections, 'projection')}: {inline(' '.join(row.targets))}"
    at = f"weight {row.weight:g}" if row.weight not in (None, 1) else ""
    number = f"edit {row.number}" if row.number else ""
    return facts([*said, what, f"{_numbers(row.parameters)} numbers", at, number, inline(row.error), path], sheet.width)


def _base(name: str) -> str:
    """A model's name, or the last part of the path to it."""
    return name.rstrip("/").rpartition("/")[2] if name.startswith(("/", "~", ".")) else name


def _numbers(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e6 else f"{count:,}"
