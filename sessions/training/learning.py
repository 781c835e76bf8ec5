"""Trains one round: an adapter learns while neurons are held at zero, and every neuron's gradient is counted.

    W ← W + (α / r) · B A          LoRA (Hu et al. 2021, arXiv:2106.09685), by PEFT, on the model as it was opened
    loss = Σ w_t · CE_t / Σ w_t    over the tokens of the reply; w_t from the sample (see `losses`)
    AdamW, the learning rate falling to a hundredth along half a cosine

The suppressed neurons are zero in every pass, at the input of the wrapped down projection. Their activations reach
neither the weights nor the adapter, so their share of its gradient is exactly zero (see `recruits`).

Training is a function of the samples, the plan and the model's weights (`reproducible` says how). Its state between two
steps is small: the adapter, two moments of each of its numbers, and the counts. Training continues from it as if it had
never stopped. `learner` computes one step.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.edits.edit import Edit
from sessions.errors import UsageError
from sessions.events import Progress, Steps, with_partials
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.units import Kind, Unit
from sessions.training.findings import TrainingPlan, TrainingStep
from sessions.training.learner import Learner, TrainingState, adapted
from sessions.training.recruits import Recruits, gathered
from sessions.training.reproducible import reproducible
from sessions.training.samples import Lesson
from sessions.training.so_far import TrainingSoFar

#: The advice about a loss that is not finite, by whether the model is float16.
_WAY_OUT = {
    False: "try a smaller --lr",
    True: "try a smaller --lr, or bfloat16, whose range is wider than float16's: model NAME --dtype bfloat16",
}


@dataclass(frozen=True, eq=False)
class TrainedRound:
    """A finished round.

    `adapter` are the adapter's weights by PEFT's names, `config` its configuration. `initial` and `final` are the
    weighted losses of the samples, in nats a token; `plain_initial` and `plain_final` are the plain ones. `gradient` is
    by kind of projection and layer. `stopped` says what ended training early, or is empty. `edit` is the result of
    training neurons alone. `lacks` names an operation that is not deterministic on this device, or is empty.
    """

    adapter: Mapping[str, Tensor]
    config: Mapping[str, Any]
    recruits: Recruits
    curve: tuple[TrainingStep, ...]
    initial: tuple[float, ...]
    final: tuple[float, ...]
    stopped: str = ""
    edit: Edit | None = None
    lacks: str = ""
    plain_initial: tuple[float, ...] = ()
    plain_final: tuple[float, ...] = ()
    gradient: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


#: Called with the state after each step, to save it.
Keep = Callable[[TrainingState], None]


def learn(
    opened: OpenModel,
    lessons: Sequence[Lesson],
    plan: TrainingPlan,
    suppressed: Sequence[Unit] = (),
    *,
    begins: Edit | None = None,
    state: TrainingState | None = None,
    keep: Keep | None = None,
    cancel: Cancel | None = None,
) -> Steps[TrainedRound]:
    """Train a round. The model is unchanged afterwards, even after an error.

    Args:
        suppressed: units to hold at zero in every pass; their positions are ignored.
        begins: the edit to start from, if the plan trains neurons alone.
        state: the state to continue from.

    Raises:
        UsageError: the model lacks a module of the plan, or a layer would keep no neuron.
        Cancelled: `cancel` was set; `keep` has received the state of the last step.
    """
    check_suppressed(opened.anatomy, suppressed)
    state = TrainingState() if state is None else state
    with adapted(opened, plan, begins) as learner, reproducible() as kernels:
        learner.kernels = kernels
        with learner.running(suppressed, state.absorbing, cancel):
            total = plan.steps(len(lessons))
            steps = _steps(learner, lessons, plan, state, keep)
            stopped = yield from with_partials(steps, lambda: _so_far(state, total))
            final = yield from learner.losses(lessons, "losses after")
            counted = {} if state.absorbing.modules is None else state.absorbing.modules.rows()
        adapter = {name: tensor.detach().cpu().clone() for name, tensor in learner.adapter().items()}
        config = {key: value for key, value in learner.config.to_dict().items() if value is not None}
        edit = learner.edit()
    return TrainedRound(
        adapter=adapter,
        config=config,
        recruits=gathered(state.absorbing, suppressed, plan.unit),
        curve=tuple(state.curve),
        initial=tuple(state.initial),
        final=tuple(losses.weighted for losses in final),
        stopped=stopped,
        edit=edit,
        lacks=kernels.lacks,
        plain_initial=tuple(state.plain_initial),
        plain_final=tuple(losses.plain for losses in final),
        gradient={kind: tuple(row.tolist()) for kind, row in counted.items()},
    )


def _so_far(state: TrainingState, total: int) -> TrainingSoFar | None:
    """The losses so far; None before the first step."""
    losses = tuple(step.loss for step in state.curve)
    return TrainingSoFar(losses=losses, steps=total) if losses else None


def _steps(
    learner: Learner, lessons: Sequence[Lesson], plan: TrainingPlan, state: TrainingState, keep: Keep | None
) -> Steps[str]:
    """Run the remaining steps; return why training stopped early, or ""."""
    order, total = _order(len(lessons), plan), plan.steps(len(lessons))
    weights = list(learner.weights.values())
    # One kernel a step where a device has it. The CPU keeps the kernels, and so the bits, of earlier rounds.
    devices = {weight.device for weight in weights}
    fused = (len(devices) == 1 and devices.pop().type == "cuda") or None
    optimizer = torch.optim.AdamW(weights, lr=plan.rate, weight_decay=plan.decay, fused=fused)
    learner.take(state, optimizer)
    if not state.initial:
        before = yield from learner.losses(lessons, "losses before")
        state.initial = [losses.weighted for losses in before]
        state.plain_initial = [losses.plain for losses in before]
    while state.step < total:
        chosen, rate = order[state.step], plan.rate_at(state.step, total)
        step_losses = learner.gradients([lessons[number] for number in chosen], state)
        if step_losses is None:
            optimizer.zero_grad(set_to_none=True)
            return f"the loss was not finite at step {state.step + 1} of {total}: {_WAY_OUT[learner.scale.moves]}"
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state.step += 1
        weighted, plain = zip(*step_losses, strict=True)
        loss = fmean(weighted)
        state.curve.append(TrainingStep(chosen, loss, rate, weighted, plain))
        if keep is not None:
            learner.put(state, optimizer)
            keep(state)
        yield Progress(f"step {state.step}, loss {loss:.3f}", state.step, total, "steps")
    return ""


def _order(count: int, plan: TrainingPlan) -> list[tuple[int, ...]]:
    """The numbers of the samples of each step: every epoch has all samples, in a new random order."""
    drawn, steps = random.Random(plan.seed), []
    for _ in range(plan.epochs):
        numbers = drawn.sample(range(count), count)
        steps += [tuple(numbers[at : at + plan.batch]) for at in range(0, count, plan.batch)]
    return steps


def check_suppressed(anatomy: Anatomy, suppressed: Sequence[Unit]) -> None:
    """Raise `UsageError` for a unit that the model lacks, or if a layer would keep no neuron, head or expert."""
    by_layer: dict[tuple[int, Kind], set[int]] = {}
    for unit in suppressed:
        anatomy.coordinates(unit)
        by_layer.setdefault((unit.layer, unit.kind), set()).add(unit.index)
    for (layer, kind), indices in by_layer.items():
        if len(indices) == anatomy.counts(kind)[layer]:
            raise UsageError(
                f"all {len(indices):,} {kind}s of layer {layer} are suppressed", "leave at least one of them"
            )
