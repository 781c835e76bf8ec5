"""Sweeping: answers the rows of a plan in batches that depend on the plan alone.

A sweep that is interrupted and resumed computes the same batches as one without interruption, and reaches the same
cells. For a sweep of adapters, `run` is given the block that applies the adapters (see `sessions.evaluation.weighing`).

The grid and its order are in `sweep_plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field

import torch
from msgspec import structs
from torch import Tensor

from sessions import memory
from sessions.cancel import Cancel
from sessions.comparisons.sweep_plan import GridKey, SweepPlan, SweepPrompt
from sessions.comparisons.sweep_points import SweepPoint, cell_of
from sessions.errors import ArtifactError, Cancelled
from sessions.events import Progress, Steps
from sessions.interventions.answering import complete_rows
from sessions.interventions.arms import Arm
from sessions.interventions.suppressing import Suppression
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.tokens import encode
from sessions.model.units import Unit


@dataclass
class Answers:
    """The outcome of a run: all cells. For a simple sweep also the arms of the rows that it computed itself, by row,
    and the logits of the first generated position of the last text, `[vocab]`. `fits` is how many rows of a batch were
    computed at once if a whole batch did not fit into memory, else 0."""

    cells: list[SweepPoint]
    arms: dict[int, Arm] = field(default_factory=dict)
    logits: Tensor | None = None
    fits: int = 0


#: The block in which the rows of a batch are answered, by its first row.
Within = Callable[[GridKey], AbstractContextManager[None]]


def _as_it_is(_: GridKey) -> AbstractContextManager[None]:
    return nullcontext()


def run(
    opened: OpenModel,
    plan: SweepPlan,
    done: Sequence[SweepPoint] = (),
    write: Callable[[Sequence[SweepPoint]], None] | None = None,
    cancel: Cancel | None = None,
    within: Within = _as_it_is,
) -> Steps[Answers]:
    """Answer the rows of a plan after the first `done`, which are complete batches; `write` takes each batch's cells.

    A batch is answered inside the block that `within` makes for its first row.

    Raises:
        UsageError: see `SweepPlan.check`.
        ArtifactError: the model reads a prompt as other tokens than those in the plan.
        Cancelled: between two tokens; what was given to `write` stays.
    """
    plan.check(opened)
    encoded = tuple(_encoded(opened, number, prompt) for number, prompt in enumerate(plan.prompts))
    # The session holds its own neurons at zero anyway; a resumed sweep holds those that it was begun with.
    with Suppression(opened.anatomy, tuple(map(Unit.parse, plan.suppressed))).held():
        return (yield from _run(opened, plan, done, write, encoded, cancel, within))


def _run(
    opened: OpenModel,
    plan: SweepPlan,
    done: Sequence[SweepPoint],
    write: Callable[[Sequence[SweepPoint]], None] | None,
    encoded: Sequence[Encoded],
    cancel: Cancel | None,
    within: Within,
) -> Steps[Answers]:
    answers = Answers(list(done))
    yield Progress("sweeping", len(done), len(plan.places), "cells")
    for batch in plan.batches():
        if batch.start < len(done):
            continue
        with within(plan.places[batch.start]):
            arms, logits = yield from _in_parts(opened, plan, batch, encoded, answers, cancel)
        cells = [_cell(plan, row, arm) for row, arm in zip(batch, arms, strict=True)]
        if write is not None:
            write(cells)
        answers.cells += cells
        if plan.last in batch:
            answers.logits = logits[plan.last - batch.start].clone()
        if plan.simple:
            answers.arms |= dict(zip(batch, arms, strict=True))
        yield Progress("sweeping", len(answers.cells), len(plan.places), "cells")
    return answers


def _cell(plan: SweepPlan, row: int, arm: Arm) -> SweepPoint:
    place = plan.places[row]
    cell = cell_of(arm, place.prompt, plan.name_of(place))
    if place.selection is None:
        return cell
    # What is live beside the selection may be in force where the selection never is.
    part = plan.prompts[place.prompt].where.part
    return structs.replace(cell, fired=next((effect.fired for effect in arm.parts if effect.part == part), arm.fired))


def _encoded(opened: OpenModel, number: int, prompt: SweepPrompt) -> Encoded:
    encoded = encode(opened.tokenizer, prompt.prompt)
    opened.anatomy.check_length(len(encoded.ids))
    if encoded.ids != prompt.ids:
        raise ArtifactError(
            f"prompt {number} is read as other tokens than when the sweep was begun: the tokenizer or its template "
            "has changed",
            "begin another sweep, under another name",
        )
    return encoded


def arms_of(plan: SweepPlan, answers: Answers) -> tuple[Arm, ...]:
    """The arm of each multiplier of a simple sweep, in the order given."""
    rows = [plan.row_of(0, 0, multiplier) for multiplier in plan.multipliers]
    return tuple(answers.arms.get(row) or answers.cells[row].arm() for row in rows)


def _in_parts(
    opened: OpenModel,
    plan: SweepPlan,
    batch: range,
    encoded: Sequence[Encoded],
    answers: Answers,
    cancel: Cancel | None,
) -> Steps[tuple[tuple[Arm, ...], Tensor]]:
    """A batch at once or, where memory does not suffice, in parts of half as many rows, halved again if needed."""
    arms: tuple[Arm, ...] = ()
    logits: list[Tensor] = []
    while len(arms) < len(batch):
        part = batch[len(arms) :][: answers.fits or None]
        try:
            part_arms, first = yield from _batch(opened, plan, part, encoded, cancel)
        except Exception as error:
            if len(part) == 1 or not memory.is_lacking(error):
                raise
            memory.let_go(error)
            answers.fits = len(part) // 2
        else:
            arms += part_arms
            logits.append(first)
            continue
        memory.give_back()  # after the block, since the error references the tensors that did not fit
    return arms, torch.cat(logits)


def _batch(
    opened: OpenModel, plan: SweepPlan, batch: range, encoded: Sequence[Encoded], cancel: Cancel | None
) -> Steps[tuple[tuple[Arm, ...], Tensor]]:
    places = [plan.places[row] for row in batch]
    targets = [plan.prompts[place.prompt].target for place in places]
    steps = complete_rows(
        opened,
        [(encoded[place.prompt], plan.condition(place)) for place in places],
        plan.decoding,
        targets=targets,
        streamed=False,
        lenient=True,
        cancel=cancel,
    )
    with closing(steps):
        while True:
            try:
                event = next(steps)
            except StopIteration as stop:
                arms, logits = stop.value
                if any(arm.stopped == Cancelled.kind for arm in arms):  # half a text is no cell
                    raise Cancelled from None
                return arms, logits
            if isinstance(event, Progress) and event.total:
                part = len(batch) * min(event.done / event.total, 1.0)
                yield Progress("sweeping", batch.start + part, len(plan.places), "cells")
