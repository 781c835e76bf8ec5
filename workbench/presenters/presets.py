"""Named interventions: the results of `preset`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from sessions import results
from sessions.interventions.presets import Known
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import MISSING, facts, fitted, inline, multiple, signed


@shown.register
def _(value: results.PresetShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    count = f"{len(value.neurons):,} neurons"
    if len(value.neurons) != value.size:
        count = f"{len(value.neurons):,} of {value.size:,} neurons"
    live = "live in every text until it is released" if value.live else ""
    yield facts([f"preset {inline(value.name)}", count, live], sheet.width)
    table = parts.table(sheet, "id", ">L", ">N", ">pos", ">gain", "where", "tier")
    for known in value.neurons[: value.listed]:
        table.add_row(
            parts.cell(fitted(inline(known.id), 30)),
            str(known.layer),
            str(known.index),
            parts.position(known.neuron),
            _gain(known),
            parts.cell(_where(known)),
            parts.cell(MISSING if known.tier is None else fitted(inline(str(known.tier)), 20)),
        )
    yield table
    if len(value.neurons) > value.listed:
        yield parts.dim(facts([f"{value.listed:,} of {len(value.neurons):,} shown (set rows)"], sheet.width))


def _gain(known: Known) -> str:
    """`+2.000` is added, `×2` multiplied, `=2.000` put in its place."""
    if known.mode == "multiply":
        return multiple(known.gain)
    return signed(known.gain) if known.mode == "shift" else f"={known.gain:.3f}"


def _where(known: Known) -> str:
    spans = " ".join(f"{first}-{last}" for first, last in known.positions)
    return f"{known.region} {spans}".strip()
