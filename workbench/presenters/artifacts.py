"""What is kept by name and in files: the results of `save`, `load`, `list`, `delete`, `export`, `import`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import (
    MISSING,
    facts,
    fitted,
    inline,
)

#: What the size of each kind of artifact counts.
_UNITS = {"circuit": "neurons", "vector": "layers", "preset": "neurons", "atlas": "neurons"}


@shown.register
def _(value: results.Saved, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield facts([f"saved {inline(value.name)}", inline(value.path)], sheet.width)


@shown.register
def _(value: results.Loaded, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield facts([f"loaded {inline(value.name)}"], sheet.width)
    yield parts.circuit(value.circuit, sheet)


@shown.register
def _(value: results.Listed, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if not value.rows:
        yield Line("nothing saved yet")
        return
    table = parts.table(sheet, "name", "kind", "model", ">holds", "target", ">saved (UTC)")
    for row in value.rows:
        broken = f"✗ {inline(row.error)}" if row.error else inline(row.target)
        texts = [parts.cell(fitted(inline(text), 30)) for text in (row.name, row.kind, row.model)]
        holds = MISSING if row.error else f"{row.size:,} {_UNITS.get(row.kind, '')}".rstrip()
        table.add_row(*texts, holds, parts.cell(broken), inline(row.modified)[:16].replace("T", " "))
    yield table


@shown.register
def _(value: results.Deleted, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield Line(f"deleted {inline(value.name)}")
    if value.restore:
        yield Line(f"→ to have it back: {inline(value.restore)}", overflow="fold")


@shown.register
def _(value: results.Exported, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield facts([f"exported as {inline(value.format)}", inline(value.path)], sheet.width)


@shown.register
def _(value: results.Imported, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield facts(["imported", inline(value.path)], sheet.width)
    yield parts.circuit(value.circuit, sheet)
