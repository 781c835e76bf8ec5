"""`Learner`: a model with an adapter in training, and the computation of one step's gradients.

A step leaves the gradient of its mean loss in the adapter's weights, with loss scaling in float16 (`scaling`), and
counts what flowed back to each neuron (`recruits`) and to each projection (`gradients`). `learning` runs the steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import peft
import torch
from torch import Tensor

from sessions.adapters.wrapping import activate, unwrap, wrap
from sessions.cancel import Cancel
from sessions.edits.edit import Edit
from sessions.errors import ArtifactError
from sessions.events import Progress, Steps
from sessions.interventions.suppressing import Suppression
from sessions.model import anatomy as architectures
from sessions.model.homes import refuse_offloaded
from sessions.model.hooks import watched
from sessions.model.opening import OpenModel
from sessions.model.units import Unit
from sessions.training.checkpointing import checkpointed
from sessions.training.findings import TrainingPlan, TrainingStep
from sessions.training.gradients import Place
from sessions.training.losses import Losses, losses_of
from sessions.training.projections import check_modules, named, placed, transposed
from sessions.training.recruits import Absorbing
from sessions.training.reproducible import Reproducible, drawn_from
from sessions.training.samples import Lesson
from sessions.training.scaling import Scale
from sessions.training.targeted import TrainedProjection, as_edit, begin, config_alone, select, targets_of

_ADAPTER = "default"


@dataclass
class TrainingState:
    """The state of training between two steps.

    `initial` and `plain_initial` are the weighted and the plain losses of the samples before the first step. `scale` is
    None before the first step.
    """

    step: int = 0
    curve: list[TrainingStep] = field(default_factory=list)
    initial: list[float] = field(default_factory=list)
    plain_initial: list[float] = field(default_factory=list)
    scale: Scale | None = None
    absorbing: Absorbing = field(default_factory=Absorbing)
    weights: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@contextmanager
def adapted(opened: OpenModel, plan: TrainingPlan, begins: Edit | None = None) -> Iterator[Learner]:
    """Inside the block, the model has a new adapter in training.

    It has low rank, is drawn from the plan's seed, and changes nothing at first because B is zero. If the plan names
    neurons, it changes their own weights instead (see `targeted`).

    Raises:
        UsageError: the model lacks a module of the plan.
        ModelError: some of the weights are offloaded.
        ArtifactError: `begins` is not an edit of the plan's neurons.
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


class Learner:
    """A model with an adapter in training. `weights` are the trained weights by name; `config` is PEFT's."""

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
        self.anatomy = architectures.read(opened.model)  # includes the adapter's wrappers
        self.config = config
        self.weights = {name: weight for name, weight in opened.model.named_parameters() if weight.requires_grad}
        self.scale = Scale.of(opened.model)
        self.kernels = Reproducible()
        self._wrappers = wrappers
        self._places = places
        self._plan = plan
        self._targets = targets

    def edit(self) -> Edit | None:
        """The result of training neurons alone, as an edit; None for a low-rank adapter."""
        if not self._targets:
            return None
        about = f"{len(self._plan.neurons):,} neurons trained alone"
        return as_edit(self._wrappers, self._targets, _ADAPTER, about)

    def adapter(self) -> Mapping[str, Tensor]:
        """The adapter's weights by their names in PEFT's files."""
        factors = {
            f"base_model.model.{name}.{factor}.weight": getattr(wrapper, factor)[_ADAPTER].weight
            for name, wrapper in self._wrappers.items()
            for factor in ("lora_A", "lora_B")
        }
        return dict(sorted(factors.items()))

    @contextmanager
    def running(self, suppressed: Sequence[Unit], absorbing: Absorbing, cancel: Cancel | None) -> Iterator[None]:
        """Inside the block, hold these units at zero and count the gradient of all others."""
        absorbing.grouped = {
            layer: parts.heads.n_heads
            for layer, parts in enumerate(self.anatomy.layers)
            if self._plan.unit == "head" and parts.heads is not None
        }
        readers = {layer: self._readers(layer) for layer in range(self.anatomy.n_layers)}
        absorbing.columns = {layer: tensors for layer, tensors in readers.items() if tensors}
        if absorbing.modules is not None:
            absorbing.modules.watch(self._learned(), self.anatomy.n_layers)
        with ExitStack() as stack:
            if suppressed:
                stack.enter_context(Suppression(self.anatomy, suppressed).held())
            stack.enter_context(absorbing.watching(self.anatomy, self._plan.unit))
            if self._plan.checkpointing:
                stack.enter_context(checkpointed(self.opened.model, [layer.block for layer in self.anatomy.layers]))
            stack.enter_context(watched(self.anatomy, cancel))
            yield

    def _readers(self, layer: int) -> list[Tensor]:
        """The factor A of the adapter on each projection of a layer that reads units; empty unless all have one."""
        parts, kind = self.anatomy.layers[layer], self._plan.unit
        if kind == "neuron":
            readers = [getattr(site, "down", None) for site in parts.sites]
        else:
            readers = [parts.heads.output] if kind == "head" and parts.heads is not None else []
        factors = [getattr(reader, "lora_A", None) for reader in readers]
        if self._targets or None in factors:
            return []
        return [factor[_ADAPTER].weight for factor in factors]  # type: ignore[index]

    def _learned(self) -> dict[Place, list[Tensor]]:
        """The trained weights, by kind and layer of their projection."""
        weights: dict[Place, list[Tensor]] = {}
        for name, wrapper in self._wrappers.items():
            factors = (getattr(wrapper, factor)[_ADAPTER].weight for factor in ("lora_A", "lora_B"))
            weights.setdefault(self._places[name], []).extend(factor for factor in factors if factor.requires_grad)
        return weights

    def gradients(self, lessons: Sequence[Lesson], state: TrainingState) -> list[Losses] | None:
        """Leave the gradient of the mean loss in the adapter's weights, count it, and return the losses.

        Returns None, and counts nothing, if a loss or a gradient is infinite or NaN.
        """
        self.scale = state.scale or self.scale
        while True:
            losses, finite = self._backward(lessons, state.absorbing)
            sound = all(math.isfinite(loss.weighted) for loss in losses)
            if sound and finite:
                break
            smaller = self.scale.after_overflow() if sound else None
            self._forget(state.absorbing)
            if smaller is None:
                return None
            self.scale = smaller
        if self.scale.value != 1:
            torch._foreach_div_(self._gradients(), self.scale.value)
        state.absorbing.step(self.scale.value)
        self.scale = state.scale = self.scale.after_step()
        return losses

    def _backward(self, lessons: Sequence[Lesson], absorbing: Absorbing) -> tuple[list[Losses], bool]:
        """Compute the losses; leave the gradient of their mean, times the scale, in the weights.

        Returns the losses, and whether all gradients are finite: the host waits for both at once.
        """

        def work() -> tuple[list[Losses], bool]:
            self._forget(absorbing)
            losses: list[Tensor] = []
            for lesson in lessons:
                with torch.inference_mode(False), torch.enable_grad():
                    both = losses_of(self.opened, lesson)
                    loss = both[0] / len(lessons)
                    (loss if self.scale.value == 1 else loss * self.scale.value).backward()
                losses.append(both.detach())
            home = losses[0].device
            checks = [check.to(home, non_blocking=True) for check in _finite(self._gradients(), absorbing)]
            *numbers, finite = torch.cat([*losses, torch.stack(checks).all()[None].float()]).tolist()
            return [Losses(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)], bool(finite)

        return self.kernels.computed(work)

    def _forget(self, absorbing: Absorbing) -> None:
        """Clear all gradients."""
        absorbing.forget()
        for weight in self.weights.values():
            weight.grad = None

    def _gradients(self) -> list[Tensor]:
        """The gradients in the weights."""
        return [weight.grad for weight in self.weights.values() if weight.grad is not None]

    def losses(self, lessons: Sequence[Lesson], label: str) -> Steps[list[Losses]]:
        """The losses of each sample with the current weights."""
        losses = []
        for number, lesson in enumerate(lessons):
            yield Progress(label, number, len(lessons), "samples")
            losses.append(self.kernels.computed(partial(self._losses, lesson)))
        return losses

    @torch.no_grad()
    def _losses(self, lesson: Lesson) -> Losses:
        return Losses(*losses_of(self.opened, lesson).tolist())

    def take(self, state: TrainingState, optimizer: torch.optim.Optimizer) -> None:
        """Load the weights and moments of a saved state; a new state has none.

        Raises:
            ArtifactError: the state belongs to another adapter.
        """
        moments = ((name, moment) for name, pair in state.moments.items() for moment in pair)
        saved = [*state.weights.items(), *moments]
        if any(name not in self.weights or tensor.shape != self.weights[name].shape for name, tensor in saved):
            raise ArtifactError("the unfinished round has the weights of another adapter", "--anew begins again")
        with torch.no_grad():
            for name, kept in state.weights.items():
                self.weights[name].copy_(kept)
        for name, (first, second) in state.moments.items():
            weight = self.weights[name]
            optimizer.state[weight] = {
                "step": torch.tensor(float(state.step), device=weight.device if optimizer.defaults["fused"] else None),
                "exp_avg": first.to(weight.device),
                "exp_avg_sq": second.to(weight.device),
            }

    def put(self, state: TrainingState, optimizer: torch.optim.Optimizer) -> None:
        """Put references to the weights and their moments into the state; later steps change them in place."""
        state.weights = {name: weight.detach() for name, weight in self.weights.items()}
        state.moments = {
            name: (optimizer.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg_sq"])
            for name, weight in self.weights.items()
        }


def _low_rank(opened: OpenModel, plan: TrainingPlan) -> peft.LoraConfig:
    return peft.LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=transposed(opened.anatomy, plan.modules),
    )


def _finite(gradients: Sequence[Tensor], absorbing: Absorbing) -> list[Tensor]:
    """Whether the gradients of weights and neurons are finite: one tensor for each device, in one group of kernels."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for gradient in (*gradients, *absorbing.pending.values()):
        by_device.setdefault(gradient.device, []).append(gradient)
    # The largest number of a tensor is infinite or NaN if one of its numbers is; no sum overflows here.
    return [
        torch.stack(torch._foreach_norm(tensors, math.inf, torch.float32)).isfinite().all()
        for tensors in by_device.values()
    ]
