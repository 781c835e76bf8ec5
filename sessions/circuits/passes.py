"""Passes: one forward pass that records the units, and one backward pass that gives their gradients.

1. Embedding outputs are made the leaves of the graph; no parameter requires a gradient.
2. At each down projection the incoming activations h are recorded; in the linear network, where h is a product of gate
   and up, they are recorded after the half rule. Where heads are asked for, so are the inputs of the attentions'
   output projections.
3. The target is computed from the model's own logits. In the linear network, the operations between the head's scores
   and the logits take the identity rule.
4. One `autograd.grad` of the target with respect to all recorded h and all embeddings.

A method of attribution (`methods`) decides whether the network is made linear, and at which points on the path from the
reference's embeddings to the prompt's the gradient is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sessions.cancel import Cancel
from sessions.circuits.attribution import STEPS, Attribution, Measure, Reference, SiteRelevance
from sessions.circuits.rules import Attention, attended, behind_the_head, half, linearised, takes_half
from sessions.errors import NotFinite
from sessions.model.homes import home_of
from sessions.model.hooks import Change, Routing, after, on_neurons, together, watched, watched_back
from sessions.model.logits import only_at_ends
from sessions.model.parts import Anatomy
from sessions.model.sites import ExpertSite, HeadSite, Site
from sessions.model.tokens import last_positions
from sessions.model.units import NEURONS, Kind


@dataclass(frozen=True)
class Pass:
    """What is attributed, on which model. The fields are the arguments of `attributing.attribute`."""

    model: PreTrainedModel
    anatomy: Anatomy
    ids: Tensor
    measure: Measure
    attention: str = "frozen"
    reference: Reference | None = None
    steps: int = STEPS
    kept: int = 1
    lengths: Sequence[int] | None = None
    cancel: Cancel | None = None
    kinds: tuple[Kind, ...] = NEURONS

    @property
    def compared(self) -> Reference | None:
        """The reference, position by position of each prompt."""
        return None if self.reference is None else self.reference.spread(self.lengths or [self.ids.shape[1]])


def gradients(run: Pass, *, linear: bool = False, points: Sequence[float] = (1.0,)) -> Attribution:
    """(activation − reference) × the mean gradient over some points on the path to the prompt.

    Args:
        linear: make the network linear around the prompt (`rules.linearised`).
        points: fractions of the path from the reference's embeddings, or from zero, to the prompt's. The first is 1.

    Raises:
        NotFinite: the target's value, or a layer's relevance, is not finite.
    """
    base = () if run.reference is None else run.reference.embedded
    first: _Tape | None = None  # at the prompt itself, where the target is measured
    summed: Sequence[Tensor | None] = ()
    value = 0.0
    for point in points:
        tape = _Tape(run.cancel, linear, point, base)
        with torch.enable_grad(), _measured(run, tape) as target:
            grads = torch.autograd.grad(target, tape.tensors, allow_unused=True)
        if first is None:
            first, summed, value = tape, grads, float(target.detach())
        else:
            summed = list(map(_sum, summed, grads))
    assert first is not None
    if len(points) > 1:
        summed = [None if gradient is None else gradient / len(points) for gradient in summed]
    return _relevance(first, summed, run, value)


@torch.no_grad()
def present(run: Pass) -> Attribution:
    """All units with their positions and activations, and the target: one forward pass, each relevance 1."""
    tape = _Tape(None, halved=False)
    with _measured(run, tape) as target:
        value = float(target)
    relevance = _relevance(tape, [None] * len(tape.tensors), run, value)
    sites = (replace(site, relevance=torch.ones_like(site.relevance, dtype=torch.float32)) for site in relevance.sites)
    return Attribution(tuple(sites), value)


@contextmanager
def _measured(run: Pass, tape: _Tape) -> Iterator[Tensor]:
    """The target of one forward pass, which the tape records. The rules stay installed inside the block."""
    attention = cast(Attention, run.attention)
    ids = run.ids.to(home_of(run.anatomy.embeddings[0]))
    with (
        watched(run.anatomy, run.cancel),
        (linearised if tape.halved else attended)(run.model, run.anatomy, attention),
        nullcontext() if run.lengths is None else only_at_ends(run.anatomy, run.lengths),
        tape.recording(run.anatomy, run.kinds),
    ):
        keep = last_positions(run.kept if run.lengths is None else ids.shape[1], ids)
        logits = run.model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
        logits = behind_the_head(tape.scores, logits) if tape.halved else logits
        target = run.measure(logits.flatten(0, 1).float())
        if not target.isfinite():
            raise NotFinite("the target's value is not finite", "open the model with --dtype float32")
        yield target


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


@dataclass
class _Tape:
    """The tensors of one forward pass that the backward pass needs.

    `halved` installs the half rule at the neurons. The embeddings are at `fraction` of the path from `base`, or from
    zero where that is empty, to the prompt's.
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
        """The tensors that the target is differentiated by: neurons, then embeddings, then the head's scores."""
        return [*self.activations, *self.embedded, self.scores]

    @contextmanager
    def recording(self, anatomy: Anatomy, kinds: Collection[Kind]) -> Iterator[None]:
        """Record embeddings, units of these kinds and the scores of the forward pass inside the block."""
        embeddings = [after(embedding, self._embedding) for embedding in anatomy.embeddings]
        neurons = [on_neurons(site, self._neurons(layer, site)) for layer, site in anatomy.unit_sites(kinds)]
        if "neuron" not in kinds:  # products of gate and up take the half rule all the same
            neurons += [on_neurons(site, self._half(site)) for _, site in anatomy.unit_sites(NEURONS)]
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
        halve = self._half(site)

        def record(activations: Tensor, routing: Routing | None) -> Tensor:
            recorded = halve(activations, routing)
            watched_back(recorded, self.cancel)  # the backward pass is half of the time
            self.places.append((layer, site, routing))
            self.activations.append(recorded)
            return recorded

        return record

    def _half(self, site: Site) -> Change:
        """The half rule at a site, where it computes products and the network is linear."""
        halved = self.halved and takes_half(site)
        return lambda activations, _: half(activations) if halved else activations

    def _head(self, _: Tensor, output: Tensor) -> Tensor:
        self.scores = output
        return output


@torch.no_grad()
def _relevance(
    tape: _Tape,
    gradients: Sequence[Tensor | None],
    run: Pass,
    value: float,
) -> Attribution:
    lengths, ordered = run.lengths, [id(site) for _, site in run.anatomy.unit_sites(run.kinds)]
    reference = None if run.compared is None else run.compared.by_site(run.anatomy, run.kinds)
    sites = []
    pairs = zip(tape.places, tape.activations, gradients, strict=False)
    for (layer, site, routing), activation, gradient in pairs:
        moved = activation if reference is None else _moved(activation, reference[ordered.index(id(site))])
        # A layer without a path to the target, such as one skipped for a position, has relevance 0.
        keep = isinstance(site, HeadSite)  # its gradient is read again below
        relevance = torch.zeros_like(activation) if gradient is None else _product(gradient, moved, keep=keep)
        site_relevance = _site_relevance(layer, site, routing, relevance.detach(), activation.detach())
        if isinstance(site, HeadSite) and lengths is None and gradient is not None:
            slopes = gradient.detach().reshape(-1, site.n_heads, site.d_head)
            site_relevance = replace(site_relevance, slopes=slopes)
        sites.append(site_relevance if lengths is None else _of_many(site_relevance, lengths))
    _refuse_infinite(sites)
    *inputs, outputs = (
        0.0 if gradient is None else float((tensor.float() * gradient.float()).sum())
        for tensor, gradient in zip(tape.tensors[len(sites) :], gradients[len(sites) :], strict=True)
    )
    # In the anatomy's order, whichever of a layer's sites its family runs first.
    order = sorted(range(len(sites)), key=lambda number: ordered.index(id(tape.places[number][1])))
    return Attribution(tuple(sites[number] for number in order), value, outputs, sum(inputs))


def _refuse_infinite(sites: Sequence[SiteRelevance]) -> None:
    """Raise `NotFinite` for the highest layer with relevance that is not finite; it spreads from there downwards."""
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
    """Activation − reference; 0 where the reference is unknown (NaN)."""
    known = reference.to(activation)
    if known.ndim == 3:  # some families flatten batch and sequence before an MLP
        known = known.reshape(activation.shape)
    return torch.where(known.isnan(), 0, activation - known)


def _product(gradient: Tensor, activation: Tensor, *, keep: bool) -> Tensor:
    """Gradient × activation in float32, in place of a float32 gradient unless that is to be kept."""
    if gradient.dtype == torch.float32 and not keep:
        return gradient.mul_(activation)
    return gradient.float() * activation.float()


def _site_relevance(
    layer: int, site: Site, routing: Routing | None, relevance: Tensor, activation: Tensor
) -> SiteRelevance:
    rows, activation = relevance.reshape(-1, relevance.shape[-1]), activation.reshape(-1, relevance.shape[-1])
    if isinstance(site, HeadSite):
        rows = rows.unflatten(1, (site.n_heads, site.d_head)).sum(-1)
        activation = activation.unflatten(1, (site.n_heads, site.d_head)).norm(dim=-1)
    positions = torch.arange(rows.shape[0], device=rows.device)
    offsets = torch.full_like(positions, site.offset)
    if isinstance(site, ExpertSite):
        assert routing is not None
        positions = positions // routing.per_token
        offsets = site.offset + routing.experts * site.d_expert
    kind: Kind = "head" if isinstance(site, HeadSite) else "neuron"
    return SiteRelevance(layer, rows, activation, positions, offsets, kind=kind)


def _of_many(site: SiteRelevance, lengths: Sequence[int]) -> SiteRelevance:
    """Rows of a batch of padded prompts as rows of these prompts, without the padding."""
    per_prompt = int(site.positions[-1] + 1) // len(lengths)
    prompts, positions = site.positions // per_prompt, site.positions % per_prompt
    kept = positions < torch.tensor(lengths, device=positions.device)[prompts]
    return replace(
        site,
        relevance=site.relevance[kept],
        activation=site.activation[kept],
        positions=positions[kept],
        offsets=site.offsets[kept],
        prompts=prompts[kept],
    )
