"""Multipliers on neurons, weights of adapters or depths of a series, over prompts: `sweep`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

from msgspec import structs

from sessions import results
from sessions.comparisons.sweep_points import Flip, Knee, SweepCurve
from sessions.comparisons.sweep_points import SweepPoint as SweptCell
from sessions.interventions.arms import Arm
from sessions.views.blocks import AnyBlock, Cell, Column, Curve, Kind, Line, Note, Row, Table
from sessions.views.interventions import SCOPES, intervention
from sessions.views.registry import facts, viewed
from sessions.views.writing import chance, counted, multiple, quoted

#: The mark before the multiplier of a knee.
KNEE = "○"
#: What the swept numbers are called where they are not multipliers of neurons.
_KINDS = {"depths": "depth", "weights": "weight"}


@viewed.register
def _(value: results.Swept) -> Iterator[AnyBlock]:
    yield intervention("sweep", value)
    heights = tuple((float(arm.multiplier), _height(arm)) for arm in value.arms)
    sides = () if value.knee is None else (value.knee.below, value.knee.above)
    flips = tuple(flip.multiplier for flip in sides if flip is not None)
    yield from _curve(_title(value), [Line(name=value.selection, points=heights, marked=flips)], value.over)
    yield _texts(value.arms, value.target is not None, value.knee, value.over)
    if value.knee is not None:
        yield facts(*_knee(value.knee, _said(value.over)), conclusion=True)
    yield from _files(value)


@viewed.register
def _(value: results.SweptGrid) -> Iterator[AnyBlock]:
    counts = (
        counted(len(value.curves), "selection"),
        counted(len(value.curves[0].points), _KINDS.get(value.over, "multiplier")),
        counted(value.prompts, "prompt"),
    )
    scope = SCOPES.get(value.scope) or value.scope
    yield facts(f"sweep {' × '.join(counts)}", counted(len(value.cells), "cell"), scope)
    longest = max((point.height or 0.0 for curve in value.curves for point in curve.points), default=0.0)
    yield facts(_measured(value), f"the longest bar is {chance(longest)}" if value.prompts > 1 else "")
    yield from _curve(_measured(value), [*map(_line, value.curves)], value.over)
    said = _said(value.over)
    for curve in value.curves:
        yield facts(curve.selection, counted(curve.neurons, curve.unit) if curve.neurons else "")
        if value.prompts == 1:
            yield _texts(_arms(curve, value.cells), value.targets > 0, curve.knees[0], value.over)
            yield facts(*_knee(curve.knees[0], said), conclusion=True)
        else:
            yield _means(curve, value.targets > 0, longest, value.over)
            yield facts(*_median(curve, said), conclusion=True)
    yield from _files(value)


def _curve(title: str, lines: Sequence[Line], over: str) -> Iterator[Curve]:
    """The lines as a curve, where they have enough points to be one."""
    if any(len([y for _, y in line.points if y is not None]) > 1 for line in lines):
        ordered = tuple(structs.replace(line, points=tuple(sorted(line.points, key=itemgetter(0)))) for line in lines)
        yield Curve(title=title, x=_KINDS.get(over, "multiplier"), lines=ordered, tabled=True)


def _line(curve: SweepCurve) -> Line:
    """A selection's line, its knees marked."""
    knees = tuple(median for _, median in (curve.below, curve.above) if median is not None)
    points = tuple((float(point.multiplier), point.height) for point in curve.points)
    return Line(name=curve.selection, points=points, marked=knees)


def _title(value: results.Swept) -> str:
    """What the curve of one prompt shows."""
    return "p of the likeliest token" if value.target is None else f"p({quoted(value.target.tokens[0].text)})"


def _height(arm: Arm) -> float | None:
    """The height of an arm in the curve: the probability of the target or, without one, of the likeliest token."""
    if arm.target_probability is not None:
        return arm.target_probability
    return max((token.probability for token in arm.next_tokens), default=None)


def _said(over: str) -> Callable[[float], str]:
    """How a multiplier is written; a weight or a depth has no `×`."""
    return (lambda number: f"{number:g}") if over in _KINDS else multiple


def _multiplier(over: str) -> Column:
    kind: Kind = "number" if over in _KINDS else "multiple"
    return Column(key=_KINDS.get(over, "multiplier"), title=_KINDS.get(over, ""), kind=kind)


def _measured(value: results.SweptGrid) -> str:
    """What the bars show."""
    if value.target is not None:
        of = f"p({quoted(value.target.tokens[0].text)})"
    else:
        of = "p of each prompt's target" if value.targets else "p of the likeliest token"
    return of if value.prompts == 1 else f"{of}, the mean of {value.prompts:,} prompts"


def _arms(curve: SweepCurve, cells: Sequence[SweptCell]) -> list[Arm]:
    """The texts of one selection in a sweep of one prompt, by rising multiplier."""
    own = [cell for cell in cells if cell.selection in ("", curve.selection)]
    return [cell.arm() for cell in sorted(own, key=lambda cell: cell.multiplier)]


def _texts(arms: Sequence[Arm], aimed: bool, knee: Knee | None, over: str) -> Table:
    """A row for each multiplier, with its text."""
    columns = [_multiplier(over)]
    if aimed:
        columns += [
            Column(key="target", title="target", kind="signed", drop=2),
            Column(key="probability", title="p", kind="number", digits=3, bar=1.0, drop=4),
        ]
    columns += [
        Column(key="next_token", title="next token", kind="token", drop=3),
        Column(key="text", title="text", whole=True, drop=1),
    ]
    flips = [] if knee is None else [knee.below, knee.above]
    rows = []
    for arm in arms:
        likeliest = max(arm.next_tokens, key=lambda token: token.probability, default=None)
        measured: tuple[Cell, ...] = (arm.target, arm.target_probability) if aimed else ()
        token = None if likeliest is None else likeliest.text
        rows.append(Row(cells=(arm.multiplier, *measured, token, arm.text), mark=_mark(arm.multiplier, flips)))
    return Table(columns=tuple(columns), rows=tuple(rows))


def _mark(multiplier: float, flips: Sequence[Flip | None]) -> str:
    return KNEE if any(flip is not None and flip.multiplier == multiplier for flip in flips) else ""


def _means(curve: SweepCurve, aimed: bool, longest: float, over: str) -> Table:
    """A row for each multiplier, with means over many prompts. The longest bar is the largest mean of the sweep."""
    columns = [_multiplier(over), *([Column(key="target", title="target", kind="signed", drop=1)] if aimed else [])]
    columns.append(Column(key="probability", title="p", kind="number", digits=3, bar=longest, drop=2))
    knees = [median for _, median in (curve.below, curve.above)]
    rows = []
    for point in curve.points:
        target: tuple[Cell, ...] = (point.target,) if aimed else ()
        mark = KNEE if point.multiplier in knees else ""
        rows.append(Row(cells=(point.multiplier, *target, point.height), mark=mark))
    return Table(columns=tuple(columns), rows=tuple(rows))


def _knee(knee: Knee, said: Callable[[float], str]) -> Iterator[str]:
    """The knee of one prompt in words, the side nearer to the baseline first."""
    flips = sorted(filter(None, (knee.below, knee.above)), key=lambda flip: flip.change)
    if not flips:
        yield f"knee: no multiplier flips {quoted(knee.token)}" if knee.token else "knee: no multiplier flips it"
    for number, flip in enumerate(flips):
        words = f"{said(flip.multiplier)} flips {quoted(knee.token)} to {quoted(flip.token)}"
        yield words if number else f"{KNEE} knee: {words}"


def _median(curve: SweepCurve, said: Callable[[float], str]) -> Iterator[str]:
    """The knees of many prompts in words."""
    prompts = len(curve.knees)
    if not curve.flips:
        yield f"knee: no multiplier flips the likeliest token of any of {prompts:,} prompts"
        return
    base = curve.knees[0].base
    median = said(curve.knee if curve.knee is not None else 1.0)
    yield f"{curve.flips:,} of {prompts:,} prompts flip, the median knee {median}"
    for side, (count, knee) in {f"below {base:g}": curve.below, f"above {base:g}": curve.above}.items():
        if base == 0 and side.startswith("below") and all(point.multiplier >= 0 for point in curve.points):
            continue
        yield f"{KNEE} {side}: {said(knee)}, {count:,} flip" if knee is not None else f"{side} none flips"


def _files(value: results.Swept | results.SweptGrid) -> Iterator[AnyBlock]:
    if value.folder:
        yield Note(text=f"kept in {value.folder}")
    if value.chart:
        yield Note(text=f"chart in {value.chart}")
