"""Grids: activation patching over layers and positions, heads, or neurons, for one pair of prompts or many.

A pair is a clean prompt and a corrupt one of the same length. One of them runs, the base, and each cell of the grid
replaces some of its activations by those of the other (Vig et al. 2020, arXiv:2004.12265; Meng et al. 2022,
arXiv:2202.05262; Wang et al. 2022, arXiv:2211.00593; on choosing between the two directions Heimersheim and Nanda 2024,
arXiv:2404.15255):

    denoise    the corrupt prompt runs, clean activations are put in: what suffices to bring the target back
    noise      the clean prompt runs, corrupt activations are put in: what the target needs

The number of a cell is the fraction of the way from the base to the other prompt. With m the target's value and the
sums over the pairs:

    Σ (m(patched) − m(base)) / Σ (m(other) − m(base))         0 nothing, 1 everything

Sums are taken before the division, so a pair whose two prompts differ little does not blow up. The interval of a cell
is between the 2.5th and the 97.5th percentile of that number over pairs drawn with replacement, as many as there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.cases import Case, logits_of
from sessions.circuits.verification import ExactEffects
from sessions.events import Progress, Steps
from sessions.model.opening import OpenModel
from sessions.model.units import Unit
from sessions.patching.patches import STATES, Direction, Patch, PatchSite, Piece, SiteAt
from sessions.patching.paths import Paths, Receiver, path_sites, site_of
from sessions.patching.replaying import Recording, Replay, parts_of, recorded

#: How often pairs are drawn for an interval.
DRAWS = 2000
_ENDS = torch.tensor([0.025, 0.975], dtype=torch.float64)


class CellAt(NamedTuple):
    """A cell: its layer, and its column, a number among the plan's positions or, of heads, the head."""

    layer: int
    column: int


@dataclass(frozen=True)
class GridPlan:
    """What is patched: a site in some layers at some positions, which count from the end where they are below 0.

    A cell is a layer and a position; for heads a layer and a head, patched at all these positions. With `units`, a cell
    is a neuron or a head at its own position, or at all of these, and the last cell is all of them together. With a
    `window`, a cell is that many layers around its own, as far as the model reaches. `columns` counts the cells of a
    layer.
    """

    site: PatchSite
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    columns: int
    n_layers: int
    units: tuple[Unit, ...] = ()
    window: int = 1

    @property
    def cells(self) -> tuple[CellAt, ...]:
        """Layer by layer; for units none."""
        if self.units:
            return ()
        return tuple(CellAt(layer, column) for layer in self.layers for column in range(self.columns))

    @property
    def touched(self) -> tuple[SiteAt, ...]:
        """All sites that a cell changes."""
        if self.units:
            return tuple(dict.fromkeys(site_of(unit) for unit in self.units))
        layers = sorted({near for layer in self.layers for near in self._around(layer)})
        return tuple(SiteAt(self.site, layer) for layer in layers)

    def _around(self, layer: int) -> range:
        first = layer - self.window // 2
        return range(max(0, first), min(self.n_layers, first + self.window))

    def patches(self, length: int) -> list[Patch]:
        """The patch of each cell in a text of `length` tokens."""
        places = [position % length for position in self.positions]
        if self.units:
            alone = [tuple(_pieces(unit, length, places)) for unit in self.units]
            together = tuple(dict.fromkeys(piece for patch in alone for piece in patch))
            return [*alone, together] if len(alone) > 1 else alone
        if self.site in STATES:
            return [
                tuple(Piece(SiteAt(self.site, near), places[column]) for near in self._around(layer))
                for layer, column in self.cells
            ]
        return [
            tuple(Piece(SiteAt(self.site, layer), position, part) for position in places) for layer, part in self.cells
        ]


def _pieces(unit: Unit, length: int, places: Sequence[int]) -> Iterator[Piece]:
    own = unit.counted(length).position
    for position in places if own is None else [own]:
        yield Piece(site_of(unit), position, unit.index)


def plan(
    opened: OpenModel,
    site: PatchSite,
    layers: Sequence[int],
    positions: Sequence[int],
    *,
    units: Sequence[Unit] = (),
    window: int = 1,
) -> GridPlan:
    """The plan of a grid on this model.

    Raises:
        UsageError: the model has no such unit.
        ModelError: the heads of a layer cannot be told apart.
    """
    anatomy = opened.anatomy
    for unit in units:
        anatomy.coordinates(unit)
    if site == "heads" and not units:
        layers = [layer for layer in layers if anatomy.layers[layer].heads is not None] or layers
    columns = len(positions)
    if site not in STATES and not units:
        columns = max(parts_of(anatomy, SiteAt(site, layer)) for layer in layers)
    return GridPlan(site, tuple(layers), tuple(positions), columns, anatomy.n_layers, tuple(units), window)


class Grid:
    """The values of a grid's cells as they are computed.

    `base` and `other` are the values of the target in the unpatched runs, `[runs]`; `values` those with each cell
    patched, `[runs, cells]`, NaN as long as they are unknown. A run is a pair or, in causal tracing, a draw of noise.
    """

    def __init__(self, runs: int, cells: int) -> None:
        self.base = torch.full((runs,), torch.nan, dtype=torch.float64)
        self.other = self.base.clone()
        self.values = torch.full((runs, cells), torch.nan, dtype=torch.float64)

    @property
    def done(self) -> int:
        """How many values are known."""
        return int(self.values.isfinite().sum())

    def fractions(self) -> Tensor:
        """The fraction of the way from base to other for each cell, `[cells]`, over the runs that are done."""
        known = self.values.isfinite()
        moved = torch.where(known, self.values - self.base[:, None], 0.0).sum(0)
        return moved / torch.where(known, (self.other - self.base)[:, None], 0.0).sum(0)

    def means(self) -> Tensor:
        """The mean value of each cell, `[cells]`, over the runs that are done."""
        return self.values.nanmean(0)

    def fraction_intervals(self, cells: Sequence[int], seed: int) -> list[tuple[float, float] | None]:
        """The 95% bootstrap interval of the fraction of each of some cells; None with fewer than two runs."""
        moved, whole = self.values[:, list(cells)] - self.base[:, None], self.other - self.base
        return _intervals(moved, whole, seed)

    def mean_intervals(self, cells: Sequence[int], seed: int) -> list[tuple[float, float] | None]:
        """The 95% bootstrap interval of the mean of each of some cells; None with fewer than two runs."""
        return _intervals(self.values[:, list(cells)], torch.ones_like(self.base), seed)


def _intervals(tops: Tensor, bottoms: Tensor, seed: int) -> list[tuple[float, float] | None]:
    """Percentiles of Σ tops / Σ bottoms over runs drawn with replacement: `tops` are `[runs, cells]`."""
    runs, cells = tops.shape
    if runs < 2 or not cells:
        return [None] * cells
    drawn = torch.randint(runs, (DRAWS, runs), generator=torch.Generator().manual_seed(seed))
    counts = torch.zeros(DRAWS, runs, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())
    ratios = (counts @ tops) / (counts @ bottoms)[:, None]
    low, high = ratios.nanquantile(_ENDS, dim=0).tolist()
    return list(zip(low, high, strict=True))


def corrupt_targets(
    opened: OpenModel, cases: Sequence[Case], *, batch: int | None = None, cancel: Cancel | None = None
) -> list[float]:
    """The target of each pair in its corrupt prompt: the logit of the target minus that of the counterfactual."""
    texts = [case.corrupt.ids for case in cases if case.corrupt is not None]
    values = [0.0] * len(texts)
    for rows, logits in logits_of(opened, texts, batch, cancel):
        for row, last in zip(rows, logits, strict=True):
            wanted, other = cases[row].wanted
            values[row] = float(last[wanted] - last[other])
    return values


def pair_runs(
    opened: OpenModel,
    case: Case,
    chosen: GridPlan,
    direction: Direction,
    cancel: Cancel | None = None,
    *,
    of_base: Sequence[SiteAt] = (),
) -> tuple[Recording, Recording]:
    """Record the two prompts of a pair: the base, with the sites `of_base` too, and the one that activations are taken
    from.

    Raises:
        ModelError: a layer has no such site.
        NotFinite: the target's value is not finite in one of them.
    """
    assert case.corrupt is not None, "a pair has two prompts"
    texts = [case.corrupt.ids, case.encoded.ids]
    base, source = texts if direction == "denoise" else texts[::-1]
    return (
        recorded(opened, base, case.target, (*of_base, *chosen.touched), cancel=cancel),
        recorded(opened, source, case.target, chosen.touched, cancel=cancel),
    )


def fill(
    opened: OpenModel,
    cases: Sequence[Case],
    chosen: GridPlan,
    direction: Direction,
    grid: Grid,
    *,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[None]:
    """Compute a grid for all pairs, one after the other. `grid` can be read between two steps.

    Args:
        batch: tokens computed at once, which bounds the memory; by default as many as memory allows.

    Raises:
        ModelError: a layer has no such site.
        NotFinite: a value of the target is not finite.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    total = grid.values.numel()
    for run, case in enumerate(cases):
        yield Progress("patching", grid.done, total, "cells")
        base, source = pair_runs(opened, case, chosen, direction, cancel)
        grid.base[run], grid.other[run] = base.value, source.value
        replay = Replay(opened, base, source, case.target, batch=batch, cancel=cancel)
        for cells, values in replay.values(chosen.patches(len(base.ids))):
            grid.values[run, cells] = torch.tensor(values, dtype=torch.float64)
            yield Progress("patching", grid.done, total, "cells")


def fill_paths(
    opened: OpenModel,
    cases: Sequence[Case],
    chosen: GridPlan,
    receiver: Receiver,
    direction: Direction,
    grid: Grid,
    *,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[None]:
    """As `fill`, for the paths from the units of a plan to one receiver.

    Raises:
        UsageError: a unit is not below the receiver.
        ModelError: a layer has no one place where its attention or MLP writes, or heads cannot be told apart.
    """
    receiver.check(opened.anatomy, chosen.units)
    writes = path_sites(opened.anatomy)
    for run, case in enumerate(cases):
        yield Progress("patching", grid.done, grid.values.numel(), "paths")
        base, other = pair_runs(opened, case, chosen, direction, cancel, of_base=writes)
        grid.base[run], grid.other[run] = base.value, other.value
        paths = Paths(opened, base, other, receiver, case.target, batch=batch, cancel=cancel)
        for cells, values in paths.values(chosen.patches(len(base.ids))):
            grid.values[run, cells] = torch.tensor(values, dtype=torch.float64)
            yield Progress("patching", grid.done, grid.values.numel(), "paths")


def corrupt_effects(
    opened: OpenModel,
    cases: Sequence[Case],
    units: Sequence[Unit],
    *,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[ExactEffects]:
    """The mean exact effect of each unit where it is held at its activations in the corrupt prompts, position by
    position: the target minus its value then, a mean over the cases.

    Args:
        units: one without a position is changed at all of them; one below 0 counts from each prompt's end.

    Raises: as `fill`.
    """
    sums, total, done = [0.0] * len(units), 0.0, 0
    sites = tuple(dict.fromkeys(site_of(unit) for unit in units))
    for case in cases:
        assert case.corrupt is not None, "a pair has two prompts"
        clean, corrupt = (
            recorded(opened, ids, case.target, sites, cancel=cancel) for ids in (case.ids, case.corrupt.ids)
        )
        total += clean.value
        patches = [tuple(_pieces(unit, len(case.ids), range(len(case.ids)))) for unit in units]
        replay = Replay(opened, clean, corrupt, case.target, batch=batch, cancel=cancel)
        for numbers, values in replay.values(patches):
            for number, value in zip(numbers, values, strict=True):
                sums[number] += clean.value - value
            done += len(numbers)
            yield Progress("verifying", done, len(cases) * len(units), "effects")
    return ExactEffects(total / len(cases), tuple(effect / len(cases) for effect in sums))
