"""What a sweep comes to: its result, remarks on it, and its chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.comparisons.sweep_points import SweepPoint
from sessions.files.disk import check_target
from sessions.model.units import Unit
from sessions.results import SweepSoFar, Swept, SweptGrid, SweptSoFar
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.comparisons.sweep_plan import SweepPlan
    from sessions.comparisons.sweeping import Answers

#: What is varied, at the axis of a chart.
_AXES = {"weights": "weight of the adapter  (0 leaves it out, 1 as it was trained)", "depths": "rounds of the series"}


def drawn(plan: SweepPlan, answers: Answers, ending: str) -> bytes:
    """Its chart, as the bytes of a file with that ending."""
    from sessions.comparisons.sweep_chart import NEURONS
    from sessions.comparisons.sweep_chart import drawn as picture

    over = _AXES.get(over_what(plan), NEURONS)
    return picture(plan.curves(answers.cells), answers.cells, plan.measured, ending, over)


def over_what(plan: SweepPlan) -> str:
    """What the multipliers are of, as of `Swept.over`."""
    if not plan.weighs:
        return ""
    return "depths" if any(chosen.deep for chosen in plan.selections) else "weights"


def remarks(plan: SweepPlan, cells: Sequence[SweepPoint]) -> Iterator[str]:
    """What went otherwise than a user may think."""
    suppressed = {Unit.parse(text).anywhere for text in plan.suppressed}
    for chosen, neurons in zip(plan.selections, plan.neurons, strict=True):
        count = len({neuron.anywhere for neuron in neurons} & suppressed)
        if count:
            yield f"{count} neurons of '{chosen.text}' are suppressed and stay at zero"
    failed = [cell for cell in cells if cell.stopped == "nan"]
    if failed:
        first = failed[0]
        where = f"×{first.multiplier:g} of '{first.selection}', from token {first.length + 1} on"
        yield f"{len(failed)} of {len(cells)} texts stopped: their logits are not numbers; the first is {where}"
    idle = sum(cell.fired == 0 for cell in cells)
    if idle:
        markers = {prompt.where.marker for prompt in plan.prompts} - {""}
        why = f": the marker {markers.pop()!r} did not come" if markers else ""
        yield f"in {idle} of {len(cells)} texts the selection was never in force{why}"


def result(session: Session, plan: SweepPlan, answers: Answers, notes: list[str]) -> Swept | SweptGrid:
    """What is shown of it: of one selection on one prompt its texts, else the grid."""
    from sessions.comparisons.sweeping import arms_of

    curves = plan.curves(answers.cells)
    if not plan.simple:
        targets = {prompt.target.tokens: prompt.target for prompt in plan.prompts if prompt.target is not None}
        return SweptGrid(
            scope=plan.scope,
            prompts=len(plan.prompts),
            target=next(iter(targets.values())) if len(targets) == 1 else None,
            targets=len(targets),
            curves=curves,
            cells=tuple(answers.cells),
            notes=tuple(notes),
            over=over_what(plan),
        )
    (only,), (curve,) = plan.prompts, curves
    value = answers.cells[0].target or 0.0
    return Swept(
        selection=curve.selection,
        neurons=curve.neurons,
        unit=curve.unit,
        scope=plan.scope,
        encoded=session.read(only.prompt),
        target=None if only.target is None else structs.replace(only.target, value=value),
        arms=arms_of(plan, answers),
        knee=curve.knees[0],
        notes=tuple(notes),
        over=over_what(plan),
    )


def swept_so_far(plan: SweepPlan, cells: Sequence[SweepPoint]) -> SweepSoFar | None:
    """The mean over prompts at each multiplier of each selection, of the cells so far; None before the first."""
    heights: dict[tuple[str, float], list[float]] = {}
    for cell in cells:
        if cell.height is not None:
            heights.setdefault((cell.selection or plan.selections[0].text, cell.multiplier), []).append(cell.height)
    points = tuple(
        SweptSoFar(selection, multiplier, len(known), fmean(known))
        for (selection, multiplier), known in sorted(heights.items())
    )
    return SweepSoFar(measured=plan.measured, done=len(cells), of=len(plan.places), points=points) if points else None


def check_chart(path: Path | None, force: bool) -> None:
    """Raise where the chart could not be written once it is drawn."""
    from sessions.picture import check_ending

    if path is None:
        return
    check_ending(path)
    check_target(path, "sweep.svg", force=force)
