"""Aggregates of attributions over prompts: what `multi_prompt` keeps of each batch, and adds up in their order.

Each site keeps sums over prompts: of attributions, of their sizes, of activations, of the prompts that reach the
threshold; and the largest attribution. The aggregates of a batch are data, so that another process can compute them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sessions.circuits.attribution import Attribution, SiteRelevance, place_of
from sessions.circuits.cases import Case
from sessions.circuits.discovery import Scope
from sessions.circuits.pruning import Candidates, CircuitSize, candidates, choose, kept_at
from sessions.errors import UsageError
from sessions.model.homes import widest
from sessions.model.parts import Anatomy
from sessions.model.sites import HeadSite, Site
from sessions.model.units import NEURONS, Kind, Unit

Aggregate = Literal["magnitude", "mean", "max", "share"]
#: Aggregates that only rank neurons; the attribution shown is the mean.
RANKS = ("magnitude", "share")
#: Default threshold for counting prompts, in percent of a prompt's target.
THRESHOLD = 1.0


@dataclass(frozen=True)
class Aggregation:
    """How the attributions of many prompts become one.

    `aggregate` is the mean, or the largest by |attribution|. "magnitude" ranks neurons by the mean over prompts of
    Σ |attribution| over positions, "share" by the fraction of prompts in which they reach the threshold; the
    attribution shown is then the mean. `aligned` keeps positions apart, counted from the end. `threshold` is in percent
    of each prompt's |target|; below it, an attribution is 0 for that prompt.
    """

    aggregate: Aggregate = "magnitude"
    aligned: bool = False
    threshold: float | None = None

    @property
    def least(self) -> float:
        """The threshold as a fraction of the target; 0 for none."""
        if self.threshold is None:
            return THRESHOLD / 100 if self.aggregate == "share" else 0.0
        return self.threshold / 100

    def __str__(self) -> str:
        how = {"max": "the largest over prompts", "share": "by share of prompts", "magnitude": "by magnitude"}
        parts = [how[self.aggregate]] if self.aggregate in how else []
        if self.least:
            parts = [*parts, f"from {100 * self.least:g} % of a prompt's target on"]
        if self.aligned:
            parts = [*parts, "positions from the end"]
        return ", ".join(parts)


class Aggregated:
    """Attributions summed over the prompts so far, a tensor `[places, width]` for each site.

    There is one place or, where positions are aligned, one for each position that all prompts have, the last one last.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        cases: Sequence[Case],
        scope: Scope,
        gathering: Aggregation,
        kinds: tuple[Kind, ...] = NEURONS,
    ) -> None:
        self._anatomy, self._scope, self._gathering, self._kinds = anatomy, scope, gathering, kinds
        self._places = 1
        if gathering.aligned:
            self._places = min(len(case.ids) for case in cases) - (0 in scope.without_positions)
            if not self._places:
                raise UsageError("a prompt has no token but its first", "leave it out, or --keep-bos")
        self._sums = [_Sums(layer, site, self._places) for layer, site in anatomy.unit_sites(kinds)]
        self._prompts = 0
        self._inputs: tuple[float | None, ...] = ()
        self._outputs: tuple[float | None, ...] = ()

    def add(self, cases: Sequence[Case], attribution: Attribution) -> None:
        """Add the attribution of some prompts."""
        lengths = torch.tensor([len(case.ids) for case in cases])
        least = self._gathering.least * torch.tensor([abs(case.target.value) for case in cases])
        for sums, site in zip(self._sums, attribution.sites, strict=True):
            sums.add(site, self._place(site, lengths), lengths, least.to(site.relevance.device), self._gathering)
        self._prompts += len(cases)
        self._inputs = (*self._inputs, attribution.inputs)
        self._outputs = (*self._outputs, attribution.outputs)

    def sums(self) -> PromptSums:
        """What was added, as data."""
        return PromptSums(tuple(site.state() for site in self._sums), self._prompts, self._inputs, self._outputs)

    def merge(self, part: PromptSums) -> None:
        """Add the aggregates of other prompts, which were added up elsewhere. Sums of parts are float64."""
        for sums, values in zip(self._sums, part.sites, strict=True):
            sums.merge(values)
        self._prompts += part.prompts
        self._inputs = (*self._inputs, *part.inputs)
        self._outputs = (*self._outputs, *part.outputs)

    def _place(self, site: SiteRelevance, lengths: Tensor) -> Tensor:
        """The place that each row is added to; -1 for none."""
        assert site.prompts is not None
        from_end = site.positions - lengths.to(site.positions.device)[site.prompts]
        place = from_end + self._places if self._gathering.aligned else torch.zeros_like(from_end)
        kept = kept_at(site.positions, from_end, self._scope.without_positions, self._scope.positions)
        return torch.where(kept, place, -1)

    @property
    def conservation(self) -> float | None:
        """As in `Attribution`, for the sum of all targets."""
        inputs, outputs = ([tensor for tensor in side if tensor is not None] for side in (self._inputs, self._outputs))
        return Attribution((), 0.0, sum(outputs), sum(inputs)).conservation if inputs and outputs else None

    @property
    def means(self) -> list[Tensor]:
        """Mean attribution over the prompts."""
        return [(sums.total / self._prompts).float() for sums in self._sums]

    @property
    def magnitudes(self) -> list[Tensor]:
        """Mean over the prompts of Σ |attribution| over positions, where this is summed."""
        return [(sums.size / self._prompts).float() for sums in self._sums]

    def mean_of(self, neuron: Unit) -> float:
        """Mean attribution of a neuron, at its position counted from the end."""
        sums = self._sums[place_of(self._anatomy, neuron, self._kinds).site]
        return float(sums.total[neuron.position or -1, neuron.index - sums.offset]) / self._prompts

    def candidates(self, by: Aggregate) -> Candidates:
        """The candidates by one of the aggregates, which takes the place of relevance."""
        values = {
            "magnitude": lambda: self.magnitudes,
            "mean": lambda: self.means,
            "max": lambda: [sums.largest for sums in self._sums],
            "share": self._shares,
        }
        sites = tuple(sums.site(value) for sums, value in zip(self._sums, values[by](), strict=True))
        return candidates(
            Attribution(sites, 0.0), without_neurons=self._scope.without_neurons, layers=self._scope.layers
        )

    def ranking(self) -> tuple[Unit, ...]:
        """All units of the scope without positions, those of the largest magnitude first; none of magnitude 0."""
        ranked = self.candidates("magnitude")
        return tuple(unit.bare for unit in choose(ranked, CircuitSize(count=ranked.number), 1.0))

    def _shares(self) -> list[Tensor]:
        """The fraction of prompts in which each neuron reaches the threshold. Ties are broken by the larger mean, which
        adds less than half a prompt."""
        largest = max(float(mean.abs().max()) for mean in self.means) or 1.0
        pairs = zip(self._sums, self.means, strict=True)
        strengths = [
            ((sums.count / self._prompts).float(), mean.abs() / largest / 2 / self._prompts) for sums, mean in pairs
        ]
        return [torch.where(share > 0, share + ahead, 0) for share, ahead in strengths]


@dataclass(frozen=True)
class PromptSums:
    """The aggregates of some prompts: tensors by the names of `SUMS` for each site, the number of prompts, and the
    relevance at the embeddings and the logits, as in `Attribution`."""

    sites: tuple[dict[str, Tensor], ...]
    prompts: int
    inputs: tuple[float | None, ...]
    outputs: tuple[float | None, ...]

    def cpu(self) -> PromptSums:
        """The same in the memory of the host."""
        return replace(self, sites=tuple({name: value.cpu() for name, value in site.items()} for site in self.sites))


#: The aggregates of a site that are sums over prompts.
SUMS = ("total", "size", "count", "activation", "seen")


class _Sums:
    """One site's aggregates over prompts, each `[places, width]`: sums of attributions and of their sizes, the largest
    attribution, the count of prompts that reach the threshold, and the mean activation."""

    def __init__(self, layer: int, of: Site, places: int) -> None:
        self._layer, self._places, self.offset = layer, places, of.offset
        self._kind: Kind = "head" if isinstance(of, HeadSite) else "neuron"
        self._width = of.n_heads if isinstance(of, HeadSite) else of.width
        self.total = self.size = self.largest = self.count = self.activation = torch.zeros(places, self._width)
        self.seen = torch.zeros(places, 1)

    def add(self, site: SiteRelevance, place: Tensor, lengths: Tensor, least: Tensor, gathering: Aggregation) -> None:
        """Add the rows of some prompts, each at its place; `least` is the threshold in each prompt."""
        device = site.relevance.device
        values = self._spread(site, site.relevance, place, len(lengths))
        by_size = gathering.aggregate == "magnitude"
        sizes = self._spread(site, site.relevance.abs(), place, len(lengths)) if by_size else values.abs()
        reached = sizes >= least[:, None, None]
        if gathering.aggregate == "share":
            self.count = self.count.to(device) + reached.sum(0)
        elif gathering.least:
            values = values * reached
        self.total = self.total.to(device) + values.sum(0)
        if by_size:
            self.size = self.size.to(device) + (sizes * reached).sum(0)
        if gathering.aggregate == "max":
            stacked = torch.cat([self.largest.to(device)[None], values])
            self.largest = stacked.gather(0, stacked.abs().argmax(0, keepdim=True))[0]
        self.activation = self.activation.to(device) + self._spread(site, site.activation.float(), place, 1)[0]
        per_position = len(site.positions) // int(lengths.sum())  # rows: the experts that each token was sent to
        into = torch.where(place < 0, self._places, place)  # one more place takes what is left out
        ones = torch.ones_like(into, dtype=torch.float32)
        kept = torch.zeros(self._places + 1, device=device).index_add_(0, into, ones)
        self.seen = self.seen.to(device) + (kept[:-1] / per_position)[:, None]

    def state(self) -> dict[str, Tensor]:
        """All aggregates by name."""
        return {name: getattr(self, name) for name in (*SUMS, "largest")}

    def merge(self, other: Mapping[str, Tensor]) -> None:
        """Add the aggregates of other prompts."""
        device = other["total"].device
        for name in SUMS:
            setattr(self, name, getattr(self, name).to(device, widest(device)) + other[name].to(device))
        both = torch.stack([self.largest.to(device), other["largest"].to(device)])
        self.largest = both.gather(0, both.abs().argmax(0, keepdim=True))[0]

    def site(self, values: Tensor) -> SiteRelevance:
        """Values in place of relevance, with a row for each place and positions counted from the end."""
        rows = torch.arange(-self._places, 0, device=values.device)
        mean = (self.activation / self.seen.clamp(min=1)).float()
        offsets = torch.full_like(rows, self.offset)
        return SiteRelevance(self._layer, values.clone(), mean, rows, offsets, kind=self._kind)

    def _spread(self, site: SiteRelevance, values: Tensor, place: Tensor, prompts: int) -> Tensor:
        """Rows summed by prompt, or over all where `prompts` is 1, and place: `[prompts, places, width]`."""
        assert site.prompts is not None
        block = (site.offsets - self.offset) // values.shape[1]
        blocks = self._width // values.shape[1]
        prompt = site.prompts if prompts > 1 else torch.zeros_like(site.prompts)
        rows = prompts * self._places * blocks
        # One more row takes what is left out: a choice by a mask would wait for the device.
        row = torch.where(place < 0, rows, (prompt * self._places + place) * blocks + block)
        spread = values.new_zeros(rows + 1, values.shape[1]).index_add_(0, row, values)
        return spread[:-1].view(prompts, self._places, self._width)
