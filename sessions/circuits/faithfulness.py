"""Faithfulness: how much of a behaviour a circuit keeps when everything else is ablated.

Let m(C) be the target, averaged over prompts, when the neurons of C are left as they are and every other neuron is held
at its mean (or at zero). M is the set of all neurons, ∅ the empty set:

    faithfulness   (m(C) − m(∅)) / (m(M) − m(∅))      what the circuit alone keeps: 1 all, 0 nothing, above 1 more
    completeness   (m(M∖C) − m(∅)) / (m(M) − m(∅))    what is left without the circuit: 0 is best

The definitions are those of Marks et al. (sparse feature circuits, 2024, after Wang et al., IOI, 2023). Miller et al.
(2024) measure how much they depend on what is ablated, to which value, and where. Here a mean is taken at each
position, counted from the end (`recording.means`): with one mean over all positions the network no longer reads the
text, and no circuit does anything in it. The first position is left as it is: it is an attention sink with activations
like no other position's, so no mean fits it.

1. A ranking, such as a circuit's neurons in their order, gives nested circuits: its first k for each size k.
2. A row of a batch is a prompt with one of these circuits kept, or removed. Rows are padded on the right.
3. A hook at every down projection ablates the neurons. Only the logits of the targets' tokens are computed.

A circuit may hold attention heads, as those of Wang et al. and of MIB (Mueller et al. 2025) do. The units that are held
are those of the kinds that the circuit has: of a circuit of heads all other heads, of a mixed one all other heads and
neurons.

The control is a ranking of random units of the same kind, each from the same layer as one of the circuit's: units of
some layers matter more than others, and a circuit should do better than its layers alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from msgspec import structs
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.attribution import Reference, place_of, refuse_experts
from sessions.circuits.cases import Case
from sessions.circuits.findings import CurveAreas
from sessions.circuits.mean_effects import differences
from sessions.circuits.recording import corrupt_reference
from sessions.events import Progress, Steps
from sessions.model.finite import not_finite
from sessions.model.hooks import Change, on_neurons, together, watched
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.rows import LARGEST_BATCH, batches, padded_rows
from sessions.model.sites import Site
from sessions.model.tokens import last_positions
from sessions.model.units import NEURONS, Kind, Place, Unit

Ranking = Sequence[Unit]
"""Distinct neurons, the most important first. Either all have positions, counted from the end of a prompt, or none."""


@dataclass(frozen=True)
class AblationRun:
    """One run over the prompts. The first `size` neurons of ranking number `ranking` are kept and all others held or,
    with `removed`, these are held and all others kept."""

    ranking: int = 0
    size: int = 0
    removed: bool = False


#: The runs with all neurons held and with none held.
NONE, WHOLE = AblationRun(), AblationRun(removed=True)


@dataclass(frozen=True)
class FaithfulnessCurve:
    """Faithfulness (`kept`) and completeness (`left`) of nested circuits, one value for each size; None where holding
    all neurons does not change the target."""

    kept: tuple[float | None, ...]
    left: tuple[float | None, ...]


@dataclass(frozen=True)
class Measured:
    """The mean target with no neuron held (`whole`) and with all held (`none`), a circuit's curve, and the mean curve
    of random neurons, where some were drawn."""

    whole: float
    none: float
    circuit: FaithfulnessCurve
    control: FaithfulnessCurve | None


def faithfulness(
    opened: OpenModel,
    cases: Sequence[Case],
    ranking: Ranking,
    sizes: Sequence[int],
    constants: Reference | None,
    *,
    controls: int = 0,
    seed: int = 0,
    batch: int = LARGEST_BATCH,
    cancel: Cancel | None = None,
) -> Steps[Measured]:
    """Faithfulness and completeness of a ranking's first neurons, for each size.

    Args:
        constants: the values that units are held at, as in `targets`.
        controls: how many random rankings to draw, from `seed`.

    Raises: as `targets`.
    """
    rankings = [ranking, *(drawn(opened.anatomy, ranking, seed + draw) for draw in range(controls))]
    runs = [
        AblationRun(which, size, removed)
        for which in range(len(rankings))
        for removed in (False, True)
        for size in sizes
    ]
    none, whole, *values = yield from targets(
        opened, cases, rankings, [NONE, WHOLE, *runs], constants, batch=batch, cancel=cancel
    )
    parts = [values[first : first + len(sizes)] for first in range(0, len(values), len(sizes))]
    control = None
    if controls:
        control = curve(none, whole, _mean(parts[2::2]), _mean(parts[3::2]))
    return Measured(whole, none, curve(none, whole, parts[0], parts[1]), control)


def curve(none: float, whole: float, kept: Sequence[float], left: Sequence[float]) -> FaithfulnessCurve:
    """Targets as fractions of the distance from `none` to `whole`."""
    way = whole - none

    def fractions(values: Sequence[float]) -> tuple[float | None, ...]:
        return tuple((value - none) / way if way else None for value in values)

    return FaithfulnessCurve(fractions(kept), fractions(left))


#: The shares of all units at which the curve over all sizes is measured; the last is the whole model.
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def sizes_of(units: int) -> tuple[int, ...]:
    """The numbers of units at these shares of all, each once."""
    return tuple(dict.fromkeys(max(1, round(share * units)) for share in SHARES))


def areas(shares: Sequence[float], kept: Sequence[float | None], units: int) -> CurveAreas | None:
    """The areas of a curve at some shares of all `units`; None where f is undefined."""
    values = [value for value in kept if value is not None]
    if len(values) < len(shares):
        return None

    def area(heights: Sequence[float]) -> float:
        pairs = zip(shares, shares[1:], heights, heights[1:], strict=False)
        return sum((right - left) * (low + high) / 2 for left, right, low, high in pairs)

    return CurveAreas(cpr=area(values), cmd=area([abs(1 - value) for value in values]), units=units)


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def ranked(neurons: Sequence[Unit], length: int | None = None) -> tuple[Unit, ...]:
    """Neurons in their order as a ranking; a duplicate keeps its better rank.

    The ranking has positions if all neurons have them, counted from the end or in a prompt of `length` tokens.
    """
    anchored = [
        neuron if neuron.position is None or length is None else _from_end(neuron, length) for neuron in neurons
    ]
    if any(neuron.position is None or neuron.position >= 0 for neuron in anchored):
        anchored = [structs.replace(neuron, position=None) for neuron in anchored]
    first: dict[Place, Unit] = {}
    for neuron in anchored:
        first.setdefault(neuron.place, neuron)
    return tuple(first.values())


def _from_end(neuron: Unit, length: int) -> Unit:
    return structs.replace(neuron, position=(neuron.counted(length).position or 0) - length)


def drawn(anatomy: Anatomy, ranking: Ranking, seed: int) -> tuple[Unit, ...]:
    """A random ranking: for each neuron another of the same layer at the same position, without duplicates."""
    generator = torch.Generator().manual_seed(seed)
    left: dict[Place, list[int]] = {}
    others = []
    for unit in ranking:
        where = unit.place._replace(number=0)
        if where not in left:
            left[where] = torch.randperm(anatomy.counts(unit.kind)[unit.layer], generator=generator).tolist()
        others.append(Unit(unit.layer, left[where].pop(), unit.position, kind=unit.kind))
    return tuple(others)


def targets(
    opened: OpenModel,
    cases: Sequence[Case],
    rankings: Sequence[Ranking],
    runs: Sequence[AblationRun],
    constants: Reference | None,
    *,
    batch: int = LARGEST_BATCH,
    cancel: Cancel | None = None,
) -> Steps[tuple[float, ...]]:
    """The mean target of the cases in each run, in logits.

    Args:
        rankings: the rankings that `run.ranking` indexes; all with positions, or all without.
        constants: the values of held units, without positions or with ones counted from the end, or those in the
            corrupt prompt of each case (`CORRUPT`); None for zero.
            Positions further back than the first row take the first row.
        batch: tokens computed at once, padding included.

    Raises:
        UsageError: a neuron that the model does not have.
        ModelError: a mixture of experts, whose neurons have no means; or a target's value is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    anatomy = opened.anatomy
    refuse_experts(anatomy, "faithfulness")
    kinds = kinds_of(rankings)
    sites = [site for _, site in anatomy.unit_sites(kinds)]
    zeros = tuple(torch.zeros(site.width) for site in sites)
    corrupt = constants is not None and constants.corrupt
    held = zeros if constants is None or corrupt else constants.by_site(anatomy, kinds)
    pieces = [HeldSite(*piece) for piece in zip(sites, _tables(anatomy, rankings, kinds), held, strict=True)]
    sums = [0.0] * len(runs)
    done, total = 0, len(runs) * len(cases)
    for removed in (False, True):
        pairs = [
            (run, case)
            for run, ablation in enumerate(runs)
            if ablation.removed == removed
            for case in range(len(cases))
        ]
        for rows in batches([len(cases[case].ids) for _, case in pairs], batch):
            yield Progress("faithfulness", done, total, "runs")
            part = [pairs[row] for row in rows]
            stack = _Stack([cases[case] for _, case in part], [runs[run] for run, _ in part], removed)
            with watched(opened.anatomy, cancel):
                here = pieces if not corrupt else stack.held_at_corrupt(opened, pieces, kinds)
                values = stack.values(opened, here)
            for (run, _), value in zip(part, values, strict=True):
                sums[run] += value
            done += len(part)
    return tuple(total / len(cases) for total in sums)


@dataclass(frozen=True)
class _Table:
    """The units of one site that are in any ranking: their coordinates `columns` `[n]`, and the rank of each in each
    ranking, `[rankings, positions, n]` with the last position last; the rank of an unranked neuron is larger than any
    size. Neurons without positions have one position for all: `everywhere`."""

    columns: Tensor
    ranks: Tensor
    everywhere: bool


@dataclass(frozen=True)
class HeldSite:
    """A site, the table of its ranked units, and the values that the others are held at: `[width]`,
    `[positions, width]` or, for the rows of one batch, `[rows, seq, width]`."""

    site: Site
    table: _Table | None
    constants: Tensor


def kinds_of(rankings: Sequence[Ranking]) -> tuple[Kind, ...]:
    """The kinds of units in some rankings: what is held where a circuit is kept are the other units of these kinds."""
    present = {unit.kind for ranking in rankings for unit in ranking}
    return tuple(kind for kind in ("neuron", "head", "expert") if kind in present) or NEURONS


def _tables(anatomy: Anatomy, rankings: Sequence[Ranking], kinds: Collection[Kind]) -> list[_Table | None]:
    """A table for each site; None for those without a neuron."""
    entries: dict[int, list[tuple[int, int, int, int]]] = {}
    furthest, everywhere = -1, True
    for which, ranking in enumerate(rankings):
        for rank, neuron in enumerate(ranking):
            place = place_of(anatomy, neuron, kinds)
            position = -1 if neuron.position is None else neuron.position
            furthest, everywhere = min(furthest, position), everywhere and neuron.position is None
            columns = range(place.first, place.first + place.width)
            entries.setdefault(place.site, []).extend((which, position, column, rank) for column in columns)
    sites = len(anatomy.unit_sites(kinds))
    shape = len(rankings), -furthest
    return [_table(entries[site], shape, everywhere) if site in entries else None for site in range(sites)]


def _table(entries: Sequence[tuple[int, int, int, int]], shape: tuple[int, int], everywhere: bool) -> _Table:
    which, position, local, rank = torch.tensor(entries).T
    columns, column = local.unique(return_inverse=True)
    ranks = torch.full((*shape, len(columns)), torch.iinfo(torch.long).max)
    ranks[which, position, column] = rank
    return _Table(columns, ranks, everywhere)


@dataclass(frozen=True)
class _Stack:
    """Rows of one batch: row r is `cases[r]` under `runs[r]`. Either all runs keep the neurons of a ranking, or all
    remove them."""

    cases: Sequence[Case]
    runs: Sequence[AblationRun]
    removed: bool

    @torch.inference_mode()
    def values(self, opened: OpenModel, pieces: Sequence[HeldSite]) -> list[float]:
        """The target of each row."""
        anatomy = opened.anatomy
        hooks = [on_neurons(piece.site, self._change(piece.table, piece.constants)) for piece in pieces]
        texts = [case.ids for case in self.cases]
        lengths = [len(text) for text in texts]
        wanted = torch.tensor([case.wanted for case in self.cases])
        with together(hooks), padded_rows(opened, texts) as ids, differences(anatomy, lengths, wanted) as read:
            out = opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(ids.shape[1], ids))
            numbers: list[float] = read(out.logits).tolist()
            if not all(map(math.isfinite, numbers)):
                raise not_finite(opened, texts, "a target's value", [repr(case.asked.prompt) for case in self.cases])
        return numbers

    def held_at_corrupt(self, opened: OpenModel, pieces: Sequence[HeldSite], kinds: Collection[Kind]) -> list[HeldSite]:
        """The pieces with the activations in the corrupt prompt of each row's case."""
        cases = {id(case): case for case in self.cases}
        numbers = {key: number for number, key in enumerate(cases)}
        read = corrupt_reference(opened, list(cases.values())).by_site(opened.anatomy, kinds)
        rows = [numbers[id(case)] for case in self.cases]
        return [replace(piece, constants=values[rows]) for piece, values in zip(pieces, read, strict=True)]

    def _change(self, table: _Table | None, constants: Tensor) -> Change:
        by_row = constants.ndim == 3
        constants = constants if by_row else constants.reshape(-1, constants.shape[-1])

        def change(activations: Tensor, _: object) -> Tensor:
            rows = activations.reshape(len(self.cases), -1, activations.shape[-1])
            values = constants.to(rows)
            if not by_row:
                place = self._place(rows.shape[1], len(constants)).clamp(0, len(constants) - 1)
                values = values[place.to(rows.device)]
            changed = rows.clone() if self.removed else values.clone()
            if table is not None:
                columns = table.columns.to(rows.device)
                chosen = (values if self.removed else rows)[..., columns]
                within = self._within(table, rows.shape[1]).to(rows.device)
                changed[..., columns] = torch.where(within, chosen, changed[..., columns])
            changed[:, 0] = rows[:, 0]
            return changed.reshape(activations.shape)

        return change

    def _place(self, seq: int, places: int) -> Tensor:
        """The place of each position, `[rows, seq]`, of `places` in all, the last at the end of the prompt."""
        lengths = torch.tensor([len(case.ids) for case in self.cases])[:, None]
        return torch.arange(seq) - lengths + places

    def _within(self, table: _Table, seq: int) -> Tensor:
        """Which neurons of a table are in the circuit of each row's run, `[rows, 1 or seq, n]`."""
        sizes = torch.tensor([run.size for run in self.runs])[:, None, None]
        within = table.ranks[[run.ranking for run in self.runs]] < sizes
        if table.everywhere:
            return within
        places = within.shape[1]
        place = self._place(seq, places)[..., None]
        here = within.gather(1, place.clamp(0, places - 1).expand(-1, -1, within.shape[2]))
        return here & (place >= 0) & (place < places)
