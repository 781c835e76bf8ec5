"""Neurons that answer to every prompt: the result of `universal`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, facts, inline, quoted


@shown.register
def _(value: results.UniversalShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    count = counted(len(value.rows), "universal neuron")
    found = f"among the strongest {value.strongest} of nearly all of {value.prompts} built-in prompts"
    where = f"published: {inline(value.published)}" if value.published else f"detected: {found}"
    yield facts([f"{count} of {inline(value.model)}", where], sheet.width)
    if value.rows:
        table = parts.table(sheet, ">L", ">N", ">prompts", "pushes up", "pushes down")
        for row in value.rows:
            table.add_row(
                str(row.neuron.layer),
                str(row.neuron.index),
                MISSING if row.prompts is None else f"{row.prompts}/{value.prompts}",
                parts.cell(" ".join(map(quoted, row.up))),
                parts.cell(" ".join(map(quoted, row.down))),
            )
        yield table
        yield parts.dim(Line("discover leaves them out; discover --keep-universal keeps them", overflow="fold"))
