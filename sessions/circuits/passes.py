"""Passes: one forward pass that records the units, and one backward pass that gives their gradients.

1. Embedding outputs are made the leaves of the graph; no parameter requires a gradient.
2. At each down projection the incoming activations h are recorded; in the linear network, where h is a product of gate
   and up, they are recorded after the half rule. Where heads are asked for, so are the inputs of the attentions'
   output projections.
3. The target is computed from the model's own logits. In the linear network, the operations between the head's scores
   and the logits take the identity rule.
4. One backward pass of the target down to the embeddings. The gradient of each h becomes relevance as it arrives, and
   is let go: of all sites together only relevance and activations are kept.

A method of attribution (`methods`) decides whether the network is made linear, and at which points on the path from the
reference's embeddings to the prompt's the gradient is taken.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sessions.cancel import Cancel
from sessions.circuits.attribution import STEPS, Attribution, Measure, Reference, SiteRelevance
from sessions.circuits.rules import Attention, attended, behind_the_head, half, linearised, takes_half
from sessions.errors import NotFinite
from sessions.model.homes import home_of
from sessions.model.hooks import Change, Routing, after, on_gradient, on_neurons, together, watched, watched_back
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
        NotFinite: the target's value, or a layer's relevance, is not finite. The host waits once, for all numbers.
    """
    base = () if run.reference is None else run.reference.embedded
    references = _references(run)
    first: _Tape | None = None  # at the prompt itself, where the target is measured
    summed: Sequence[Tensor | None] = ()
    value = torch.empty(0)
    for point in points:
        records = None if first is None else first.records
        tape = _Tape(run.cancel, linear, point, base, references, 1 / len(points), records)
        with torch.enable_grad(), _measured(run, tape) as target:
            grads = torch.autograd.grad(target, tape.ends, allow_unused=True)
        if first is None:
            first, summed, value = tape, grads, target.detach()
        else:
            summed = list(map(_sum, summed, grads))
    assert first is not None
    conserved = [
        value.new_zeros(()) if gradient is None else (tensor.detach().float() * gradient.float()).sum() / len(points)
        for tensor, gradient in zip(first.ends, summed, strict=True)
    ]
    sites = _sites(first, run)
    sums = [site.relevance.sum() for site in sites]
    numbers = torch.stack([each.to(value.device, torch.float32) for each in (value, *conserved, *sums)]).tolist()
    _refuse_infinite(numbers[0], sites, numbers[len(conserved) + 1 :])
    *inputs, outputs = numbers[1 : len(conserved) + 1]
    return Attribution(sites, numbers[0], outputs, sum(inputs))


def _references(run: Pass) -> dict[int, Tensor]:
    """The reference of each site, by the identity of the site."""
    if run.compared is None:
        return {}
    values = run.compared.by_site(run.anatomy, run.kinds)
    sites = (site for _, site in run.anatomy.unit_sites(run.kinds))
    return {id(site): value for site, value in zip(sites, values, strict=True)}


@torch.no_grad()
def present(run: Pass) -> Attribution:
    """All units with their positions and activations, and the target: one forward pass, each relevance 1."""
    tape = _Tape(None, halved=False)
    with _measured(run, tape) as target:
        value = float(target)
    _refuse_infinite(value)
    return Attribution(tuple(replace(site, relevance=site.relevance.fill_(1)) for site in _sites(tape, run)), value)


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
        yield run.measure(logits.flatten(0, 1).float())


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


@dataclass
class _Record:
    """What one call of a site computed, `[…, width]`, and its relevance, which is added up as gradients arrive.

    `relevance` is `[rows, units]` in float32 and None before the first gradient; so are `slopes`, the mean gradient of
    heads, `[rows, width]`.
    """

    layer: int
    site: Site
    routing: Routing | None
    activation: Tensor
    reference: Tensor | None = None
    relevance: Tensor | None = None
    slopes: Tensor | None = None

    @torch.no_grad()
    def take(self, share: float, gradient: Tensor) -> None:
        """Add a share of the relevance that this gradient makes."""
        moved = self.activation if self.reference is None else _moved(self.activation, self.reference)
        # The engine still needs the gradient itself; a float32 copy of it can become the product.
        product = gradient * moved if gradient.dtype == torch.float32 else gradient.float().mul_(moved)
        rows = product.reshape(-1, product.shape[-1])
        if share < 1:
            rows = rows.mul_(share)
        if isinstance(self.site, HeadSite):
            rows = rows.unflatten(1, (self.site.n_heads, self.site.d_head)).sum(-1)
            self.slopes = _sum(self.slopes, gradient.detach().reshape(-1, gradient.shape[-1]) * share)
        self.relevance = rows if self.relevance is None else self.relevance.add_(rows)


@dataclass
class _Tape:
    """The tensors of one forward pass that the backward pass needs.

    `halved` installs the half rule at the neurons. The embeddings are at `fraction` of the path from `base`, or from
    zero where that is empty, to the prompt's. `references` are those of the sites, by identity. Each gradient counts
    with its `share`, and is taken by the records of the pass at the prompt itself, `taking`, where that was another.
    """

    cancel: Cancel | None
    halved: bool = True
    fraction: float = 1.0
    base: tuple[Tensor, ...] = ()
    references: Mapping[int, Tensor] = field(default_factory=dict)
    share: float = 1.0
    taking: Sequence[_Record] | None = None
    records: list[_Record] = field(default_factory=list)
    embedded: list[Tensor] = field(default_factory=list)
    scores: Tensor = field(default_factory=lambda: torch.empty(0))
    calls: int = 0

    @property
    def ends(self) -> list[Tensor]:
        """Where the backward pass ends: the embeddings; and the head's scores."""
        return [*self.embedded, self.scores]

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
            if self.taking is None:
                made = _Record(layer, site, routing, recorded.detach(), self.references.get(id(site)))
                self.records.append(made)
            else:
                made = self.taking[self.calls]
            self.calls += 1
            if recorded.requires_grad:
                watched_back(recorded, self.cancel)  # the backward pass is half of the time
                on_gradient(recorded, partial(made.take, self.share))
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
def _sites(tape: _Tape, run: Pass) -> tuple[SiteRelevance, ...]:
    """The relevance of every site, in the anatomy's order. The tape's records are let go one by one."""
    ordered = {id(site): number for number, (_, site) in enumerate(run.anatomy.unit_sites(run.kinds))}
    found: list[tuple[int, SiteRelevance]] = []
    while tape.records:
        record = tape.records.pop(0)
        site = _site_relevance(record, slopes=run.lengths is None)
        found.append((ordered[id(record.site)], site if run.lengths is None else _of_many(site, run.lengths)))
    # In the anatomy's order, whichever of a layer's sites its family runs first.
    return tuple(site for _, site in sorted(found, key=lambda pair: pair[0]))


def _refuse_infinite(value: float, sites: Sequence[SiteRelevance] = (), sums: Sequence[float] = ()) -> None:
    """Raise `NotFinite` for a target's value that is not finite, or for the highest layer with such relevance, which
    spreads from there downwards; `sums` are those of the sites."""
    if not math.isfinite(value):
        raise NotFinite("the target's value is not finite", "open the model with --dtype float32")
    for site, total in reversed(list(zip(sites, sums, strict=True))):
        if not math.isfinite(total):
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


def _site_relevance(record: _Record, *, slopes: bool) -> SiteRelevance:
    """The relevance that a record has taken: 0 where no gradient came, as for a layer that a position skips."""
    site, activation = record.site, record.activation.reshape(-1, record.activation.shape[-1])
    if isinstance(site, HeadSite):
        activation = activation.unflatten(1, (site.n_heads, site.d_head)).norm(dim=-1)
    rows = record.relevance
    if rows is None:
        rows = torch.zeros_like(activation, dtype=torch.float32)
    positions = torch.arange(rows.shape[0], device=rows.device)
    offsets = torch.full_like(positions, site.offset)
    if isinstance(site, ExpertSite):
        assert record.routing is not None
        positions = positions // record.routing.per_token
        offsets = site.offset + record.routing.experts * site.d_expert
    kind: Kind = "head" if isinstance(site, HeadSite) else "neuron"
    heads = None
    if slopes and isinstance(site, HeadSite) and record.slopes is not None:
        heads = record.slopes.unflatten(1, (site.n_heads, site.d_head))
    return SiteRelevance(record.layer, rows, activation, positions, offsets, kind=kind, slopes=heads)


def _of_many(site: SiteRelevance, lengths: Sequence[int]) -> SiteRelevance:
    """Rows of a batch of padded prompts as rows of these prompts, without the padding.

    Which rows these are is known without a look at the device: they run over prompts, positions and, in a mixture of
    experts, over the experts that each token was sent to.
    """
    longest, rows = max(lengths), len(site.relevance)
    experts = rows // (longest * len(lengths))
    prompts = torch.arange(rows) // (experts * longest)
    positions = torch.arange(rows) // experts % longest
    kept = (positions < torch.tensor(lengths)[prompts]).nonzero()[:, 0]
    device = site.relevance.device
    found = replace(site, positions=positions[kept].to(device), prompts=prompts[kept].to(device))
    if len(kept) == rows:
        return found
    kept = kept.to(device)
    return replace(found, relevance=site.relevance[kept], activation=site.activation[kept], offsets=site.offsets[kept])
