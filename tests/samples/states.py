"""Samples of hidden states."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import structs

from sessions import results
from sessions.events import Value
from sessions.patching.transplants import LayerMap, Observed, Placed
from tests.filling import filled
from tests.samples.circuits import target
from tests.samples.interventions import before_and_after, shifts


def samples(text: str) -> Iterator[Value]:
    yield filled(results.AtlasShown, text, listed=1)
    yield filled(results.QuietShown, text, regions=("thought", "answer"))
    yield filled(results.QuietShown, text, regions=())
    before, after = before_and_after(text)
    first, seen = filled(Placed, text), filled(Observed, text, place=0)
    nowhere = structs.replace(first, came_from="", cosine=None, reaches=False, reaches_below=4)
    both = filled(
        results.Injected, text, target=target(text), placed=(first, nowhere), shifts=shifts(text),
        observed=(seen, structs.replace(seen, place=1, source=None, injected=1e-7, random=-1e5)),
        arms=(before, after, structs.replace(after, name="random")),
    )  # fmt: skip
    yield both
    yield structs.replace(both, adds=False, scale=1.0, placed=(first,), observed=(seen,), target=None, shifts=())
    cells = tuple(tuple((at + row) / 90 for at in range(90)) for row in range(90))
    large = filled(LayerMap, text, layers=tuple(range(90)), cells=cells, source=None, random=cells[-1])
    yield filled(results.InjectedByLayer, text, measure="kl", map=large, target=None, observed=None)
    small = LayerMap(
        layers=(0, 1, 2), cells=((0.5, 0.75, 2.0), (0.0, 1.0, 1.5), (math.nan,) * 3), without=0.5, source=2.5,
        random=(0.5, 0.25, 1.0), reaches_below=2,
    )  # fmt: skip
    for measure in ("probability", "activation"):
        yield filled(results.InjectedByLayer, text, measure=measure, map=small)
