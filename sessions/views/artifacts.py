"""Artifacts and files: `save`, `load`, `list`, `delete`, `export`, `report`, `import`, `fingerprint`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results, store
from sessions.views.blocks import AnyBlock, Column, Fact, Facts, Note, Row, StandsFor, Table
from sessions.views.circuits import circuit_facts
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted

#: What the size of each kind of artifact counts.
_UNITS = {
    "circuit": "neurons",
    "vector": "layers",
    "preset": "neurons",
    "atlas": "neurons",
    "edit": "changes",
    "means": "neurons",
    "lens": "layers",
}


@viewed.register
def _(value: results.Saved) -> Iterator[AnyBlock]:
    yield facts(f"saved {value.name}", value.path)


@viewed.register
def _(value: results.Loaded) -> Iterator[AnyBlock]:
    yield facts(f"loaded {value.name}")
    yield facts(*circuit_facts(value.circuit))


@viewed.register
def _(value: results.Listed) -> Iterator[AnyBlock]:
    if not value.rows:
        yield Note(text="nothing saved yet")
        return
    columns = (
        Column(key="name", title="name", kind="name"),
        Column(key="kind", title="kind", drop=4),
        Column(key="model", title="model", drop=2),
        Column(key="size", title="holds", kind="number", drop=5),
        Column(key="unit", title="", drop=1),
        Column(key="target", title="target", drop=6),
        Column(key="modified", title="saved (UTC)", drop=3),
    )
    yield Table(columns=columns, rows=tuple(_saved(row) for row in value.rows))


def _saved(row: store.ListingRow) -> Row:
    """A row of the listing. For an unreadable artifact, the reason stands in place of its target."""
    size = None if row.error else row.size
    unit = "" if row.error else _UNITS.get(row.kind, "")
    modified = row.modified[:16].replace("T", " ")
    cells = (row.name, row.kind, row.model, size, unit, row.error or row.target, modified)
    return Row(cells=cells, stands_for=StandsFor(row.kind, row.name), mark="✗" if row.error else "")


@viewed.register
def _(value: results.Deleted) -> Iterator[AnyBlock]:
    yield Note(text=f"deleted {value.name}")
    if value.restore:
        yield Note(text=f"→ to restore it: {value.restore}")


@viewed.register
def _(value: results.Exported) -> Iterator[AnyBlock]:
    yield facts(f"exported as {value.format}", value.path)


@viewed.register
def _(value: results.Reported) -> Iterator[AnyBlock]:
    failed = f"{value.failed:,} failed" if value.failed else ""
    yield facts(f"report of {counted(value.lines, 'line')}", failed, f"{value.bytes / 1e6:,.2f} MB", value.path)


@viewed.register
def _(value: results.FileShown) -> Iterator[AnyBlock]:
    yield facts(f"read {value.path}", "data only, nothing was saved")
    columns = (
        Column(key="key", title="key", kind="name"),
        Column(key="kind", title="kind", drop=1),
        Column(key="about", title="holds", drop=2),
    )
    rows = tuple(Row(cells=(entry.key, entry.kind, entry.about)) for entry in value.entries)
    yield Table(columns=columns, rows=rows, note=f"and {value.left:,} more" if value.left else "")


@viewed.register
def _(value: results.ModelExported) -> Iterator[AnyBlock]:
    edits = f"with {', '.join(value.edits)}" if value.edits else "without edits"
    yield facts("exported the model", edits, value.dtype, f"{value.bytes / 1e6:,.1f} MB", value.path)
    if value.reopened:
        yield Note(text="✓ opened again: weights and logits are identical to the bit")
    yield facts(f"fingerprint {value.fingerprint}")


@viewed.register
def _(value: results.Fingerprints) -> Iterator[AnyBlock]:
    edits = f" with {', '.join(value.edits)}" if value.unedited else ""
    rows = [Fact(value.fingerprint, value.model), Fact(f"{value.weights}{edits}", "weights")]
    rows += [Fact(value.unedited, "unedited"), *(Fact(digest, name) for name, digest in value.files)]
    said = tuple(row for row in rows if row.text)
    if said:
        yield Facts(items=said)
    else:
        yield Note(text="no model is open, and nothing is saved")
    if value.path:
        yield facts(f"wrote {counted(len(value.files), 'line')}", value.path)


@viewed.register
def _(value: results.FilesVerified) -> Iterator[AnyBlock]:
    have = "has" if len(value.files) == 1 else "have"
    yield Note(text=f"✓ {counted(len(value.files), 'file')} {have} the sha256 that {value.path} says")


@viewed.register
def _(value: results.Imported) -> Iterator[AnyBlock]:
    yield facts("imported", value.path)
    yield facts(*circuit_facts(value.circuit))
