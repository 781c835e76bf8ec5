"""The texts and shifts that results without a view share with those that have one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from sessions import results
from sessions.interventions.arms import Arm
from sessions.views.interventions import bars, texts
from workbench.presenters import parts
from workbench.rendering.terminal import Place, draw


def side_by_side(arms: Sequence[Arm], sheet: parts.Sheet) -> Iterator[RenderableType]:
    """The texts of all arms, beside each other where there is room, marked where they part from the first."""
    yield from draw(texts(arms), Place(sheet.width))


def table_of_shifts(value: results.Injected, sheet: parts.Sheet) -> Iterator[RenderableType]:
    """How the chances of the next token move from the first arm to the second."""
    yield from draw(bars(value.arms, value.shifts, value.target), Place(sheet.width))
