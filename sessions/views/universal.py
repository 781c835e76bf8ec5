"""Neurons that are strong whatever the prompt: `universal`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import AnyBlock, Column, Row, StandsFor, Table
from sessions.views.circuits import NEURON, PUSHES
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted


@viewed.register
def _(value: results.UniversalShown) -> Iterator[AnyBlock]:
    found = f"among the strongest {value.strongest} of nearly all of {value.prompts} built-in prompts"
    where = f"published: {value.published}" if value.published else f"detected: {found}"
    yield facts(f"{counted(len(value.rows), 'universal neuron')} of {value.model}", where)
    if value.rows:
        columns = (
            NEURON["layer"],
            NEURON["index"],
            Column(key="prompts", title="prompts", kind="number", drop=6, about=f"of {value.prompts} built-in ones"),
            *PUSHES,
        )
        rows = (
            Row(
                cells=(row.neuron.layer, row.neuron.index, row.prompts, row.up, row.down),
                stands_for=StandsFor("neuron", str(row.neuron)),
            )
            for row in value.rows
        )
        note = "discover leaves them out; discover --keep-universal keeps them"
        yield Table(columns=columns, rows=tuple(rows), note=note)
