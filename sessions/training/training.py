"""A round from its samples to its folder: trained, resumed after a kill, compared with a control, saved.

The control is the same training with as many neurons suppressed, drawn at random from the same layers. Without it one
cannot tell whether a round learned less because *these* neurons were missing, or because any were.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sessions.artifacts import now
from sessions.cancel import Cancel
from sessions.edits.edit import Edit
from sessions.errors import ArtifactError, Cancelled, UsageError
from sessions.events import Steps
from sessions.model.info import same_model
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.units import Kind, Unit
from sessions.training.findings import Outcome, Round, TrainingPlan, epochs_of
from sessions.training.learning import TrainedRound, learn
from sessions.training.recruits import TOP, Recruits
from sessions.training.round import CONTROL, Rounds
from sessions.training.samples import Lesson
from sessions.training.unfinished import BegunRound, Unfinished, data_of
from sessions.versions import versions

_REPLACE = "replace it with --force, or choose another name"


@dataclass(frozen=True)
class RoundRequest:
    """What a round is to be: its name, what it learns and how, and which units are held at zero.

    `after` names the round whose recruits are among them; `top` is how many recruits count. `force` replaces a round of
    that name, `anew` forgets one that was begun and not finished. `begins` is the edit that neurons which are trained
    alone begin at.
    """

    name: str
    lessons: tuple[Lesson, ...]
    plan: TrainingPlan
    suppressed: tuple[Unit, ...] = ()
    after: str = ""
    top: int = TOP
    control: bool = True
    begins: Edit | None = None
    command: str = ""
    force: bool = False
    anew: bool = False


def train(
    opened: OpenModel,
    rounds: Rounds,
    job: RoundRequest,
    cancel: Cancel | None = None,
    keep_edit: Callable[[Edit], object] | None = None,
) -> Steps[Round]:
    """Train a round and save it. The model has to be as it was opened, and is so afterwards.

    Args:
        keep_edit: saves what was learned of neurons that were trained alone, before the round is saved.

    Raises:
        UsageError: there is nothing to learn, or the plan does not fit the model.
        ArtifactError: the name is taken, or the round cannot be written.
        Cancelled: what was trained so far is kept, and the same job goes on from there.
    """
    start = perf_counter()
    _check(rounds, job)
    with rounds.claimed(job.name):
        done = _done_before(opened, rounds, job)
        if done is not None:
            return done
        try:
            treated, control = yield from _both(opened, rounds, job, cancel)
        except Cancelled as cancelled:
            cancelled.hint = "what was trained so far is kept: the same line goes on"
            raise
        finished = _round(opened, job, treated, control, perf_counter() - start)
        if treated.edit is not None and keep_edit is not None:
            keep_edit(treated.edit)
        rounds.save(finished, treated.recruits, treated.adapter, force=job.force)
        rounds.forget_unfinished(job.name)
    return finished


def _both(
    opened: OpenModel, rounds: Rounds, job: RoundRequest, cancel: Cancel | None
) -> Steps[tuple[TrainedRound, TrainedRound | None]]:
    """The round and, where anything is suppressed, its control."""
    trained = yield from _trained(opened, rounds, job, job.suppressed, "", cancel)
    if not (job.control and job.suppressed) or trained.stopped:
        return trained, None
    drawn = drawn_like(opened.anatomy, job.suppressed, job.plan.seed + 1)
    return trained, (yield from _trained(opened, rounds, job, drawn, CONTROL, cancel))


def _round(
    opened: OpenModel, job: RoundRequest, trained: TrainedRound, control: TrainedRound | None, seconds: float
) -> Round:
    """What is kept of it."""
    return Round(
        name=job.name,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
        command=job.command,
        created=now(),
        seconds=seconds,
        versions=versions(),
        plan=job.plan,
        data=data_of(job.lessons),
        samples=tuple(lesson.name for lesson in job.lessons),
        suppressed=job.suppressed,
        outcome=_outcome(trained),
        recruited=_recruited(trained.recruits, job.top),
        after=job.after,
        control=None if control is None else _outcome(control),
        config=_plain(trained.config),
    )


def drawn_like(anatomy: Anatomy, neurons: Sequence[Unit], seed: int) -> tuple[Unit, ...]:
    """As many other units of each kind and layer as `neurons` has there, drawn at random; fewer where there are no
    more."""
    drawn = random.Random(seed)
    taken: dict[tuple[int, Kind], set[int]] = {}
    for unit in neurons:
        taken.setdefault((unit.layer, unit.kind), set()).add(unit.index)
    controls = []
    for (layer, kind), indices in sorted(taken.items()):
        left = [index for index in range(anatomy.counts(kind)[layer]) if index not in indices]
        chosen = sorted(drawn.sample(left, min(len(indices), len(left))))
        controls += [Unit(layer, index, kind=kind) for index in chosen]
    return tuple(controls)


def is_of(job: RoundRequest, trained: Round) -> bool:
    """Whether a round is of just this training."""
    same = (trained.plan, trained.data, trained.after) == (job.plan, data_of(job.lessons), job.after)
    return same and {neuron.anywhere for neuron in trained.suppressed} == {neuron.anywhere for neuron in job.suppressed}


def _done_before(opened: OpenModel, rounds: Rounds, job: RoundRequest) -> Round | None:
    """The round, where this same training had just saved it when it was killed; what that left is removed."""
    if job.force or not rounds.path(job.name).exists():
        return None
    trained = rounds.load(job.name)
    if not (is_of(job, trained) and same_model(trained.fingerprint, opened.info.fingerprint)):
        raise ArtifactError(f"round '{job.name}' exists already", _REPLACE)
    rounds.forget_unfinished(job.name)
    return trained


def _check(rounds: Rounds, job: RoundRequest) -> None:
    """Refuse what would only fail after an hour."""
    if not job.force and rounds.path(job.name).exists() and not rounds.is_begun(job.name):
        raise ArtifactError(f"round '{job.name}' exists already", _REPLACE)
    empty = next((lesson.name for lesson in job.lessons if sum(lesson.weights) <= 0), None)
    if empty is not None:
        raise UsageError(f"no token of {empty} counts", "give a part of it a weight above 0")


def _trained(
    opened: OpenModel,
    rounds: Rounds,
    job: RoundRequest,
    suppressed: tuple[Unit, ...],
    suffix: str,
    cancel: Cancel | None,
) -> Steps[TrainedRound]:
    sites = tuple(unit.bare for unit in suppressed)
    begun = BegunRound(
        model=opened.info.fingerprint,
        dtype=opened.info.dtype,
        plan=job.plan,
        data=data_of(job.lessons),
        suppressed=sites,
    )
    unfinished = Unfinished(rounds.unfinished(job.name + suffix), begun)
    if job.anew or _is_of_finished(rounds, job.name, unfinished, bool(suffix)):
        unfinished.discard()
    state = unfinished.taken_up()
    return (
        yield from learn(
            opened,
            job.lessons,
            job.plan,
            sites,
            begins=job.begins,
            state=state,
            keep=unfinished.keep,
            cancel=cancel,
        )
    )


def _is_of_finished(rounds: Rounds, name: str, unfinished: Unfinished, is_control: bool) -> bool:
    """Whether what was written down is of the round of that name that is finished, and not of this one: whoever
    trained that was killed when it was saved, before this was removed."""
    begun = unfinished.begun_as()
    if begun is None or begun == unfinished.begun or name not in rounds.names():
        return False
    done = rounds.about(name)
    same = (begun.plan, begun.data) == (done.plan, done.data) and same_model(begun.model, done.fingerprint)
    held = ({unit.anywhere for unit in each.suppressed} for each in (begun, done))
    return same and (is_control or next(held) == next(held))


def _outcome(trained: TrainedRound) -> Outcome:
    return Outcome(
        initial=trained.initial,
        final=trained.final,
        curve=trained.curve,
        stopped=trained.stopped,
        lacks=trained.lacks,
        plain_initial=trained.plain_initial,
        plain_final=trained.plain_final,
        epochs=epochs_of(trained.curve, len(trained.initial)),
        gradient=dict(trained.gradient),
    )


def _recruited(recruits: Recruits, top: int) -> tuple[Unit, ...]:
    """The strongest by gradient, or by activation where no adapter was on the down projections. None of a model all of
    whose neurons are those of experts, which are not measured."""
    return recruits.strongest(top, recruits.usual) if recruits.scores else ()


def _plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON says it: enumerations as their words, sets as lists."""
    return {
        key: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for key, value in config.items()
    }


def remarks(trained: Round, lessons: Sequence[Lesson], suppressed: int) -> Iterator[str]:
    """Remarks on what became of a round and of its samples, `suppressed` neurons being at zero now."""
    outcome = trained.outcome
    if outcome.stopped:
        yield f"{outcome.stopped}; what was learned before it is kept"
    cut = [lesson.cut for lesson in lessons if lesson.cut]
    if cut:
        yield f"{len(cut)} prompts were cut on the left to fit the budget, by up to {max(cut):,} characters"
    skipped = [(lesson.name, phrase) for lesson in lessons for phrase in lesson.skipped]
    if skipped:
        name, phrase = skipped[0]
        yield (
            f"{len(skipped)} phrases are not in their reply word for word and are ignored: "
            f"the first is {phrase[:40]!r} of {name}"
        )
    if trained.after:
        yield f"what was recruited stays suppressed: {suppressed:,} units now are"
    if trained.plan.neurons:
        yield f"saved as edit {trained.name} as well: edits load {trained.name}"
    if outcome.lacks:
        yield (
            f"on this device {outcome.lacks} does not always give the same bits: trained again, or gone on with, "
            "it may end in others"
        )
    if not trained.recruited and len(outcome.curve) == 1 and not trained.plan.neurons:
        what = f"no {trained.plan.unit} was recruited"
        yield f"{what}: B begins at zero, so what A reads has no gradient in the first step"
    elif not trained.recruited:
        yield f"no {trained.plan.unit} was measured: --unit expert measures experts, and --unit head attention heads"
