"""Attribution: how much each neuron contributes to a target.

A neuron's attribution is (activation − reference) × gradient of the target with respect to it. The `methods` differ in
the gradient; one of them measures effects instead. `passes` describes how a pass runs.

The reference is the activation at which a neuron counts as not contributing: zero, its mean, or its activation in
another prompt, which corresponds to patching (`recording`).

Many prompts are the rows of one batch, padded on the right (`cases`). The sum of their targets is differentiated: rows
do not see each other, so each row gets its own gradient. Padding is discarded.

Where a method conserves relevance, the relevance at the embeddings should sum to that at the logits: for a logit or a
difference of logits that is the target itself, for a log-probability its gradient times the logits. `conservation` is
the relative gap. Attention gradients and biases are legitimate reasons for a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sessions.errors import ModelError
from sessions.model.parts import Anatomy
from sessions.model.units import Unit


@dataclass(frozen=True)
class SiteRelevance:
    """Relevance of the neurons of one site.

    `relevance` and `activation` are `[rows, width]`. Row r belongs to token position `positions[r]` of prompt
    `prompts[r]` (None where there is one prompt), and its columns are the layer's neurons
    `offsets[r] … offsets[r] + width − 1`. A dense layer has a row for each position; a mixture of experts has a row for
    each expert that a token was sent to.
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

    `value` is the target's value, `outputs` the relevance at the logits, `inputs` the relevance at the embeddings, None
    for methods that do not conserve it. Of many prompts, all three are sums.
    """

    sites: tuple[SiteRelevance, ...]
    value: float
    outputs: float | None = None
    inputs: float | None = None

    @property
    def conservation(self) -> float | None:
        """|Σ input relevance − Σ output relevance| / |Σ output relevance|; None where the method does not conserve."""
        if self.outputs is None or self.inputs is None:
            return None
        return abs(self.inputs - self.outputs) / max(abs(self.outputs), 1e-30)

    def dense(self) -> Tensor:
        """Relevance as one tensor `[n_layers, seq, d_mlp]`, for models with equal dense layers."""
        home = self.sites[0].relevance.device  # layers may be spread over several devices
        return torch.stack([site.relevance.to(home) for site in self.sites])


#: Default number of passes of a method that takes several.
STEPS = 16
#: What is not available on a mixture of experts.
OTHER_REFERENCE = "a reference other than zero"


@dataclass(frozen=True)
class Reference:
    """What neurons are compared with: the activations of each site in the order of the layers, `[width]` or
    `[seq, width]`, NaN where there is nothing to compare with. For methods that integrate from the reference to the
    prompt it has embeddings too, `[1, seq, d]` each; none means zero.

    With `from_end`, positions are counted from the end of each prompt and the last row is the last position. Positions
    further back than the first row are compared with the first row.
    """

    activations: tuple[Tensor, ...]
    embedded: tuple[Tensor, ...] = ()
    from_end: bool = False

    def spread(self, lengths: Sequence[int]) -> Reference:
        """The reference for padded prompts of these lengths, position by position: `[prompts, seq, width]`."""
        if not self.from_end:
            return self
        back = torch.arange(max(lengths)) - torch.tensor(list(lengths))[:, None]
        return Reference(
            tuple(activation[back.clamp(-len(activation), -1)] for activation in self.activations), self.embedded
        )

    def at(self, anatomy: Anatomy, neuron: Unit) -> float:
        """The reference activation of a neuron: at its position, or the mean over positions; NaN where unknown."""
        number, local = place_of(anatomy, neuron)
        values = self.activations[number][..., local]
        if values.ndim == 0:
            return float(values)
        if neuron.position is None:
            return float(values.nanmean())
        return float(values[max(neuron.position, -len(values)) if self.from_end else neuron.position])


def place_of(anatomy: Anatomy, neuron: Unit) -> tuple[int, int]:
    """The site of a neuron, counted in the order of the layers, and the neuron's number there."""
    site, local = anatomy.site_of(neuron.layer, neuron.index)
    before = sum(len(layer.sites) for layer in anatomy.layers[: neuron.layer])
    return before + anatomy.layers[neuron.layer].sites.index(site), local


Measure = Callable[[Tensor], Tensor]
"""A function from the logits at the kept positions, `[kept, vocab]`, to the scalar that is explained. For many prompts,
from the logits after the last token of each, `[prompts, vocab]`, to the sum of their targets."""


def refuse_experts(anatomy: Anatomy, what: str) -> None:
    """Raise `ModelError` on a mixture of experts, where the neurons of two texts cannot be compared."""
    if anatomy.has_experts:
        raise ModelError(
            f"{what} is not available on a mixture of experts: each text is sent to experts of its own",
            "--method relp and atp, and --reference zero, work on it",
        )
