"""Multipliers on neurons, over prompts: the results of `sweep`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.interventions.arms import Arm
from sessions.interventions.cells import Cell, Curve, Flip, Knee
from workbench.presenters import parts
from workbench.presenters.interventions import SCOPES, intervention
from workbench.presenters.parts import shown
from workbench.writing import MISSING, bar, chance, facts, fitted, inline, multiple, quoted, signed

#: What stands before the multiplier of a knee.
_KNEE = "○"
#: How a multiplier is said, and what it is called where it is none of neurons.
Said = Callable[[float], str]
_TIMES: dict[str, Said] = {"depths": lambda depth: f"{depth:g}", "weights": lambda weight: f"{weight:g}"}
_KINDS = {"depths": "depth", "weights": "weight"}


@shown.register
def _(value: results.Swept, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield intervention("sweep", value, sheet)
    said = _TIMES.get(value.over, multiple)
    yield _texts(value.arms, value.target is not None, value.knee, sheet, said)
    if value.knee is not None:
        yield facts(_knee(value.knee, said), sheet.width)
    yield from _files(value)


@shown.register
def _(value: results.SweptGrid, sheet: parts.Sheet) -> Iterator[RenderableType]:
    counts = (
        parts.counted(len(value.curves), "selection"),
        parts.counted(len(value.curves[0].points), _KINDS.get(value.over, "multiplier")),
        parts.counted(value.prompts, "prompt"),
    )
    scope = SCOPES.get(value.scope) or inline(value.scope)
    yield facts([f"sweep {' × '.join(counts)}", parts.counted(len(value.cells), "cell"), scope], sheet.width)
    said = _TIMES.get(value.over, multiple)
    longest = max((point.height or 0.0 for curve in value.curves for point in curve.points), default=0.0)
    scale = [f"the longest bar is {chance(longest)}"] if value.prompts > 1 else []
    yield parts.dim(facts([_measured(value), *scale], sheet.width))
    for curve in value.curves:
        yield Line("")
        count = parts.counted(curve.neurons, "neuron") if curve.neurons else ""
        yield facts([f"{inline(curve.selection)}", count], sheet.width)
        if value.prompts == 1:
            yield _texts(_arms(curve, value.cells), value.targets > 0, curve.knees[0], sheet, said)
            yield facts(_knee(curve.knees[0], said), sheet.width)
        else:
            yield _rows(curve, value.targets > 0, longest, sheet, said)
            yield facts(_median(curve, said), sheet.width)
    yield from _files(value)


def _measured(value: results.SweptGrid) -> str:
    """What the bars are of."""
    if value.target is not None:
        of = f"p({quoted(value.target.tokens[0].text)})"
    else:
        of = "p of each prompt's target" if value.targets else "p of the likeliest token"
    return of if value.prompts == 1 else f"{of}, the mean of {value.prompts:,} prompts"


def _arms(curve: Curve, cells: Sequence[Cell]) -> list[Arm]:
    """The texts of a selection, of a sweep of one prompt, by rising multiplier."""
    own = [cell for cell in cells if cell.selection in ("", curve.selection)]
    return [cell.arm() for cell in sorted(own, key=lambda cell: cell.multiplier)]


def _texts(arms: Sequence[Arm], aimed: bool, knee: Knee | None, sheet: parts.Sheet, said: Said) -> Table:
    """A row a multiplier, with the text there."""
    wide = sheet.width >= parts.WIDE
    columns = (">target", ">p", "") if aimed else ()
    table = parts.table(sheet, ">", *columns, "next token", "text")
    for arm in arms:
        likeliest = max(arm.next_tokens, key=lambda token: token.probability, default=None)
        cells = [_marked(arm.multiplier, [] if knee is None else [knee.below, knee.above], said)]
        if aimed:
            drawn = f"{bar(arm.target_probability, 20 if wide else 8):<8}"
            cells += [signed(arm.target), chance(arm.target_probability), drawn]
        chosen = MISSING if likeliest is None else fitted(quoted(likeliest.text), 16)
        table.add_row(*cells, parts.cell(chosen), parts.text(arm.text) if wide else parts.cell(inline(arm.text)))
    return table


def _rows(curve: Curve, aimed: bool, longest: float, sheet: parts.Sheet, said: Said) -> Table:
    """A row a multiplier, with the means over many prompts; the bar of the highest is whole."""
    table = parts.table(sheet, ">", *((">target",) if aimed else ()), ">p", "")
    cells = parts.bar_cells(sheet, beside=30)
    knees = [median for _, median in (curve.below, curve.above)]
    for point in curve.points:
        target = [signed(point.target)] if aimed else []
        mark = f"{_KNEE} " if point.multiplier in knees else ""
        drawn = bar((point.height or 0.0) / longest, cells) if longest else ""
        table.add_row(f"{mark}{said(point.multiplier)}", *target, chance(point.height), drawn)
    return table


def _marked(multiplier: float, knees: Sequence[Flip | None], said: Said) -> str:
    at = any(flip is not None and flip.multiplier == multiplier for flip in knees)
    return f"{_KNEE} {said(multiplier)}" if at else said(multiplier)


def _knee(knee: Knee, said: Said) -> Iterator[str]:
    """The knee of one prompt in words, the side nearer to the baseline first."""
    flips = sorted(filter(None, (knee.below, knee.above)), key=lambda flip: flip.change)
    if not flips:
        yield f"knee: no multiplier flips {quoted(knee.token)}" if knee.token else "knee: no multiplier flips it"
    for number, flip in enumerate(flips):
        words = f"{said(flip.multiplier)} flips {quoted(knee.token)} to {quoted(flip.token)}"
        yield words if number else f"{_KNEE} knee: {words}"


def _median(curve: Curve, said: Said) -> Iterator[str]:
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
        yield f"{_KNEE} {side}: {said(knee)}, {count:,} flip" if knee is not None else f"{side} none flips"


def _files(value: results.Swept | results.SweptGrid) -> Iterator[RenderableType]:
    if value.folder:
        yield Line(f"kept in {inline(value.folder)}", overflow="fold")
    if value.chart:
        yield Line(f"chart in {inline(value.chart)}", overflow="fold")
