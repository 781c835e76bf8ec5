"""Attribution: how much each neuron contributes to a target.

A neuron's attribution is (activation − reference) × gradient of the target with respect to it. The `methods` differ in
the gradient, or measure what they do not estimate; `passes` says how a pass runs.

The reference is what counts as the neuron not contributing: zero, its mean, or what it was in another prompt, a
difference that patching would make (`recording`).

Many prompts are the rows of one batch, padded on the right (`cases`). What is differentiated then is the sum of their
targets: rows do not see each other, so the gradient of each is its own. Nothing is kept of the padding.

Where a method conserves relevance, what arrives at the embeddings should sum to what left the logits: for a logit or a
difference of logits that is the target itself, for a log-probability its gradient times the logits. `conservation` says
by how much it does not. Attention gradients and biases are the honest reasons for a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sessions.errors import ModelError
from sessions.model.parts import Anatomy
from sessions.model.units import Neuron


@dataclass(frozen=True)
class SiteRelevance:
    """Relevance of the neurons of one site.

    `relevance` and `activation` are `[rows, width]`. Row r belongs to token position `positions[r]` of prompt
    `prompts[r]` (None where there is one prompt), and its columns are the layer's neurons
    `offsets[r] … offsets[r] + width − 1`. In a dense layer there is a row a position; in a mixture of experts, a row
    for each expert a token was sent to.
    """

    layer: int
    relevance: Tensor
    activation: Tensor
    positions: Tensor
    offsets: Tensor
    prompts: Tensor | None = None


@dataclass(frozen=True)
class Attribution:
    """The relevance of every neuron at every position for one target; sites are in the order of the anatomy.

    `value` is the target's; `outputs` the relevance that left the logits, `inputs` what reached the
    embeddings: None for methods that do not conserve it. Of many prompts, all three are sums.
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
        home = self.sites[0].relevance.device  # layers may be spread over several
        return torch.stack([site.relevance.to(home) for site in self.sites])


#: Passes of a method that takes several, unless asked otherwise.
STEPS = 16
#: What a mixture of experts has not.
OTHER_REFERENCE = "a reference other than zero"


@dataclass(frozen=True)
class Reference:
    """What neurons are compared with: the activations of each site in the order of the layers, `[width]` or
    `[seq, width]`, and for methods that walk from it to the prompt its embeddings, `[1, seq, d]` each, none for zero.
    NaN where there is nothing to compare with.

    With `from_end`, positions are counted from the end of each prompt, the last row being the last one; what is further
    back than the first row is compared with that.
    """

    activations: tuple[Tensor, ...]
    embedded: tuple[Tensor, ...] = ()
    from_end: bool = False

    def spread(self, lengths: Sequence[int]) -> Reference:
        """What padded prompts of these lengths are compared with, position by position: `[prompts, seq, width]`."""
        if not self.from_end:
            return self
        back = torch.arange(max(lengths)) - torch.tensor(list(lengths))[:, None]
        return Reference(tuple(each[back.clamp(-len(each), -1)] for each in self.activations), self.embedded)

    def at(self, anatomy: Anatomy, neuron: Neuron) -> float:
        """What a neuron is in the reference: where it has no position there, its mean over the positions; else NaN."""
        number, local = place_of(anatomy, neuron)
        values = self.activations[number][..., local]
        if values.ndim == 0:
            return float(values)
        if neuron.position is None:
            return float(values.nanmean())
        return float(values[max(neuron.position, -len(values)) if self.from_end else neuron.position])


def place_of(anatomy: Anatomy, neuron: Neuron) -> tuple[int, int]:
    """Which of all sites, in the order of the layers, a neuron is in, and its number there."""
    site, local = anatomy.site_of(neuron.layer, neuron.index)
    before = sum(len(layer.sites) for layer in anatomy.layers[: neuron.layer])
    return before + anatomy.layers[neuron.layer].sites.index(site), local


Measure = Callable[[Tensor], Tensor]
"""From the logits of the kept positions, `[kept, vocab]`, to the scalar that is explained; of many prompts, from
those after the last token of each, `[prompts, vocab]`, to the sum of their targets."""


def refuse_experts(anatomy: Anatomy, what: str) -> None:
    """Raise `ModelError` on a mixture of experts, where what compares neurons of two texts has nothing to compare."""
    if anatomy.has_experts:
        raise ModelError(
            f"{what} is not available on a mixture of experts: each text is sent to experts of its own",
            "--method relp and atp, and --reference zero, work on it",
        )
