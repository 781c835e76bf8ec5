"""Adapters beside the weights: `adapter`, `ensemble`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import AnyBlock, Column, Note, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted, percent


@viewed.register
def _(value: results.AdaptersListed) -> Iterator[AnyBlock]:
    if not value.rows:
        yield Note(text="no adapter is saved")
        return
    columns = (
        Column(key="adapter", title="adapter", kind="name"),
        Column(key="state", title="state", drop=6),
        Column(key="weight", title="weight", kind="number", drop=5),
        Column(key="kind", title="kind", drop=3),
        Column(key="rank", title="rank", kind="number", drop=4),
        Column(key="parameters", title="parameters", kind="number", drop=1),
        Column(key="targets", title="projections", drop=7),
        Column(key="base", title="base model", drop=2),
    )
    rows = []
    for row in value.rows:
        known = (row.kind, row.rank, row.parameters, f"{row.projections:,}: {' '.join(row.targets)}", _base(row.base))
        cells = (row.name, row.state, row.weight, *((None,) * len(known) if row.error else known))
        rows.append(Row(cells=cells, stands_for=StandsFor("adapter", row.name), mark="✗" if row.error else ""))
    yield Table(columns=columns, rows=tuple(rows))
    for row in value.rows:
        if row.error:
            yield Note(text=f"✗ {row.name}: {row.error}")


def _base(name: str) -> str:
    """A model's name, or the last part of its path."""
    return name.rstrip("/").rpartition("/")[2] if name.startswith(("/", "~", ".")) else name


@viewed.register
def _(value: results.AdapterShown) -> Iterator[AnyBlock]:
    yield facts(*_adapter_facts(value.row, value.done), value.path)
    if value.positions:
        changed = f"{value.changed:,} of {value.positions:,} likeliest next tokens differ"
        apart = "" if value.apart is None else f"logits differ by {value.apart:.1g} of their spread"
        yield facts("by rounding", changed, apart)


@viewed.register
def _(value: results.Ensembled) -> Iterator[AnyBlock]:
    yield facts(*_adapter_facts(value.row, "loaded"))
    yield facts(
        " + ".join(f"{weight:g} {name}" for name, weight in value.members),
        value.combination,
        f"differs from the weighted sum by {percent(value.off)}" if value.off > 1e-4 else "the weighted sum",
        f"switched off: {', '.join(value.taken_off)}" if value.taken_off else "",
    )


def _adapter_facts(row: results.AdapterRow, done: str) -> Iterator[str]:
    """What was done to an adapter, and what it is."""
    yield f"adapter {row.name} {done}"
    yield f"{row.kind} of rank {row.rank:,}"
    yield f"{counted(row.projections, 'projection')}: {' '.join(row.targets)}"
    yield counted(row.parameters, "parameter")
    yield f"weight {row.weight:g}" if row.weight not in (None, 1) else ""
    yield f"edit {row.number}" if row.number else ""
    yield row.error
