"""What neurons are on average: the results of `means`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from sessions import results
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import facts, inline, signed


@shown.register
def _(value: results.MeansBuilt, sheet: parts.Sheet) -> Iterator[RenderableType]:
    taken = [counted(value.texts, "text"), counted(value.tokens, "position")]
    yield facts(
        [
            f"means of {value.neurons:,} neurons over {inline(value.over)}",
            *taken,
            *([f"by position, {value.places:,} from the end"] if value.places else []),
            f"saved {inline(value.name)}",
            inline(value.path),
        ],
        sheet.width,
    )


@shown.register
def _(value: results.MeansShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    texts = [counted(value.texts, "text"), counted(value.tokens, "position")] if value.texts else []
    places = [f"by position, {value.places:,} from the end"] if value.places else []
    said = f"means {inline(value.name)} of {value.size:,} neurons"
    yield facts([said, inline(value.model), f"over {inline(value.over)}", *texts, *places], sheet.width)
    table = parts.table(sheet, ">L", ">neurons", ">mean size", "strongest", ">mean")
    for layer in value.layers:
        names = f"{layer.neurons:,}", f"{layer.size:.3g}", str(layer.strongest)
        table.add_row(str(layer.layer), *names, signed(layer.mean))
    yield table
    neurons = parts.table(sheet, "neuron", ">mean")
    for each in value.neurons:
        neurons.add_row(str(each.neuron), signed(each.mean))
    if value.neurons:
        yield neurons
