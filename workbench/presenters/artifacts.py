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
_UNITS = {
    "circuit": "neurons",
    "vector": "layers",
    "preset": "neurons",
    "atlas": "neurons",
    "edit": "changes",
    "means": "neurons",
}


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
def _(value: results.FileShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield facts([f"read {inline(value.path)}", "data alone, of which nothing is kept"], sheet.width)
    table = parts.table(sheet, "key", "kind", "holds")
    for entry in value.entries:
        table.add_row(*(parts.cell(inline(text)) for text in (entry.key, entry.kind, entry.about)))
    yield table
    if value.left:
        yield Line(f"and {value.left:,} more")


@shown.register
def _(value: results.ModelExported, sheet: parts.Sheet) -> Iterator[RenderableType]:
    edits = f"with {inline(', '.join(value.edits))}" if value.edits else "without edits"
    said = ["exported the model", edits, value.dtype, f"{value.bytes / 1e6:,.1f} MB", inline(value.path)]
    yield facts(said, sheet.width)
    if value.reopened:
        yield Line("✓ opened again, its weights and logits are the same to the bit", overflow="fold")
    yield parts.dim(Line(f"fingerprint {inline(value.fingerprint)}", overflow="fold"))


@shown.register
def _(value: results.Fingerprints, sheet: parts.Sheet) -> Iterator[RenderableType]:
    rows = {inline(value.model): value.fingerprint, "weights": value.weights}
    if value.unedited:
        rows["weights"] += f" with {', '.join(value.edits)}"
        rows["unedited"] = value.unedited
    rows |= dict(value.files)
    shown_rows = {name: text for name, text in rows.items() if text}
    if not shown_rows:
        yield Line("no model is open, and nothing is saved")
    yield parts.pairs(shown_rows)
    if value.path:
        yield facts([f"wrote {parts.counted(len(value.files), 'line')}", inline(value.path)], sheet.width)


@shown.register
def _(value: results.FilesVerified, sheet: parts.Sheet) -> Iterator[RenderableType]:
    count = parts.counted(len(value.files), "file")
    have = "has" if len(value.files) == 1 else "have"
    yield Line.assemble(("✓ ", "green"), f"{count} {have} the sha256 that {inline(value.path)} says", overflow="fold")


@shown.register
def _(value: results.Imported, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield facts(["imported", inline(value.path)], sheet.width)
    yield parts.circuit(value.circuit, sheet)
