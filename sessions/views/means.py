"""Mean activations: `means`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import AnyBlock, Column, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted


def _taken_over(value: results.MeansBuilt | results.MeansShown) -> Iterator[str]:
    """The number of texts and tokens behind the means, where known."""
    if value.texts:
        yield counted(value.texts, "text")
        yield counted(value.tokens, "position")
    if value.places:
        yield f"by position, {value.places:,} from the end"


@viewed.register
def _(value: results.MeansBuilt) -> Iterator[AnyBlock]:
    of = f"means of {value.neurons:,} neurons over {value.over}"
    yield facts(of, *_taken_over(value), f"saved {value.name}", value.path)


@viewed.register
def _(value: results.MeansShown) -> Iterator[AnyBlock]:
    of = f"means {value.name} of {value.size:,} neurons"
    yield facts(of, value.model, f"over {value.over}", *_taken_over(value))
    columns = (
        Column(key="layer", title="L", kind="index"),
        Column(key="neurons", title="neurons", kind="number", drop=1),
        Column(key="size", title="mean size", kind="number", drop=3),
        Column(key="strongest", title="strongest", kind="name", drop=2),
        Column(key="mean", title="mean of it", kind="signed", drop=2),
    )
    layers = (
        Row(
            cells=(each.layer, each.neurons, each.size, str(each.strongest), each.mean),
            stands_for=StandsFor("neuron", f"L{each.layer}/*"),
        )
        for each in value.layers
    )
    yield Table(columns=columns, rows=tuple(layers))
    if value.neurons:
        neurons = (
            Row(cells=(str(each.neuron), each.mean), stands_for=StandsFor("neuron", str(each.neuron)))
            for each in value.neurons
        )
        mean = Column(key="mean", title="mean", kind="signed", drop=1)
        yield Table(columns=(Column(key="neuron", title="neuron", kind="name"), mean), rows=tuple(neurons))
