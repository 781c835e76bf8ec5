"""One round: an adapter is trained while chosen neurons are held at zero, and every neuron's share is counted.

    W ← W + (α / r) · B A          LoRA (Hu et al. 2021, arXiv:2106.09685), by PEFT, on the model as it was opened
    loss = Σ w_t · CE_t / Σ w_t    over the tokens of the reply; w_t from the sample (see `losses`)
    AdamW, the learning rate falling to a hundredth along half a cosine

The neurons that are held are so in every pass, at the input of the down projection as the adapter wraps it: what they
would say reaches neither the weights nor the adapter, so their share in its gradient is exactly zero (see `recruits`).

Training is a function of the samples, the plan and the model's weights (see `reproducible` for what that takes). Its
state between two steps is small (adapter, two moments of each of its numbers, what was counted), and from it training
goes on as if it had never stopped.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any

import peft
import torch
from torch import Tensor

from sessions.adapters.wrapping import activate, unwrap, wrap
from sessions.cancel import Cancel
from sessions.edits.edit import Edit
from sessions.errors import ArtifactError, UsageError
from sessions.events import Progress, Steps
from sessions.interventions.suppressing import Suppression
from sessions.model import anatomy as architectures
from sessions.model.homes import refuse_offloaded
from sessions.model.hooks import watched
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.units import Neuron
from sessions.training.checkpointing import checkpointed
from sessions.training.findings import TrainingPlan, TrainingStep
from sessions.training.gradients import Place
from sessions.training.losses import Losses, losses_of
from sessions.training.projections import check_modules, named, placed, transposed
from sessions.training.recruits import Absorbing, Recruits, gathered
from sessions.training.reproducible import Reproducible, drawn_from, reproducible
from sessions.training.samples import Lesson
from sessions.training.scaling import Scale
from sessions.training.targeted import TrainedProjection, as_edit, begin, config_alone, select, targets_of

_ADAPTER = "default"
#: What to do about a loss that is not finite, in float16 and elsewhere.
_WAY_OUT = {
    False: "try a smaller --lr",
    True: "try a smaller --lr, or bfloat16, whose range is wider than float16's: model NAME --dtype bfloat16",
}


@dataclass
class TrainingState:
    """Where training is between two steps. `initial` are the losses of the samples before the first, `plain_initial`
    those with every token counted alike; `scale` is None where there was no step yet."""

    step: int = 0
    curve: list[TrainingStep] = field(default_factory=list)
    initial: list[float] = field(default_factory=list)
    plain_initial: list[float] = field(default_factory=list)
    scale: Scale | None = None
    absorbing: Absorbing = field(default_factory=Absorbing)
    weights: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainedRound:
    """A finished round.

    `adapter` are the adapter's weights by PEFT's names, `config` its configuration. `initial` and `final` are the
    weighted losses of the samples, in nats a token, `plain_initial` and `plain_final` the plain ones. `gradient` is by
    kind of projection and layer. `stopped` says what ended training early, else it is empty. `edit`
    is what was learned of neurons that were trained alone. `lacks` is an operation that does not always give the same
    bits on this device, where one is.
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


#: Called with the state after a step; may write it down.
Keep = Callable[[TrainingState], None]


def learn(
    opened: OpenModel,
    lessons: Sequence[Lesson],
    plan: TrainingPlan,
    suppressed: Sequence[Neuron] = (),
    *,
    begins: Edit | None = None,
    state: TrainingState | None = None,
    keep: Keep | None = None,
    cancel: Cancel | None = None,
) -> Steps[TrainedRound]:
    """Train a round. The model is as before at the end, whatever happens.

    Args:
        suppressed: neurons that are held at zero in every pass; positions are left out of account.
        begins: the edit that neurons which are trained alone begin at.
        state: where to go on from.

    Raises:
        UsageError: a module is none of the model's, or a layer would be left without a neuron.
        Cancelled: `cancel` was set; the state was kept up to the last step.
    """
    check_suppressed(opened.anatomy, suppressed)
    state = TrainingState() if state is None else state
    with adapted(opened, plan, begins) as learner, reproducible() as kernels:
        learner.kernels = kernels
        with learner.running(suppressed, state.absorbing, cancel):
            stopped = yield from _steps(learner, lessons, plan, state, keep)
            final = yield from learner.losses(lessons, "losses after")
            counted = {} if state.absorbing.modules is None else state.absorbing.modules.rows()
        adapter = {name: tensor.detach().cpu().clone() for name, tensor in learner.adapter().items()}
        config = {key: value for key, value in learner.config.to_dict().items() if value is not None}
        edit = learner.edit()
    return TrainedRound(
        adapter=adapter,
        config=config,
        recruits=gathered(state.absorbing, suppressed),
        curve=tuple(state.curve),
        initial=tuple(state.initial),
        final=tuple(each.weighted for each in final),
        stopped=stopped,
        edit=edit,
        lacks=kernels.lacks,
        plain_initial=tuple(state.plain_initial),
        plain_final=tuple(each.plain for each in final),
        gradient={kind: tuple(row.tolist()) for kind, row in counted.items()},
    )


def _steps(
    learner: Learner, lessons: Sequence[Lesson], plan: TrainingPlan, state: TrainingState, keep: Keep | None
) -> Steps[str]:
    """All steps that are left; returns why it stopped early, if it did."""
    order, total = _order(len(lessons), plan), plan.steps(len(lessons))
    optimizer = torch.optim.AdamW(learner.weights.values(), lr=plan.rate, weight_decay=plan.decay)
    learner.take(state, optimizer)
    if not state.initial:
        before = yield from learner.losses(lessons, "losses before")
        state.initial, state.plain_initial = [each.weighted for each in before], [each.plain for each in before]
    while state.step < total:
        chosen, rate = order[state.step], plan.rate_at(state.step, total)
        losses = learner.gradients([lessons[number] for number in chosen], state)
        if losses is None:
            optimizer.zero_grad(set_to_none=True)
            return f"the loss was not finite at step {state.step + 1} of {total}: {_WAY_OUT[learner.scale.moves]}"
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state.step += 1
        weighted, plain = zip(*losses, strict=True)
        loss = fmean(weighted)
        state.curve.append(TrainingStep(chosen, loss, rate, weighted, plain))
        if keep is not None:
            learner.put(state, optimizer)
            keep(state)
        yield Progress(f"step {state.step}, loss {loss:.3f}", state.step, total, "steps")
    return ""


def _order(count: int, plan: TrainingPlan) -> list[tuple[int, ...]]:
    """Which samples each step is of: all of them in every epoch, in an order drawn anew."""
    drawn, steps = random.Random(plan.seed), []
    for _ in range(plan.epochs):
        numbers = drawn.sample(range(count), count)
        steps += [tuple(numbers[at : at + plan.batch]) for at in range(0, count, plan.batch)]
    return steps


def check_suppressed(anatomy: Anatomy, suppressed: Sequence[Neuron]) -> None:
    """Raise `UsageError` for a neuron that is not there, or where a layer would have none left."""
    held: dict[int, set[int]] = {}
    for neuron in suppressed:
        anatomy.check(neuron.layer, neuron.index)
        held.setdefault(neuron.layer, set()).add(neuron.index)
    empty = next((layer for layer, indices in held.items() if len(indices) == anatomy.layers[layer].width), None)
    if empty is not None:
        raise UsageError(
            f"all {len(held[empty]):,} neurons of layer {empty} are suppressed", "leave at least one of them"
        )


class Learner:
    """A model with an adapter that is being trained. `weights` are the adapter's, by name; `config` is PEFT's."""

    def __init__(
        self,
        opened: OpenModel,
        config: Any,
        wrappers: Mapping[str, Any],
        places: Mapping[str, Place],
        plan: TrainingPlan,
        targets: Sequence[TrainedProjection] = (),
    ) -> None:
        self.opened = opened
        self.anatomy = architectures.read(opened.model)  # with the wrappers that the adapter put in
        self.config = config
        self.weights = {name: each for name, each in opened.model.named_parameters() if each.requires_grad}
        self.scale = Scale.of(opened.model)
        self.kernels = Reproducible()
        self._wrappers = wrappers
        self._places = places
        self._plan = plan
        self._targets = targets

    def edit(self) -> Edit | None:
        """What was learned of neurons trained alone, as an edit; None of an adapter of low rank."""
        if not self._targets:
            return None
        about = f"{len(self._plan.neurons):,} neurons trained alone"
        return as_edit(self._wrappers, self._targets, _ADAPTER, about)

    def adapter(self) -> Mapping[str, Tensor]:
        """The adapter's weights as PEFT names them in its files."""
        factors = {
            f"base_model.model.{name}.{factor}.weight": getattr(wrapper, factor)[_ADAPTER].weight
            for name, wrapper in self._wrappers.items()
            for factor in ("lora_A", "lora_B")
        }
        return dict(sorted(factors.items()))

    @contextmanager
    def running(self, suppressed: Sequence[Neuron], absorbing: Absorbing, cancel: Cancel | None) -> Iterator[None]:
        """Inside the block these neurons are at zero, and what flows back to the others is counted."""
        absorbing.columns = {layer: found for layer in range(self.anatomy.n_layers) if (found := self._readers(layer))}
        if absorbing.modules is not None:
            absorbing.modules.watch(self._learned(), self.anatomy.n_layers)
        with ExitStack() as stack:
            if suppressed:
                stack.enter_context(Suppression(self.anatomy, suppressed).held())
            stack.enter_context(absorbing.watching(self.anatomy))
            if self._plan.checkpointing:
                stack.enter_context(checkpointed(self.opened.model, [layer.block for layer in self.anatomy.layers]))
            stack.enter_context(watched(self.anatomy, cancel))
            yield

    def _readers(self, layer: int) -> list[Tensor]:
        """The A of the adapter on each of the layer's down projections, where it learns one on all of them."""
        found = [getattr(getattr(site, "down", None), "lora_A", None) for site in self.anatomy.layers[layer].sites]
        return [] if self._targets or None in found else [each[_ADAPTER].weight for each in found]  # type: ignore[index]

    def _learned(self) -> dict[Place, list[Tensor]]:
        """The weights that are trained, by kind and layer of the projection they are on."""
        found: dict[Place, list[Tensor]] = {}
        for name, wrapper in self._wrappers.items():
            factors = (getattr(wrapper, factor)[_ADAPTER].weight for factor in ("lora_A", "lora_B"))
            found.setdefault(self._places[name], []).extend(each for each in factors if each.requires_grad)
        return found

    def gradients(self, lessons: Sequence[Lesson], state: TrainingState) -> list[Losses] | None:
        """Leave the gradient of the mean loss in the adapter's weights, and count it; returns the losses, or None where
        the mean or a gradient is no number. Nothing is counted then."""
        self.scale = state.scale or self.scale
        while True:
            losses = self._backward(lessons, state.absorbing)
            sound = all(math.isfinite(each.weighted) for each in losses)
            if sound and _finite(self._gradients(), state.absorbing):
                break
            smaller = self.scale.after_overflow() if sound else None
            self._forget(state.absorbing)
            if smaller is None:
                return None
            self.scale = smaller
        if self.scale.value != 1:
            for gradient in self._gradients():
                gradient /= self.scale.value
        state.absorbing.step(self.scale.value)
        self.scale = state.scale = self.scale.after_step()
        return losses

    def _backward(self, lessons: Sequence[Lesson], absorbing: Absorbing) -> list[Losses]:
        """The losses; the gradient of their mean, times the scale, is left in the weights."""

        def work() -> list[Losses]:
            self._forget(absorbing)
            found = []
            for lesson in lessons:
                with torch.inference_mode(False), torch.enable_grad():
                    both = losses_of(self.opened, lesson)
                    loss = both[0] / len(lessons)
                    (loss if self.scale.value == 1 else loss * self.scale.value).backward()
                found.append(Losses(*both.detach().tolist()))
            return found

        return self.kernels.computed(work)

    def _forget(self, absorbing: Absorbing) -> None:
        """Leave no gradient behind."""
        absorbing.forget()
        for weight in self.weights.values():
            weight.grad = None

    def _gradients(self) -> list[Tensor]:
        """Those that are left in the weights."""
        return [weight.grad for weight in self.weights.values() if weight.grad is not None]

    def losses(self, lessons: Sequence[Lesson], label: str) -> Steps[list[Losses]]:
        """The losses of each sample as things are."""
        found = []
        for number, lesson in enumerate(lessons):
            yield Progress(label, number, len(lessons), "samples")
            found.append(self.kernels.computed(partial(self._losses, lesson)))
        return found

    @torch.no_grad()
    def _losses(self, lesson: Lesson) -> Losses:
        return Losses(*losses_of(self.opened, lesson).tolist())

    def take(self, state: TrainingState, optimizer: torch.optim.Optimizer) -> None:
        """Go on from a state that was put away; one that is new says nothing of the weights.

        Raises:
            ArtifactError: its weights, or their moments, are those of another adapter.
        """
        said = [*state.weights.items(), *((name, each) for name, pair in state.moments.items() for each in pair)]
        if any(name not in self.weights or each.shape != self.weights[name].shape for name, each in said):
            raise ArtifactError("the unfinished round has the weights of another adapter", "--anew begins again")
        with torch.no_grad():
            for name, kept in state.weights.items():
                self.weights[name].copy_(kept)
        for name, (first, second) in state.moments.items():
            weight = self.weights[name]
            optimizer.state[weight] = {
                "step": torch.tensor(float(state.step)),
                "exp_avg": first.to(weight.device),
                "exp_avg_sq": second.to(weight.device),
            }

    def put(self, state: TrainingState, optimizer: torch.optim.Optimizer) -> None:
        """Have the state know the weights and their moments; it sees them change until they are written down."""
        state.weights = {name: weight.detach() for name, weight in self.weights.items()}
        state.moments = {
            name: (optimizer.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg_sq"])
            for name, weight in self.weights.items()
        }


def _finite(gradients: Sequence[Tensor], absorbing: Absorbing) -> bool:
    """Whether all that flowed back to the weights and to the neurons is numbers; asked of each device once."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for each in (*gradients, *absorbing.pending.values()):
        by_device.setdefault(each.device, []).append(each.isfinite().all())
    return all(bool(torch.stack(answers).all()) for answers in by_device.values())


@contextmanager
def adapted(opened: OpenModel, plan: TrainingPlan, begins: Edit | None = None) -> Iterator[Learner]:
    """Inside the block the model has a new adapter: one of low rank, drawn from the plan's seed, which begins as
    nothing, B being zero; or, where the plan names neurons, one that changes their own weights (see `targeted`).

    Raises:
        UsageError: a module of the plan is none of the model's.
        ModelError: some of the weights are offloaded.
        ArtifactError: `begins` is no edit of the plan's neurons.
    """
    refuse_offloaded(opened.model, "training")
    targets = targets_of(opened, plan.neurons) if plan.neurons else ()
    if not targets:
        check_modules(opened.anatomy, plan.modules)
    config = config_alone(targets) if targets else _low_rank(opened, plan)
    config.base_model_name_or_path = opened.model.name_or_path
    names = [target.name for target in targets] if targets else named(opened, plan.modules)
    places = placed(opened, names)
    try:
        with torch.inference_mode(False), drawn_from(plan.seed):
            wrappers = wrap(opened.model, config, names, _ADAPTER)
            activate(opened.model, [_ADAPTER], trained=True)
            select(wrappers, targets, _ADAPTER)
            if begins is not None:
                begin(wrappers, targets, begins, _ADAPTER)
        yield Learner(opened, config, wrappers, places, plan, targets)
    finally:
        unwrap(opened.model, _ADAPTER)


def _low_rank(opened: OpenModel, plan: TrainingPlan) -> peft.LoraConfig:
    return peft.LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=transposed(opened.anatomy, plan.modules),
    )
