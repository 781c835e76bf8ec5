"""Named interventions: `preset`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.interventions.presets import Known
from sessions.model.units import kind_in
from sessions.views.blocks import AnyBlock, Column, Row, StandsFor, Table
from sessions.views.circuits import NEURON
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted

#: How the view words each mode.
_DOES = {"shift": "adds", "multiply": "times", "hold": "sets to"}


@viewed.register
def _(value: results.PresetShown) -> Iterator[AnyBlock]:
    count = counted(value.size, kind_in(known.neuron for known in value.neurons))
    if len(value.neurons) != value.size:
        count = f"{len(value.neurons):,} of {count}"
    yield facts(f"preset {value.name}", count, "live in every text until it is released" if value.live else "")
    columns = (
        Column(key="id", title="id", kind="name"),
        NEURON["layer"],
        NEURON["index"],
        NEURON["position"],
        Column(key="mode", title="", drop=3),
        Column(key="gain", title="gain", kind="number", digits=3, drop=4),
        Column(key="where", title="where", drop=2),
        Column(key="tier", title="tier", drop=1),
    )
    more = f"{value.listed:,} of {len(value.neurons):,} shown (set rows)" if len(value.neurons) > value.listed else ""
    yield Table(columns=columns, rows=tuple(map(_row, value.neurons[: value.listed])), note=more)


def _row(known: Known) -> Row:
    spans = (f"{first}-{last}" for first, last in known.positions)
    cells = (
        known.id,
        known.layer,
        known.index,
        known.position,
        _DOES.get(known.mode, known.mode),
        known.gain,
        " ".join((known.region, *spans)),
        None if known.tier is None else str(known.tier),
    )
    return Row(cells=cells, stands_for=StandsFor(known.kind, str(known.neuron)))
