"""Samples of `inject`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import structs

from sessions.circuits.circuit import Neuron
from sessions.events import Value
from sessions.patching.transplants import LayerMap, Observed, Placed
from sessions.results import Injected, InjectedByLayer
from tests.samples.interventions import aimed, arms, encoded, shifts


def samples(text: str) -> Iterator[Value]:
    before, after = arms(text)
    first = Placed(
        name="x", position=5, token=text, layer=9, site="resid_pre", norm=140.0, replaced=122.5, cosine=0.6,
        came_from=text,
    )  # fmt: skip
    observed = Observed(neuron=Neuron(24, 1005), place=0, source=2.5, without=-0.5, injected=2.4, random=0.1)
    both = Injected(
        encoded=encoded(text), adds=True, scale=2.5, inputs=True, target=aimed(text), notes=(text,),
        placed=(first, structs.replace(first, came_from="", cosine=None, reaches=False, reaches_below=4)),
        observed=(observed, structs.replace(observed, place=1, source=None, injected=1e-7, random=-1e5)),
        arms=(before, after, structs.replace(after, name="random")),
        shifts=shifts(aimed(text)),
    )  # fmt: skip
    yield both
    yield structs.replace(both, adds=False, scale=1.0, placed=(first,), observed=(observed,), target=None, shifts=())
    cells = tuple(tuple((at + row) / 90 for at in range(90)) for row in range(90))
    by_kl = InjectedByLayer(
        encoded=encoded(text), adds=False, scale=1.0, inputs=False, place=first, target=None, observed=None, measure="kl",
        map=LayerMap(
            layers=tuple(range(90)), cells=cells, without=1.5, source=None, random=cells[-1], reaches_below=60
        ),
    )  # fmt: skip
    yield by_kl
    small = LayerMap(
        layers=(0, 1, 2), cells=((0.5, 0.75, 2.0), (0.0, 1.0, 1.5), (math.nan,) * 3), without=0.5, source=2.5,
        random=(0.5, 0.25, 1.0), reaches_below=2,
    )  # fmt: skip
    yield structs.replace(by_kl, map=small, measure="probability", target=aimed(text))
    yield structs.replace(by_kl, map=small, measure="activation", observed=Neuron(24, 1005))
