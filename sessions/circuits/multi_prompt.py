"""Many prompts: attribution over all of them, batch by batch, and the circuit that they share.

1. Prompts of similar length are attributed together, as padded rows of one forward and one backward pass
   (`attribution`).
2. In each prompt, a neuron's attribution is the sum over positions. Where prompts are aligned at their ends, positions
   are kept apart and counted from the last one, -1, as far back as all prompts reach. The first position is left out.
3. Where there is a threshold, an attribution below that share of a prompt's own target counts as 0 for that prompt.
4. Over prompts, attributions are aggregated to their mean or to the largest. Two more aggregates serve for ranking: in
   how many prompts the neuron reaches the threshold, and its magnitude, the mean over prompts of Σ |attribution| over
   positions.

A neuron that helps the target at one position and harms it at another has a sum near 0 although it matters. Ranked by
magnitude it counts, and small circuits keep more of the target (`benchmarks.methods`).

Memory does not grow with the number of prompts: each site keeps sums over prompts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from msgspec import structs
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import STEPS, Attribution, Reference, SiteRelevance, place_of
from sessions.circuits.cases import Case
from sessions.circuits.circuit import Circuit
from sessions.circuits.discovery import USUAL, AttributionOptions, Discovery, Scope
from sessions.circuits.methods import DEFAULT
from sessions.circuits.pruning import Candidates, CircuitSize, candidates, choose, kept_at
from sessions.circuits.recording import corrupt_reference
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.model.finite import locating
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.rows import LARGEST_BATCH, batches, padded_rows
from sessions.model.sites import HeadSite, Site
from sessions.model.target import Target
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


def collapsed(
    opened: OpenModel,
    cases: Sequence[Case],
    *,
    method: str = DEFAULT,
    attention: str = "frozen",
    reference: Reference | None = None,
    steps: int = STEPS,
    batch: int = LARGEST_BATCH,
    cancel: Cancel | None = None,
) -> Steps[tuple[Tensor, ...]]:
    """Signed attribution of every neuron, summed over positions but the first, mean over prompts: `[width]` a site.

    Args:
        reference: one without positions or with ones counted from the end, or None for zero.
        batch: tokens computed at once, padding included.
    """
    how = AttributionOptions(method, attention, reference, steps=steps)
    gathered = yield from attribute_prompts(opened, cases, how, batch=batch, cancel=cancel)
    return tuple(values[0] for values in gathered.means)


def discover(
    opened: OpenModel,
    cases: Sequence[Case],
    *,
    choice: CircuitSize,
    scope: Scope | None = None,
    how: AttributionOptions = USUAL,
    gathering: Aggregation | None = None,
    batch: int = LARGEST_BATCH,
    cancel: Cancel | None = None,
) -> Steps[Discovery]:
    """The circuit that the prompts share, each with its own target.

    Args:
        how: its reference has no positions, or positions counted from the end.
        batch: tokens computed at once, padding included.

    Raises:
        UsageError: nothing is left to choose.
        ModelError: the family is out of reach of the method, or the relevance of a prompt is not finite.
    """
    scope, gathering = scope or Scope(), gathering or Aggregation()
    gathered = yield from attribute_prompts(
        opened, cases, how, scope=scope, gathering=gathering, batch=batch, cancel=cancel
    )
    target = mean_target(cases)
    aggregated = gathered.candidates("mean" if gathering.aggregate in RANKS else gathering.aggregate)
    notes: tuple[str, ...] = ()
    ranked = choose(gathered.candidates(gathering.aggregate), choice, target.value)
    if gathering.aggregate == "share":
        first, last = (int((neuron.attribution or 0.0) * len(cases) + 0.01) for neuron in (ranked[0], ranked[-1]))
        notes = (f"the first neuron reaches the threshold in {first} of {len(cases)} prompts, the last in {last}",)
    neurons = ranked
    if gathering.aggregate in RANKS:
        neurons = tuple(structs.replace(neuron, attribution=gathered.mean_of(neuron)) for neuron in ranked)
    if not gathering.aligned:
        neurons = tuple(structs.replace(neuron, position=None) for neuron in neurons)
    circuit = Circuit(
        neurons=neurons,
        prompt=Prompt(text=""),
        ids=(),
        tokens=(),
        target=target,
        method=how.described,
        attention=how.attention,
        chosen=", ".join(filter(None, (str(choice), str(gathering)))),
        conservation=gathered.conservation,
        total=aggregated.total,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
        prompts=tuple(case.asked for case in cases),
    )
    return Discovery(circuit, aggregated.number, notes)


def mean_target(cases: Sequence[Case]) -> Target:
    """The mean of the prompts' targets; it has tokens if all prompts have the same ones."""
    first, count = cases[0].target, len(cases)
    if count == 1:
        return first
    value = sum(case.target.value for case in cases) / count
    if any(case.wanted != cases[0].wanted for case in cases):
        return Target(tokens=(), value=value, prompts=count)
    return structs.replace(first, value=value, prompts=count)


def attribute_prompts(
    opened: OpenModel,
    cases: Sequence[Case],
    how: AttributionOptions = USUAL,
    *,
    scope: Scope | None = None,
    gathering: Aggregation | None = None,
    batch: int = LARGEST_BATCH,
    cancel: Cancel | None = None,
) -> Steps[Aggregated]:
    """Attribute the targets of all prompts. Arguments and errors as in `discover`."""
    gathered = Aggregated(opened.anatomy, cases, scope or Scope(), gathering or Aggregation(), how.kinds)
    done = 0
    for rows in batches([len(case.ids) for case in cases], batch):
        yield Progress("attributing", done, len(cases), "prompts")
        part = [cases[row] for row in rows]
        gathered.add(part, _attributed(opened, part, how, cancel))
        done += len(part)
    return gathered


def _attributed(
    opened: OpenModel, cases: Sequence[Case], how: AttributionOptions, cancel: Cancel | None
) -> Attribution:
    """One forward and one backward pass over padded prompts."""
    wanted = torch.tensor([case.wanted for case in cases])

    def measure(logits: Tensor) -> Tensor:
        pairs = logits.gather(1, wanted.to(logits.device))
        return (pairs[:, 0] - pairs[:, 1]).sum()

    texts = [case.ids for case in cases]
    names = [repr(case.asked.prompt) for case in cases]
    reference = how.reference
    if reference is not None and reference.corrupt:
        reference = corrupt_reference(opened, cases, cancel)
    with locating(opened, texts, names), padded_rows(opened, texts) as ids:
        return attribute(
            opened.model,
            opened.anatomy,
            ids,
            measure,
            method=how.method,
            attention=how.attention,
            reference=reference,
            steps=how.steps,
            lengths=[len(text) for text in texts],
            kinds=how.kinds,
            cancel=cancel,
        )


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
        self._inputs: list[float | None] = []
        self._outputs: list[float | None] = []

    def add(self, cases: Sequence[Case], attribution: Attribution) -> None:
        """Add the attribution of some prompts."""
        lengths = torch.tensor([len(case.ids) for case in cases])
        least = self._gathering.least * torch.tensor([abs(case.target.value) for case in cases])
        for sums, site in zip(self._sums, attribution.sites, strict=True):
            sums.add(site, self._place(site, lengths), lengths, least.to(site.relevance.device), self._gathering)
        self._prompts += len(cases)
        self._inputs.append(attribution.inputs)
        self._outputs.append(attribution.outputs)

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
        return [sums.total / self._prompts for sums in self._sums]

    @property
    def magnitudes(self) -> list[Tensor]:
        """Mean over the prompts of Σ |attribution| over positions, where this is summed."""
        return [sums.size / self._prompts for sums in self._sums]

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
        strengths = [(sums.count / self._prompts, mean.abs() / largest / 2 / self._prompts) for sums, mean in pairs]
        return [torch.where(share > 0, share + ahead, 0) for share, ahead in strengths]


class _Sums:
    """One site's aggregates over prompts, each `[places, width]`: sums of attributions and of their sizes, the largest
    attribution, the count of prompts that reach the threshold, and the mean activation."""

    def __init__(self, layer: int, of: Site, places: int) -> None:
        self._layer, self._places, self.offset = layer, places, of.offset
        self._kind: Kind = "head" if isinstance(of, HeadSite) else "neuron"
        self._width = of.n_heads if isinstance(of, HeadSite) else of.width
        self.total = self.size = self.largest = self.count = self._activation = torch.zeros(places, self._width)
        self._seen = torch.zeros(places, 1)

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
        self._activation = self._activation.to(device) + self._spread(site, site.activation.float(), place, 1)[0]
        per_position = len(site.positions) // int(lengths.sum())  # rows: the experts that each token was sent to
        kept = torch.bincount(place[place >= 0], minlength=self._places) // per_position
        self._seen = self._seen.to(device) + kept[:, None]

    def site(self, values: Tensor) -> SiteRelevance:
        """Values in place of relevance, with a row for each place and positions counted from the end."""
        rows = torch.arange(-self._places, 0, device=values.device)
        mean = self._activation / self._seen.clamp(min=1)
        offsets = torch.full_like(rows, self.offset)
        return SiteRelevance(self._layer, values.clone(), mean, rows, offsets, kind=self._kind)

    def _spread(self, site: SiteRelevance, values: Tensor, place: Tensor, prompts: int) -> Tensor:
        """Rows summed by prompt, or over all where `prompts` is 1, and place: `[prompts, places, width]`."""
        assert site.prompts is not None
        kept, block = place >= 0, (site.offsets - self.offset) // values.shape[1]
        blocks = self._width // values.shape[1]
        prompt = site.prompts if prompts > 1 else torch.zeros_like(site.prompts)
        row = ((prompt * self._places + place) * blocks + block)[kept]
        spread = values.new_zeros(prompts * self._places * blocks, values.shape[1]).index_add_(0, row, values[kept])
        return spread.view(prompts, self._places, self._width)
