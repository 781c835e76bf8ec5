"""Cells of a sweep, the curve of a selection, and its knee. Data only.

A sweep answers every prompt once unchanged (the baseline, multiplier 1) and once for each selection of neurons at each
other multiplier. Each answer is a cell. The knee of a selection in a prompt is the multiplier nearest to 1 at which the
likeliest next token differs from that at 1. It is determined on both sides: below 1, where neurons are turned down, and
above. Over many prompts it is the knee of the median prompt of those that flip, ordered by the distance of their knees
from 1; of two medians, the nearer. The same holds for each side.

For adapters the multipliers are weights, or the number of rounds of a series, and the baseline is the model at 0. The
knee is then the weight nearest to 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from msgspec import Struct

from sessions.errors import UsageError
from sessions.interventions.arms import Arm
from sessions.model.info import TokenChance

#: Significant digits of saved numbers: further digits depend on the number of threads.
DIGITS = 6


def refuse_multipliers(multipliers: Sequence[float]) -> None:
    """Raise `UsageError` where a multiplier is given twice or is not a number."""
    if not all(map(math.isfinite, multipliers)):
        raise UsageError("a multiplier is not a number", "a number such as 0, 0.5 or 2")
    if len(set(multipliers)) < len(multipliers):
        raise UsageError("a multiplier is given twice", "for example: sweep all 0 0.5 1 2")


class Top(Struct, frozen=True):
    """The likeliest next token: its probability and raw logit."""

    id: int
    text: str
    probability: float
    logit: float


class SweepPoint(Struct, frozen=True, kw_only=True):
    """One answer of a sweep. Prompts count from 0; the baseline's `selection` is empty.

    `target`, `target_probability`, `stopped` and `fired` are as in `Arm`. `text` and `ids` are what was generated,
    `length` its number of tokens. `fired` counts the selection alone, without live interventions. `top` is None where
    the first logits were not finite.
    """

    prompt: int
    selection: str
    multiplier: float
    target: float | None
    target_probability: float | None
    top: Top | None
    text: str
    ids: tuple[int, ...]
    length: int
    stopped: str
    fired: int | None

    @property
    def height(self) -> float | None:
        """The value in a chart: the probability of the target or, without one, of the likeliest token."""
        if self.target_probability is not None:
            return self.target_probability
        return None if self.top is None else self.top.probability

    def arm(self) -> Arm:
        """The cell as a text beside others."""
        top = () if self.top is None else (TokenChance(*_fields(self.top), rank=1),)
        return Arm(
            name=f"×{self.multiplier:g}",
            multiplier=self.multiplier,
            text=self.text,
            ids=self.ids,
            stopped=self.stopped,
            next_tokens=top,
            target=self.target,
            target_probability=self.target_probability,
            fired=self.fired,
        )


def _fields(top: Top) -> tuple[int, str, float, float]:
    return top.id, top.text, top.probability, top.logit


def cell_of(arm: Arm, prompt: int, selection: str) -> SweepPoint:
    """An arm as a cell."""
    likeliest = min(arm.next_tokens, key=lambda token: token.rank, default=None)
    known = likeliest is not None and math.isfinite(likeliest.probability)
    return SweepPoint(
        prompt=prompt,
        selection=selection,
        multiplier=arm.multiplier,
        target=_rounded(arm.target),
        target_probability=_rounded(arm.target_probability),
        top=_top(likeliest) if likeliest is not None and known else None,
        text=arm.text,
        ids=arm.ids,
        length=len(arm.ids),
        stopped=arm.stopped,
        fired=arm.fired,
    )


def _top(token: TokenChance) -> Top:
    return Top(token.id, token.text, _to_digits(token.probability), _to_digits(token.logit))


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else _to_digits(value)


def _to_digits(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


class Flip(Struct, frozen=True):
    """A multiplier at which the likeliest next token differs from that at `base`, and that token."""

    multiplier: float
    token: str
    base: float = 1.0

    @property
    def change(self) -> float:
        """The distance of the multiplier from the baseline's."""
        return abs(self.multiplier - self.base)


class Knee(Struct, frozen=True, kw_only=True):
    """Where a selection flips the likeliest next token of a prompt: the multipliers nearest to the baseline's, below
    and above it; None where none on that side does. `token` is the likeliest at the baseline, `base` its multiplier."""

    prompt: int
    token: str
    below: Flip | None = None
    above: Flip | None = None
    base: float = 1.0

    @property
    def nearest(self) -> Flip | None:
        """The flip nearer to the baseline, below in a tie; None where no multiplier flips the token."""
        return min(filter(None, (self.below, self.above)), key=lambda flip: flip.change, default=None)


class Point(Struct, frozen=True):
    """A multiplier of a curve, with means over prompts of the target's value and of the charted value
    (`SweepPoint.height`); None where no prompt has the value."""

    multiplier: float
    target: float | None
    height: float | None


class SweepCurve(Struct, frozen=True, kw_only=True):
    """The curve of a selection: a point for each multiplier, including the baseline's, in rising order, and a knee for
    each prompt. `neurons` counts the selection's units, each a `unit`; adapters have none."""

    selection: str
    neurons: int
    points: tuple[Point, ...]
    knees: tuple[Knee, ...]
    unit: str = "neuron"

    @property
    def flips(self) -> int:
        """The number of prompts that some multiplier flips."""
        return sum(knee.nearest is not None for knee in self.knees)

    @property
    def knee(self) -> float | None:
        """The knee of the median prompt of those that flip."""
        return _median(knee.nearest for knee in self.knees)

    @property
    def below(self) -> tuple[int, float | None]:
        """The number of prompts that a multiplier below the baseline's flips, and the median knee there."""
        return _side(knee.below for knee in self.knees)

    @property
    def above(self) -> tuple[int, float | None]:
        """The number of prompts that a multiplier above the baseline's flips, and the median knee there."""
        return _side(knee.above for knee in self.knees)


def _side(flips: Iterable[Flip | None]) -> tuple[int, float | None]:
    known = [flip for flip in flips if flip is not None]
    return len(known), _median(known)


def _median(flips: Iterable[Flip | None]) -> float | None:
    known = sorted((flip for flip in flips if flip is not None), key=lambda flip: (flip.change, flip.multiplier))
    return known[(len(known) - 1) // 2].multiplier if known else None


def curve_of(selection: str, neurons: int, cells: Iterable[SweepPoint], unit: str = "neuron") -> SweepCurve:
    """The curve of a selection of `neurons` units, from all cells of a sweep."""
    lines = lines_of(selection, cells)
    multipliers = sorted({cell.multiplier for line in lines for cell in line})
    return SweepCurve(
        selection=selection,
        neurons=neurons,
        points=tuple(_point(multiplier, lines) for multiplier in multipliers),
        knees=tuple(map(knee_of, lines)),
        unit=unit,
    )


def lines_of(selection: str, cells: Iterable[SweepPoint]) -> list[list[SweepPoint]]:
    """The cells of a selection with the baseline, one list for each prompt, by rising multiplier."""
    lines: dict[int, list[SweepPoint]] = {}
    for cell in cells:
        if cell.selection in ("", selection):
            lines.setdefault(cell.prompt, []).append(cell)
    return [sorted(line, key=lambda cell: cell.multiplier) for _, line in sorted(lines.items())]


def knee_of(line: Sequence[SweepPoint]) -> Knee:
    """The knee of one prompt's cells, with the baseline. Cells without a likeliest token flip nothing."""
    (baseline,) = (cell for cell in line if cell.selection == "")
    base = baseline.multiplier
    if baseline.top is None:
        return Knee(prompt=baseline.prompt, token="", base=base)
    flips = [
        Flip(cell.multiplier, cell.top.text, base)
        for cell in line
        if cell.top is not None and cell.top.id != baseline.top.id and cell.selection
    ]
    sides = [[flip for flip in flips if (flip.multiplier < base) == below] for below in (True, False)]
    below, above = (min(side, key=lambda flip: flip.change, default=None) for side in sides)
    return Knee(prompt=baseline.prompt, token=baseline.top.text, below=below, above=above, base=base)


def _point(multiplier: float, lines: Iterable[Sequence[SweepPoint]]) -> Point:
    here = [cell for line in lines for cell in line if cell.multiplier == multiplier]
    return Point(multiplier, _mean(cell.target for cell in here), _mean(cell.height for cell in here))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
