"""Sweeping: answers the rows of a plan in batches that depend on the plan alone.

A sweep that is interrupted and resumed computes the same batches as one without interruption, and reaches the same
cells. A batch is a piece (`model.pieces`). For a sweep of adapters, `run` is given the states of the model with them
(see `sessions.evaluation.weighing`).

The grid and its order are in `sweep_plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from msgspec import structs
from torch import Tensor

from sessions import memory
from sessions.cancel import Cancel
from sessions.comparisons.sweep_plan import SweepPlan, SweepPrompt
from sessions.comparisons.sweep_points import SweepPoint, cell_of
from sessions.errors import ArtifactError, Cancelled
from sessions.events import Progress, Steps
from sessions.interventions.answering import complete_rows
from sessions.interventions.arms import Arm
from sessions.interventions.suppressing import Suppression
from sessions.model.info import Encoded
from sessions.model.opening import OpenModel
from sessions.model.pieces import Computing, Engine, PieceState, WorkingModel, one_by_one
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


@dataclass(frozen=True)
class BatchOutcome:
    """The arms of a batch; the logits of the plan's last text, if it is in it; `fits` as in `Answers`."""

    arms: tuple[Arm, ...]
    logits: Tensor | None
    fits: int


@dataclass
class SweepJob:
    """A sweep as pieces, its batches; `states` are those of the model by a batch's first row, for a sweep of adapters.

    `fits` is how many rows were computed at once since a batch did not fit into memory; 0 while all do.
    """

    plan: SweepPlan
    encoded: tuple[Encoded, ...]
    states: Mapping[int, PieceState]
    fits: int = 0

    def size(self, piece: range) -> float:
        return len(piece)

    def state(self, piece: range) -> PieceState | None:
        return self.states.get(piece.start)

    def compute(self, model: WorkingModel, piece: range) -> Computing[BatchOutcome]:
        """A batch at once or, where memory does not suffice, in parts of half as many rows, halved again if needed."""
        last, arms, logits = self.plan.last, tuple[Arm, ...](), None
        # The session holds its own neurons at zero anyway; a resumed sweep holds those that it was begun with.
        with Suppression(model.opened.anatomy, tuple(map(Unit.parse, self.plan.suppressed))).held():
            while len(arms) < len(piece):
                part = piece[len(arms) :][: self.fits or None]
                try:
                    part_arms, first = yield from self._rows(model, part, len(arms))
                except Exception as error:
                    if len(part) == 1 or not memory.is_lacking(error):
                        raise
                    memory.let_go(error)
                    self.fits = len(part) // 2
                else:
                    arms += part_arms
                    logits = first[last - part.start].clone() if last in part else logits
                    continue
                memory.give_back()  # after the block, since the error references the tensors that did not fit
        return BatchOutcome(arms, logits, self.fits)

    def _rows(self, model: WorkingModel, rows: range, done: int) -> Computing[tuple[tuple[Arm, ...], Tensor]]:
        places = [self.plan.places[row] for row in rows]
        steps = complete_rows(
            model.opened,
            [(self.encoded[place.prompt], self.plan.condition(place)) for place in places],
            self.plan.decoding,
            targets=[self.plan.prompts[place.prompt].target for place in places],
            streamed=False,
            lenient=True,
            cancel=model.cancel,
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
                    yield done + len(rows) * min(event.done / event.total, 1.0)


def run(
    opened: OpenModel,
    plan: SweepPlan,
    done: Sequence[SweepPoint] = (),
    write: Callable[[Sequence[SweepPoint]], None] | None = None,
    cancel: Cancel | None = None,
    *,
    states: Mapping[int, PieceState] | None = None,
    engine: Engine | None = None,
) -> Steps[Answers]:
    """Answer the rows of a plan after the first `done`, which are complete batches; `write` takes each batch's cells.

    Args:
        states: the states of the model in which batches are answered, by their first row; none for the model as it is.
        engine: computes the batches; by default in this process, on `opened`.

    Raises:
        UsageError: see `SweepPlan.check`.
        ArtifactError: the model reads a prompt as other tokens than those in the plan.
        Cancelled: between two tokens; what was given to `write` stays.
    """
    plan.check(opened)
    encoded = tuple(_encoded(opened, number, prompt) for number, prompt in enumerate(plan.prompts))
    answers, total = Answers(list(done)), len(plan.places)

    def take(batch: range, outcome: BatchOutcome) -> None:
        cells = [_cell(plan, row, arm) for row, arm in zip(batch, outcome.arms, strict=True)]
        if write is not None:
            write(cells)
        answers.cells += cells
        answers.fits = min(answers.fits or outcome.fits, outcome.fits or answers.fits)
        if outcome.logits is not None:
            answers.logits = outcome.logits
        if plan.simple:
            answers.arms |= dict(zip(batch, outcome.arms, strict=True))

    yield Progress("sweeping", len(done), total, "cells")
    yield from (engine or one_by_one(WorkingModel(opened, cancel)))(
        SweepJob(plan, encoded, states or {}),
        (batch for batch in plan.batches() if batch.start >= len(done)),
        take,
        lambda amount, _: Progress("sweeping", len(done) + amount, total, "cells"),
    )
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
