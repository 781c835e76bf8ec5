"""Attribution: how much each neuron contributes to a target, in one forward and one backward pass.

A neuron's attribution is (activation − reference) × gradient of the target with respect to it. The methods differ in
the gradient:

*relp*  that of the network made linear around the prompt by the rules of `rules.linearised` (LRP; the form for MLP
        neurons is that of the Transluce circuits work, 2025; RelP, Jafari et al. 2025);
*atp*   the network's own (attribution patching, Nanda 2023, Syed et al. 2023; with reference zero, gradient × input);
*ig*    the mean of the network's own at `steps` points between the reference's embeddings, or zero, and the
        prompt's (integrated gradients, Sundararajan et al. 2017, along the inputs as in EAP-IG, Hanna et al. 2024).

The reference is what counts as the neuron not contributing: zero, its mean, or what it was in another prompt, a
difference that patching would make (`recording`). The pass runs as follows:

1. Embedding outputs are made the leaves of the graph; no parameter takes a gradient.
2. At each down projection the incoming activations h are recorded, under relp after the half rule
   where h is a product of gate and up.
3. The target is read off the logits, before any final softcap.
4. One `autograd.grad` of the target with respect to all recorded h and all embeddings.

Under relp, relevance arriving at the embeddings should sum to what left the logits (conservation): for a
logit or a difference of logits that is the target itself, for a log-probability its gradient times the
logits. `conservation` says by how much it does not. Attention gradients and biases are the honest
reasons for a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sessions.circuits.circuit import Neuron
from sessions.circuits.rules import Attention, attended, half, linearised
from sessions.errors import ModelError
from sessions.model.anatomy import Anatomy, ExpertSite, Site
from sessions.model.cancel import Cancel
from sessions.model.hooks import Change, Routing, after, on_neurons, together, watched
from sessions.model.tokens import last_positions


@dataclass(frozen=True)
class SiteRelevance:
    """Relevance of the neurons of one site.

    `relevance` and `activation` are `[rows, width]`. Row r belongs to token position `positions[r]`
    and its columns are the layer's neurons `offsets[r] … offsets[r] + width − 1`. In a dense layer
    there is a row a position; in a mixture of experts, a row for each expert a token was sent to.
    """

    layer: int
    relevance: Tensor
    activation: Tensor
    positions: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class Attribution:
    """The relevance of every neuron at every position for one target.

    `value` is the target's; `outputs` the relevance that left the logits, `inputs` what reached the
    embeddings: None for methods that do not conserve it.
    """

    sites: tuple[SiteRelevance, ...]
    value: float
    outputs: float | None = None
    inputs: float | None = None

    @property
    def conservation(self) -> float | None:
        """|Σ input relevance − Σ output relevance| / |Σ output relevance|; None where none is to be expected."""
        if self.outputs is None or self.inputs is None:
            return None
        return abs(self.inputs - self.outputs) / max(abs(self.outputs), 1e-30)

    def dense(self) -> Tensor:
        """Relevance as one tensor `[n_layers, seq, d_mlp]`, for models with equal dense layers."""
        return torch.stack([site.relevance for site in self.sites])


Method = Literal["relp", "atp", "ig"]
#: Passes of `ig`, unless asked otherwise.
STEPS = 16


@dataclass(frozen=True)
class Reference:
    """What neurons are compared with: the activations of each site in the order of the layers, `[width]` or
    `[seq, width]`, and for `ig` the embeddings it begins at, `[1, seq, d]` each, none for zero. NaN where there is
    nothing to compare with."""

    activations: tuple[Tensor, ...]
    embedded: tuple[Tensor, ...] = ()

    def at(self, anatomy: Anatomy, neuron: Neuron) -> float:
        """What a neuron is in the reference: where it has no position there, its mean over the positions; else NaN."""
        before = sum(len(layer.sites) for layer in anatomy.layers[: neuron.layer])
        site, local = anatomy.site_of(neuron.layer, neuron.index)
        values = self.activations[before + anatomy.layers[neuron.layer].sites.index(site)][..., local]
        if values.ndim == 0:
            return float(values)
        return float(values.nanmean() if neuron.position is None else values[neuron.position])


Measure = Callable[[Tensor], Tensor]
"""From the raw logits of the kept positions, `[kept, vocab]`, to the scalar that is explained."""


def attribute(
    model: PreTrainedModel,
    anatomy: Anatomy,
    ids: Tensor,
    measure: Measure,
    *,
    method: Method = "relp",
    attention: Attention = "frozen",
    reference: Reference | None = None,
    steps: int = STEPS,
    kept: int = 1,
    cancel: Cancel | None = None,
) -> Attribution:
    """Relevance of every neuron for `measure` of the logits at the last `kept` positions.

    Args:
        ids: the prompt, `[1, seq]`.
        measure: the target, a function of the raw logits `[kept, vocab]` in float32.
        attention: how relevance passes attention (see `rules`).
        reference: what neurons are compared with; zero where it is left out.
        steps: passes of `ig`.

    Raises:
        ModelError: the family is out of reach of the method, or a layer's relevance is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    check(anatomy, method, reference)
    whole = [1.0] if method != "ig" else [(step + 1) / steps for step in range(steps)]
    summed: list[Tensor | None] = []
    for fraction in whole:
        tape = _Tape(cancel, method == "relp", fraction, () if reference is None else reference.embedded)
        with (
            torch.enable_grad(),
            watched(anatomy, cancel),
            linearised(model, anatomy, attention) if method == "relp" else attended(model, anatomy, attention),
            tape.recording(anatomy),
        ):
            model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(kept, ids))
            target = measure(tape.logits[0].float())
            gradients = torch.autograd.grad(target, tape.tensors, allow_unused=True)
        summed = list(gradients) if not summed else list(map(_sum, summed, gradients))
    if len(whole) > 1:
        summed = [None if gradient is None else gradient / len(whole) for gradient in summed]
    found = _relevance(tape, summed, reference, float(target.detach()))
    return found if method == "relp" and reference is None else replace(found, outputs=None, inputs=None)


def check(anatomy: Anatomy, method: Method, reference: Reference | None = None) -> None:
    """Raise `ModelError` where the model's family is out of reach of a method."""
    if method == "relp":
        anatomy.require("attribution")
    if anatomy.has_experts and (method == "ig" or reference is not None):
        what = "ig" if method == "ig" else "a reference other than zero"
        raise ModelError(
            f"{what} is not available on a mixture of experts: each text is sent to experts of its own",
            "use --method relp or atp, with --reference zero",
        )


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


@dataclass
class _Tape:
    """What one forward pass leaves behind for the backward pass.

    `halved` installs the half rule at the neurons; the embeddings stand at `fraction` of the way from `base`, or
    from zero where that is empty, to the prompt's.
    """

    cancel: Cancel | None
    halved: bool = True
    fraction: float = 1.0
    base: tuple[Tensor, ...] = ()
    places: list[tuple[int, Site, Routing | None]] = field(default_factory=list)
    activations: list[Tensor] = field(default_factory=list)
    embedded: list[Tensor] = field(default_factory=list)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def tensors(self) -> list[Tensor]:
        """What the target is differentiated by: neurons, then the embeddings, then the logits."""
        return [*self.activations, *self.embedded, self.logits]

    @contextmanager
    def recording(self, anatomy: Anatomy) -> Iterator[None]:
        """Record embeddings, neurons and raw logits of the forward pass inside the block."""
        embeddings = [after(embedding, self._embedding) for embedding in anatomy.embeddings]
        neurons = [
            on_neurons(site, self._neurons(number, site))
            for number, layer in enumerate(anatomy.layers)
            for site in layer.sites
        ]
        with together([*embeddings, *neurons, after(anatomy.head, self._head)]):
            yield

    def _embedding(self, _: Tensor, output: Tensor) -> Tensor:
        if self.fraction < 1:
            base = self.base[len(self.embedded)].to(output) if self.base else torch.zeros_like(output)
            base = torch.where(base.isnan(), output, base)
            output = base + self.fraction * (output - base)
        self.embedded.append(output.requires_grad_())
        return output

    def _neurons(self, layer: int, site: Site) -> Change:
        halved = self.halved and (isinstance(site, ExpertSite) or site.gated)

        def record(activations: Tensor, routing: Routing | None) -> Tensor:
            recorded = half(activations) if halved else activations
            if self.cancel is not None:  # the backward pass is half of the time: look there too
                recorded.register_hook(lambda _: self.cancel.look())
            self.places.append((layer, site, routing))
            self.activations.append(recorded)
            return recorded

        return record

    def _head(self, _: Tensor, output: Tensor) -> Tensor:
        self.logits = output
        return output


@torch.no_grad()
def _relevance(
    tape: _Tape, gradients: Sequence[Tensor | None], reference: Reference | None, value: float
) -> Attribution:
    sites = []
    pairs = zip(tape.places, tape.activations, gradients, strict=False)
    for number, ((layer, site, routing), activation, gradient) in enumerate(pairs):
        moved = activation if reference is None else _moved(activation, reference.activations[number])
        # A layer without a path to the target, such as one skipped for a position, has relevance 0.
        relevance = torch.zeros_like(activation) if gradient is None else _product(gradient, moved)
        sites.append(_site_relevance(layer, site, routing, relevance.detach(), activation.detach()))
        if not relevance.sum().isfinite():
            raise ModelError(
                f"the relevance of layer {layer} is not finite in {activation.dtype}".replace("torch.", ""),
                "open the model with --dtype float32",
            )
    *inputs, outputs = (
        0.0 if gradient is None else float((tensor.float() * gradient.float()).sum())
        for tensor, gradient in zip(tape.tensors[len(sites) :], gradients[len(sites) :], strict=True)
    )
    return Attribution(tuple(sites), value, outputs, sum(inputs))


def _moved(activation: Tensor, reference: Tensor) -> Tensor:
    """How far a neuron is from its reference; 0 where it has none (NaN)."""
    known = reference.to(activation)
    return torch.where(known.isnan(), 0, activation - known)


def _product(gradient: Tensor, activation: Tensor) -> Tensor:
    """Gradient × activation in float32; in place where the gradient is that already, since nobody else needs it."""
    if gradient.dtype == torch.float32:
        return gradient.mul_(activation)
    return gradient.float() * activation.float()


def _site_relevance(
    layer: int, site: Site, routing: Routing | None, relevance: Tensor, activation: Tensor
) -> SiteRelevance:
    rows = relevance.reshape(-1, relevance.shape[-1])
    positions = torch.arange(rows.shape[0], device=rows.device)
    offsets = torch.full_like(positions, site.offset)
    if isinstance(site, ExpertSite):
        assert routing is not None
        positions = positions // routing.per_token
        offsets = site.offset + routing.experts * site.d_expert
    return SiteRelevance(layer, rows, activation.reshape(rows.shape), positions, offsets)
