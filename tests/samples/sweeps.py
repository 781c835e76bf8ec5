"""Samples of `sweep`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.comparisons.cells import Cell, Knee, Top, curve_of
from sessions.events import Value
from sessions.model.target import Target
from sessions.results import Swept, SweptGrid
from tests.filling import filled
from tests.samples.circuits import target
from tests.samples.interventions import bare_arm, before_and_after


def samples(text: str) -> Iterator[Value]:
    before, after = before_and_after(text)
    bare, knee = bare_arm(text), Knee(prompt=0, token=text)
    swept = filled(Swept, text, target=target(text), arms=(after, before), knee=knee, over="")
    yield swept
    yield structs.replace(swept, target=None, arms=(bare, bare), knee=None, folder="", chart="")
    yield structs.replace(swept, target=None, arms=(bare, before), over="weights")
    for prompts in (1, 2, 3):
        grid = grid_of(text, prompts, target(text))
        yield structs.replace(grid, over="depths" if prompts == 2 else "")


def grid_of(text: str, prompts: int, one: Target) -> SweptGrid:
    """Two selections at two multipliers beside 1: the first flips the token at the lower, the second never."""
    first = text or "top9"
    cells = tuple(
        filled(
            Cell, text, prompt=prompt, selection=selection, multiplier=multiplier,
            top=Top(int(multiplier == 0 and selection == first), text, 0.5, 1.0),
        )
        for prompt in range(prompts)
        for selection, multiplier in (("", 1.0), (first, 0.0), (first, 2.0), ("top5", 0.0), ("top5", 2.0))
    )  # fmt: skip
    curves = curve_of(first, 12, cells), curve_of("top5", 5, cells)
    common = one if prompts == 1 else None
    return filled(SweptGrid, text, prompts=prompts, target=common, targets=prompts, curves=curves, cells=cells)
