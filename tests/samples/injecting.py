"""Samples of `inject`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import structs

from sessions.events import Value
from sessions.model.units import Neuron
from sessions.patching.transplants import LayerMap, Observed, Placed
from sessions.results import Injected, InjectedByLayer
from tests.samples import filled
from tests.samples.interventions import aimed, arms, shifts


def samples(text: str) -> Iterator[Value]:
    before, after = arms(text)
    first = filled(Placed, text, name="x", site="resid_pre", cosine=0.6, came_from=text)
    second = structs.replace(first, came_from="", cosine=None, reaches=False, reaches_below=4)
    observed = Observed(neuron=Neuron(24, 1005), place=0, source=2.5, without=-0.5, injected=2.4, random=0.1)
    unknown = structs.replace(observed, place=1, source=None, injected=1e-7, random=-1e5)
    both = filled(
        Injected, text, scale=2.5, placed=(first, second), observed=(observed, unknown), target=aimed(text),
        arms=(before, after, structs.replace(after, name="random")), shifts=shifts(aimed(text)), notes=(text,),
    )  # fmt: skip
    yield both
    yield structs.replace(both, adds=False, scale=1.0, placed=(first,), observed=(observed,), target=None, shifts=())
    row = tuple(number / 90 for number in range(90))
    large = LayerMap(layers=tuple(range(90)), cells=(row,) * 90, without=1.5, source=None, random=row, reaches_below=60)
    by_kl = filled(InjectedByLayer, text, place=first, target=None, measure="kl", map=large)
    yield by_kl
    cells = (0.5, 0.75, 2.0), (0.0, 1.0, 1.5), (math.nan,) * 3
    small = structs.replace(large, layers=(0, 1, 2), cells=cells, source=2.5, random=cells[0], reaches_below=2)
    yield structs.replace(by_kl, map=small, measure="probability", target=aimed(text))
    yield structs.replace(by_kl, map=small, measure="activation", observed=Neuron(24, 1005))
