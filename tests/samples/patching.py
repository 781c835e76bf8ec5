"""Samples of activations moved between two runs."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions import results
from sessions.events import Value
from sessions.patching.patches import PatchedCell, PatchMap
from tests.filling import filled
from tests.samples.circuits import target


def samples(text: str) -> Iterator[Value]:
    cells = tuple(tuple((row - at) / 60 for at in range(90)) for row in range(60))
    large = PatchMap(layers=tuple(range(60)), columns=tuple(range(90)), tokens=(text,) * 90, cells=cells)
    cell = PatchedCell(unit="L5@12", layer=5, position=12, token=text, value=0.984)
    interval = structs.replace(cell, value=-1e-6, low=-0.25, high=1.5)
    state = filled(
        results.Patched, text, site="resid_pre", direction="denoise", target=target(text), map=large, cells=5400,
        strongest=(cell,) * 20, listed=10, pairs=1, together=None, given=(("--corrupt", text),), so_far=None,
    )  # fmt: skip
    yield state
    yield structs.replace(state, pairs=40, direction="noise", strongest=(cell, interval), given=(("--prompts", text),))
    head = structs.replace(cell, unit="L5/H3", position=None, token="")
    heads = PatchMap(layers=(4, 5), columns=(0, 1, 2), tokens=(), cells=((0.5, None, -0.25), (None,) * 3))
    progress = results.PatchProgress(2, 6)
    yield structs.replace(state, site="heads", map=heads, cells=6, strongest=(head,), so_far=progress)
    neuron = structs.replace(cell, unit="L5/N1005")
    yield structs.replace(state, site="units", map=None, cells=3, strongest=(neuron, head), together=1.25)
    trace = filled(
        results.CausalTrace, text, site="mlp_out", span=(3, 4), map=large, strongest=(interval,), listed=1, clean=0.6,
        corrupt=0.01, so_far=None,
    )  # fmt: skip
    yield trace
    yield structs.replace(trace, seeds=1, window=1, strongest=(cell,), so_far=progress)
