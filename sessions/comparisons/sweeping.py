"""Sweeping: a grid of multipliers × selections × prompts, answered in batches that depend on the plan alone.

The plan holds everything that an answer depends on: the neurons of each selection when it was made, the ids of the
prompts, the decoding, the other interventions in force. Its rows are, for each prompt in turn, the baseline (multiplier
1, once for all selections) and then each selection at each other multiplier. They are cut into batches in that order,
by numbers of rows and of tokens. So a sweep that is interrupted and resumed computes the same batches as one without
interruption, and reaches the same cells.

For adapters the multipliers are weights. A batch has one set of weights, which applies to the model for all its rows.
So rows are ordered by weight and then by prompt, and the baseline is the model at 0. `run` is given the block that
applies the adapters (see `sessions.evaluation.weighing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import cached_property

import torch
from msgspec import Struct, structs
from torch import Tensor

from sessions import memory
from sessions.cancel import Cancel
from sessions.comparisons.sweep_points import SweepCurve, SweepPoint, cell_of, curve_of
from sessions.errors import ArtifactError, Cancelled, UsageError
from sessions.events import Progress, Steps
from sessions.interventions.answering import complete_rows
from sessions.interventions.arms import Arm, Condition
from sessions.interventions.intervention import EVERYWHERE, Intervention, TokenScope, refuse_overlaps, sites_of
from sessions.interventions.suppressing import Suppression
from sessions.model.generation import Decoding
from sessions.model.info import Encoded, Prompt
from sessions.model.opening import OpenModel
from sessions.model.target import Target
from sessions.model.tokens import encode
from sessions.model.units import Neuron

#: Default rows of a batch, and its most tokens: prompt, padding and what may be generated.
ROWS = 32
LARGEST_BATCH = 32768


class AdapterShare(Struct, frozen=True):
    """An adapter of a sweep: its name, or that of its round, the sha256 of its file, and its weight at multiplier 1.

    One that is `against` the others has its weight at multiplier 0 and weight 0 at 1.
    """

    name: str
    weight: float
    sha256: str
    round: bool = False
    against: bool = False


class Chosen(Struct, frozen=True):
    """What is swept, as it was written: neurons, `L24/N1005@41`, or adapters. Positions below 0 count from a prompt's
    end. With `deep`, the adapters are rounds of a series, which are added one after the other with equal shares."""

    text: str
    neurons: tuple[str, ...] = ()
    adapters: tuple[AdapterShare, ...] = ()
    deep: bool = False

    def weights(self, multiplier: float) -> tuple[tuple[AdapterShare, float], ...]:
        """The adapters that are on at a multiplier, each with its weight."""
        if self.deep:
            return tuple((share, share.weight / multiplier) for share in self.adapters[: int(multiplier)])
        scales = ((share, 1 - multiplier if share.against else multiplier) for share in self.adapters)
        return tuple((share, share.weight * scale) for share, scale in scales if share.weight * scale)


class SweepPrompt(Struct, frozen=True):
    """A prompt, its ids, its target without a value (None where it has none), and where in its text selections are in
    force."""

    prompt: Prompt
    ids: tuple[int, ...]
    target: Target | None
    where: TokenScope = EVERYWHERE


class GridKey(Struct, frozen=True):
    """A row of the grid: the numbers of its prompt and its selection (None for the baseline), and its multiplier."""

    prompt: int
    selection: int | None
    multiplier: float


class SweepPlan(Struct, frozen=True, kw_only=True, dict=True):
    """Everything that determines the cells of a sweep, except the model's weights.

    `suppressed` are held at zero and `live` is in force in every row. A batch has at most `batch` rows. `scope` says in
    words where selections are in force. `device` and `versions` are those that it was begun with.
    """

    dtype: str
    selections: tuple[Chosen, ...]
    multipliers: tuple[float, ...]
    prompts: tuple[SweepPrompt, ...]
    decoding: Decoding
    live: tuple[Intervention, ...] = ()
    suppressed: tuple[str, ...] = ()
    batch: int = ROWS
    scope: str = ""
    device: str = ""
    versions: dict[str, str] = {}

    @cached_property
    def places(self) -> tuple[GridKey, ...]:
        """The rows of the grid, in order."""
        return tuple(self._places())

    @property
    def weighs(self) -> bool:
        """Whether it is a sweep of adapters."""
        return bool(self.selections[0].adapters)

    @property
    def base(self) -> float:
        """The multiplier of the baseline."""
        return 0.0 if self.weighs else 1.0

    def weights(self, place: GridKey) -> tuple[tuple[AdapterShare, float], ...]:
        """The adapters that are on in a row, each with its weight."""
        return self.selections[place.selection or 0].weights(place.multiplier)

    def _places(self) -> Iterator[GridKey]:
        if self.weighs:
            prompts = range(len(self.prompts))
            yield from (GridKey(prompt, None, self.base) for prompt in prompts)
            for selection in range(len(self.selections)):
                for multiplier in self.multipliers:
                    if multiplier != self.base:
                        yield from (GridKey(prompt, selection, multiplier) for prompt in prompts)
            return
        for prompt in range(len(self.prompts)):
            yield GridKey(prompt, None, 1.0)
            for selection in range(len(self.selections)):
                for multiplier in self.multipliers:
                    if multiplier != 1:
                        yield GridKey(prompt, selection, multiplier)

    @cached_property
    def neurons(self) -> tuple[tuple[Neuron, ...], ...]:
        """The neurons of each selection."""
        return tuple(tuple(map(Neuron.parse, chosen.neurons)) for chosen in self.selections)

    @property
    def simple(self) -> bool:
        """Whether it is one selection on one prompt."""
        return len(self.selections) == len(self.prompts) == 1

    def name_of(self, place: GridKey) -> str:
        """The selection of a row, as it was written; empty for the baseline."""
        return "" if place.selection is None else self.selections[place.selection].text

    def batches(self) -> Iterator[range]:
        """The rows of each batch."""
        start, longest = 0, 0
        for row, place in enumerate(self.places):
            longest = max(longest, len(self.prompts[place.prompt].ids))
            tokens = (row + 1 - start) * (longest + self.decoding.max_tokens)
            other = self.weighs and _set(place) != _set(self.places[start])
            if row > start and (other or row - start == self.batch or tokens > LARGEST_BATCH):
                yield range(start, row)
                start, longest = row, len(self.prompts[place.prompt].ids)
        yield range(start, len(self.places))

    def whole(self, cells: int) -> int:
        """How many of the first `cells` cells belong to complete batches."""
        return max((batch.stop for batch in self.batches() if batch.stop <= cells), default=0)

    @cached_property
    def last(self) -> int:
        """The row of the last multiplier given, for the last selection and the last prompt."""
        return self.row_of(len(self.prompts) - 1, len(self.selections) - 1, self.multipliers[-1])

    def row_of(self, prompt: int, selection: int, multiplier: float) -> int:
        """The row of a cell of the grid; at the baseline's multiplier, that of the baseline."""
        return self.places.index(GridKey(prompt, None if multiplier == self.base else selection, float(multiplier)))

    def is_place_of(self, cell: SweepPoint, row: int) -> bool:
        """Whether a cell belongs to a row."""
        place = self.places[row]
        key = place.prompt, self.name_of(place), place.multiplier
        return (cell.prompt, cell.selection, cell.multiplier) == key

    def condition(self, place: GridKey) -> Condition:
        """The condition of a row."""
        treatments, asked = self.live, self.prompts[place.prompt]
        if place.selection is not None and not self.weighs:
            neurons = tuple(neuron.counted(len(asked.ids)) for neuron in self.neurons[place.selection])
            treatments = (*self.live, Intervention(neurons, place.multiplier, (), asked.where, self.name_of(place)))
        held = frozenset(Neuron.parse(text).site for text in self.suppressed)
        free = tuple(treatment.without(held) for treatment in treatments) if held else treatments
        return Condition(f"×{place.multiplier:g}", free, place.multiplier)

    @property
    def measured(self) -> str:
        """What the heights of its cells measure."""
        tokens = {question.target.tokens[0].text for question in self.prompts if question.target is not None}
        if not tokens:
            return "p of the likeliest token"
        return f'p("{tokens.pop()}")' if len(tokens) == 1 else "p of the target"

    def curves(self, cells: Sequence[SweepPoint]) -> tuple[SweepCurve, ...]:
        """The curve of each selection, from all cells."""
        sites = [len({neuron.site for neuron in neurons}) for neurons in self.neurons]
        pairs = zip(self.selections, sites, strict=True)
        return tuple(curve_of(chosen.text, count, cells) for chosen, count in pairs)

    def sound(self) -> SweepPlan:
        """The plan, if it is valid, whatever file it is from.

        Raises:
            ArtifactError: it has no cells, invalid settings, or invalid neurons.
        """
        decoding, multipliers = self.decoding, self.multipliers
        if not (self.prompts and self.selections and multipliers and len(set(multipliers)) == len(multipliers)):
            raise ArtifactError("the plan lacks prompts, selections or multipliers, or has one of them twice")
        if min(self.batch, decoding.max_tokens) < 1 or decoding.temperature <= 0 or decoding.top_k < 0:
            raise ArtifactError("the plan has an invalid batch size, length or temperature")
        try:
            named = [*self.suppressed, *(name for chosen in self.selections for name in chosen.neurons)]
            if not all(chosen.adapters if self.weighs else chosen.neurons for chosen in self.selections):
                raise UsageError("a selection has no neuron")
            for name in named:
                Neuron.parse(name)
        except UsageError as error:
            raise ArtifactError(f"the plan has invalid neurons: {error.message}") from error
        return self

    def check(self, opened: OpenModel) -> None:
        """Raise `UsageError` where the plan changes a neuron in two ways, or has a neuron or a token that the model
        lacks."""
        for asked in self.prompts:
            target = None if asked.target is None else (*asked.target.tokens, asked.target.counterfactual)
            opened.anatomy.check_tokens(token.id for token in target or () if token is not None)
        opened.anatomy.check_tokens(each for asked in self.prompts for each in asked.ids)
        for name in self.suppressed:
            opened.anatomy.check(*Neuron.parse(name).site)
        for chosen, neurons in zip(self.selections, self.neurons, strict=True):
            if not neurons:
                continue
            for where in {asked.where for asked in self.prompts}:
                refuse_overlaps((*self.live, Intervention(neurons, 0.0, (), where, chosen.text)))
            for layer, index in sites_of((Intervention(neurons),)):
                opened.anatomy.check(layer, index)

    def differs(self, other: SweepPlan) -> str:
        """The first difference from `other`, in words, or ""."""
        said = {
            "dtype": "its dtype",
            "selections": "its selections, or the neurons or adapters that they mean",
            "multipliers": "its multipliers",
            "prompts": "its prompts, their targets, or where in them it intervenes",
            "decoding": "how its texts are generated",
            "live": "the interventions that are live",
            "suppressed": "the suppressed neurons",
            "batch": "the rows of a batch",
        }
        return next((words for name, words in said.items() if getattr(self, name) != getattr(other, name)), "")


def _set(place: GridKey) -> tuple[int | None, float]:
    return place.selection, place.multiplier


def question(encoded: Encoded, target: Target | None, where: TokenScope = EVERYWHERE) -> SweepPrompt:
    """A prompt as the plan stores it."""
    return SweepPrompt(
        encoded.prompt, encoded.ids, None if target is None else structs.replace(target, value=0.0), where
    )


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
    encoded = tuple(_encoded(opened, number, asked) for number, asked in enumerate(plan.prompts))
    # The session holds its own neurons at zero anyway; a resumed sweep holds those that it was begun with.
    with Suppression(opened.anatomy, tuple(map(Neuron.parse, plan.suppressed))).held():
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
    return structs.replace(cell, fired=next((each.fired for each in arm.parts if each.part == part), arm.fired))


def _encoded(opened: OpenModel, number: int, asked: SweepPrompt) -> Encoded:
    encoded = encode(opened.tokenizer, asked.prompt)
    opened.anatomy.check_length(len(encoded.ids))
    if encoded.ids != asked.ids:
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
            found, first = yield from _batch(opened, plan, part, encoded, cancel)
        except Exception as error:
            if len(part) == 1 or not memory.is_lacking(error):
                raise
            memory.let_go(error)
            answers.fits = len(part) // 2
        else:
            arms += found
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
