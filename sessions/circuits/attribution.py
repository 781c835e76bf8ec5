"""Attribution: how much each neuron contributes to a target, in one forward and one backward pass.

Under the rules of `rules.linearised` the network is linear around the prompt, so the relevance of a
neuron is its activation times the gradient of the target with respect to it (LRP; the MLP-neuron
form is that of the Transluce circuits work, 2025). The pass runs as follows:

1. Embedding outputs are made the leaves of the graph; no parameter takes a gradient.
2. At each down projection the incoming activations h are recorded, after the half rule where h is
   a product of gate and up.
3. The target is read off the logits, before any final softcap.
4. One `autograd.grad` of the target with respect to all recorded h and all embeddings.

Relevance arriving at the embeddings should sum to what left the logits (conservation): for a logit
or a difference of logits that is the target itself, for a log-probability its gradient times the
logits. `conservation` says by how much it does not. Attention gradients and biases are the honest
reasons for a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sessions.circuits.rules import Attention, half, linearised
from sessions.errors import ModelError
from sessions.model.anatomy import Anatomy, ExpertSite, Site
from sessions.model.cancel import Cancel
from sessions.model.hooks import Change, Routing, after, on_neurons, together, watched


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
    embeddings.
    """

    sites: tuple[SiteRelevance, ...]
    value: float
    outputs: float
    inputs: float

    @property
    def conservation(self) -> float:
        """|Σ input relevance − Σ output relevance| / |Σ output relevance|."""
        return abs(self.inputs - self.outputs) / max(abs(self.outputs), 1e-30)

    def dense(self) -> Tensor:
        """Relevance as one tensor `[n_layers, seq, d_mlp]`, for models with equal dense layers."""
        return torch.stack([site.relevance for site in self.sites])


Measure = Callable[[Tensor], Tensor]
"""From the raw logits of the kept positions, `[kept, vocab]`, to the scalar that is explained."""


def attribute(
    model: PreTrainedModel,
    anatomy: Anatomy,
    ids: Tensor,
    measure: Measure,
    *,
    attention: Attention = "frozen",
    kept: int = 1,
    cancel: Cancel | None = None,
) -> Attribution:
    """Relevance of every neuron for `measure` of the logits at the last `kept` positions.

    Args:
        ids: the prompt, `[1, seq]`.
        measure: the target, a function of the raw logits `[kept, vocab]` in float32.
        attention: how relevance passes attention (see `rules`).

    Raises:
        ModelError: the family is out of reach of the rules, or a layer's relevance is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    anatomy.require("attribution")
    tape = _Tape(cancel)
    with (
        torch.enable_grad(),
        watched(anatomy, cancel),
        linearised(model, anatomy, attention),
        tape.recording(anatomy),
    ):
        seq = ids.shape[1]
        # As a tensor, since an int lets some families drop all other positions in their upper layers.
        positions = torch.arange(seq - kept, seq, device=ids.device)
        model(input_ids=ids, use_cache=False, logits_to_keep=positions)
        target = measure(tape.logits[0].float())
        gradients = torch.autograd.grad(target, tape.tensors, allow_unused=True)
    return _relevance(tape, gradients, float(target.detach()))


@dataclass
class _Tape:
    """What one forward pass leaves behind for the backward pass."""

    cancel: Cancel | None
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
        self.embedded.append(output.requires_grad_())
        return output

    def _neurons(self, layer: int, site: Site) -> Change:
        gated = isinstance(site, ExpertSite) or site.gated

        def record(activations: Tensor, routing: Routing | None) -> Tensor:
            recorded = half(activations) if gated else activations
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
def _relevance(tape: _Tape, gradients: tuple[Tensor | None, ...], value: float) -> Attribution:
    sites = []
    for (layer, site, routing), activation, gradient in zip(tape.places, tape.activations, gradients, strict=False):
        # A layer without a path to the target, such as one skipped for a position, has relevance 0.
        relevance = torch.zeros_like(activation) if gradient is None else _product(gradient, activation)
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
