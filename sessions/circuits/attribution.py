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
3. The target is read off the model's own logits; under relp, what stands between them and the head's scores takes the
   identity rule.
4. One `autograd.grad` of the target with respect to all recorded h and all embeddings.

Many prompts are the rows of one batch, padded on the right (`cases`). What is differentiated then is the sum of their
targets: rows do not see each other, so the gradient of each is its own. Nothing is kept of the padding.

Under relp, relevance arriving at the embeddings should sum to what left the logits (conservation): for a
logit or a difference of logits that is the target itself, for a log-probability its gradient times the
logits. `conservation` says by how much it does not. Attention gradients and biases are the honest
reasons for a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sessions.circuits.circuit import Neuron
from sessions.circuits.rules import Attention, attended, behind_the_head, half, linearised
from sessions.errors import ModelError, NotFinite
from sessions.model.cancel import Cancel
from sessions.model.homes import home_of
from sessions.model.hooks import Change, Routing, after, on_neurons, together, watched, watched_back
from sessions.model.logits import only_at_ends
from sessions.model.parts import Anatomy, ExpertSite, Site
from sessions.model.tokens import last_positions


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


Method = Literal["relp", "atp", "ig"]
#: Passes of `ig`, unless asked otherwise.
STEPS = 16
#: What a mixture of experts has not.
OTHER_REFERENCE = "a reference other than zero"


@dataclass(frozen=True)
class Reference:
    """What neurons are compared with: the activations of each site in the order of the layers, `[width]` or
    `[seq, width]`, and for `ig` the embeddings it begins at, `[1, seq, d]` each, none for zero. NaN where there is
    nothing to compare with.

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
    lengths: Sequence[int] | None = None,
    cancel: Cancel | None = None,
) -> Attribution:
    """Relevance of every neuron for `measure` of the logits at the last `kept` positions.

    Args:
        ids: the prompt, `[1, seq]`, on any device, or with `lengths` many, `[prompts, seq]`, padded on the right.
        measure: the target, a function of the logits in float32.
        attention: how relevance passes attention (see `rules`).
        reference: what neurons are compared with; zero where it is left out.
        steps: passes of `ig`.
        lengths: tokens of each of many prompts, each read at its last one.

    Raises:
        NotFinite: the target's value, or a layer's relevance, is not finite.
        ModelError: the family is out of reach of the method, or offloaded weights have no room.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    check(anatomy, method, reference)
    ids = ids.to(home_of(anatomy.embeddings[0]))
    base = () if reference is None else reference.embedded
    if reference is not None:
        reference = reference.spread(lengths or [ids.shape[1]])
    passes = steps if method == "ig" else 1
    first: _Tape | None = None  # the whole way to the prompt: what is measured there is the target
    summed: Sequence[Tensor | None] = ()
    value = 0.0
    for step in range(passes):
        tape = _Tape(cancel, method == "relp", 1 - step / passes, base)
        with (
            torch.enable_grad(),
            watched(anatomy, cancel),
            linearised(model, anatomy, attention) if method == "relp" else attended(model, anatomy, attention),
            nullcontext() if lengths is None else only_at_ends(anatomy, lengths),
            tape.recording(anatomy),
        ):
            keep = last_positions(kept if lengths is None else ids.shape[1], ids)
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
            logits = behind_the_head(tape.scores, logits) if method == "relp" else logits
            target = measure(logits.flatten(0, 1).float())
            if not target.isfinite():
                raise NotFinite("the target's value is not finite", "open the model with --dtype float32")
            gradients = torch.autograd.grad(target, tape.tensors, allow_unused=True)
        if first is None:
            first, summed, value = tape, gradients, float(target.detach())
        else:
            summed = list(map(_sum, summed, gradients))
    assert first is not None
    if passes > 1:
        summed = [None if gradient is None else gradient / passes for gradient in summed]
    found = _relevance(first, summed, reference, value, lengths)
    return found if method == "relp" and reference is None else replace(found, outputs=None, inputs=None)


def check(anatomy: Anatomy, method: Method, reference: Reference | None = None) -> None:
    """Raise `ModelError` where the model is out of reach of a method."""
    anatomy.check_gradients(method)
    if method == "relp":
        anatomy.require("relp")
    if method == "ig" or reference is not None:
        refuse_experts(anatomy, "ig" if method == "ig" else OTHER_REFERENCE)


def refuse_experts(anatomy: Anatomy, what: str) -> None:
    """Raise `ModelError` on a mixture of experts, where what compares neurons of two texts has nothing to compare."""
    if anatomy.has_experts:
        raise ModelError(
            f"{what} is not available on a mixture of experts: each text is sent to experts of its own",
            "--method relp and atp, and --reference zero, work on it",
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
    scores: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def tensors(self) -> list[Tensor]:
        """What the target is differentiated by: neurons, then the embeddings, then the head's scores."""
        return [*self.activations, *self.embedded, self.scores]

    @contextmanager
    def recording(self, anatomy: Anatomy) -> Iterator[None]:
        """Record embeddings, neurons and the head's scores of the forward pass inside the block."""
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
            watched_back(recorded, self.cancel)  # the backward pass is half of the time
            self.places.append((layer, site, routing))
            self.activations.append(recorded)
            return recorded

        return record

    def _head(self, _: Tensor, output: Tensor) -> Tensor:
        self.scores = output
        return output


@torch.no_grad()
def _relevance(
    tape: _Tape,
    gradients: Sequence[Tensor | None],
    reference: Reference | None,
    value: float,
    lengths: Sequence[int] | None,
) -> Attribution:
    sites = []
    pairs = zip(tape.places, tape.activations, gradients, strict=False)
    for number, ((layer, site, routing), activation, gradient) in enumerate(pairs):
        moved = activation if reference is None else _moved(activation, reference.activations[number])
        # A layer without a path to the target, such as one skipped for a position, has relevance 0.
        relevance = torch.zeros_like(activation) if gradient is None else _product(gradient, moved)
        found = _site_relevance(layer, site, routing, relevance.detach(), activation.detach())
        sites.append(found if lengths is None else _of_many(found, lengths))
    _refuse_infinite(sites)
    *inputs, outputs = (
        0.0 if gradient is None else float((tensor.float() * gradient.float()).sum())
        for tensor, gradient in zip(tape.tensors[len(sites) :], gradients[len(sites) :], strict=True)
    )
    # In the anatomy's order, whichever of a layer's sites its family runs first.
    order = sorted(range(len(sites)), key=lambda number: (tape.places[number][0], tape.places[number][1].offset))
    return Attribution(tuple(sites[number] for number in order), value, outputs, sum(inputs))


def _refuse_infinite(sites: Sequence[SiteRelevance]) -> None:
    """Raise `NotFinite` for the highest layer whose relevance is not finite, from which it went down to all others."""
    for site in reversed(sites):
        if not site.relevance.sum().isfinite():
            bad = (~site.relevance.sum(1).isfinite()).nonzero()[:1, 0]
            row = None if site.prompts is None or not len(bad) else int(site.prompts[bad])
            dtype = str(site.activation.dtype).removeprefix("torch.")
            raise NotFinite(
                f"the relevance of layer {site.layer} is not finite in {dtype}",
                "open the model with --dtype float32",
                row,
            )


def _moved(activation: Tensor, reference: Tensor) -> Tensor:
    """How far a neuron is from its reference; 0 where it has none (NaN)."""
    known = reference.to(activation)
    if known.ndim == 3:  # some families flatten batch and sequence before an MLP
        known = known.reshape(activation.shape)
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


def _of_many(site: SiteRelevance, lengths: Sequence[int]) -> SiteRelevance:
    """Rows that run over a batch of padded prompts, as rows of these prompts: those of the padding are gone."""
    per_prompt = int(site.positions[-1] + 1) // len(lengths)
    prompts, positions = site.positions // per_prompt, site.positions % per_prompt
    kept = positions < torch.tensor(lengths, device=positions.device)[prompts]
    return SiteRelevance(
        site.layer, site.relevance[kept], site.activation[kept], positions[kept], site.offsets[kept], prompts[kept]
    )
