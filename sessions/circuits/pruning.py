"""Pruning: from the relevance of every unit at every position to the few that make a circuit.

Candidates are all units at all positions, without excluded positions (the BOS token) and neurons (universal ones)
and, on request, only the strongest of each layer. Of the candidates a `CircuitSize` keeps a number, those above a share
of the target, or the smallest set that holds a share of all |relevance|.

A prompt of 512 tokens has tens of millions of candidates and a circuit has hundreds. A row of the
relevance matrix (one position of one layer) can hold one of the n strongest only if its own maximum
is among the n largest row maxima, so one pass for the maxima is followed by a `topk` over n rows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from sessions.circuits.attribution import Attribution, SiteRelevance
from sessions.errors import UsageError
from sessions.model.homes import widest
from sessions.model.units import Unit


@dataclass(frozen=True)
class CircuitSize:
    """How many candidates become the circuit; by default the `count` strongest.

    `percentage` keeps neurons whose |attribution| is at least that many percent of |target|.
    `cumulative` keeps the fewest neurons that hold that fraction of the candidates' Σ|attribution|.
    `per_layer` first reduces each layer to its strongest; `count` always caps the result.
    """

    count: int | None = None
    percentage: float | None = None
    cumulative: float | None = None
    per_layer: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.per_layer is not None:
            parts.append(f"top {self.per_layer} a layer")
        if self.percentage is not None:
            parts.append(f"at least {self.percentage:g} % of the target")
        if self.cumulative is not None:
            parts.append(f"{self.cumulative:g} of all |attribution|")
        if self.count is not None:
            parts.append(f"top {self.count}")
        return ", ".join(parts) or "all"


@dataclass(frozen=True)
class Candidates:
    """The candidates: sites with everything excluded set to zero, and sums over what remains.

    `total` is Σ attribution, `number` counts the candidates.
    """

    sites: tuple[SiteRelevance, ...]
    total: float
    number: int


@torch.no_grad()
def candidates(
    attribution: Attribution,
    *,
    without_positions: Collection[int] = (),
    without_neurons: Collection[tuple[int, int]] = (),
    layers: Collection[int] | None = None,
    positions: Collection[int] | None = None,
    length: int = 0,
) -> Candidates:
    """Exclude positions, (layer, index) neurons, all layers but `layers`, and all positions but `positions`, where
    those below 0 count from the end of `length` tokens. Changes the relevance in place."""
    sites = tuple(site for site in attribution.sites if layers is None or site.layer in layers)
    total, number = 0.0, 0
    for site in sites:
        number += site.relevance.numel()
        left_out = ~kept_at(site.positions, site.positions - length, without_positions, positions)
        site.relevance[left_out] = 0
        number -= int(left_out.sum()) * site.relevance.shape[1]
        for layer, index in without_neurons:
            if layer == site.layer and site.kind == "neuron":
                number -= _leave_out(site, index, ~left_out)
        total += float(site.relevance.sum())
    return Candidates(sites, total, number)


def kept_at(positions: Tensor, from_end: Tensor, without: Collection[int], only: Collection[int] | None) -> Tensor:
    """A mask of positions, given from the start and from the end: those in `only`, if given, and not in `without`."""
    kept = ~torch.isin(positions, positions.new_tensor(list(without)))
    if only is None:
        return kept
    wanted = positions.new_tensor(list(only))
    return kept & (torch.isin(positions, wanted) | torch.isin(from_end, wanted))


def _leave_out(site: SiteRelevance, index: int, counted: Tensor) -> int:
    """Zero one neuron at all positions; returns how many of these places were `counted`."""
    width = site.relevance.shape[1]
    rows = (site.offsets <= index) & (index < site.offsets + width)
    if not bool(rows.any()):
        return 0
    site.relevance[rows, index - site.offsets[rows]] = 0
    return int((rows & counted).sum())


def choose(ranked: Candidates, choice: CircuitSize, target: float) -> tuple[Unit, ...]:
    """The chosen neurons, strongest |attribution| first.

    Args:
        target: value of the target, which `percentage` refers to.

    Raises:
        UsageError: nothing is left to choose.
    """
    limit = ranked.number if choice.count is None else min(choice.count, ranked.number)
    if choice.per_layer is not None:
        entries = _strongest_of_each_layer(ranked.sites, choice.per_layer, limit)
    elif choice.count is not None:
        entries = _strongest(ranked.sites, limit)
    else:
        entries = _enough(ranked, choice, target)
    wanted = _wanted(entries.strength, ranked, choice, target)
    neurons = _neurons(ranked.sites, entries, wanted)
    if not neurons:
        raise UsageError(
            f"no unit is left after choosing {choice} of {ranked.number} candidates",
            "ask for more, such as --top 200",
        )
    return neurons


@dataclass(frozen=True)
class _Entries:
    """Chosen places, strongest first: site, row, column, and |relevance| there."""

    strength: Tensor
    site: Tensor
    row: Tensor
    column: Tensor


def _strongest(sites: tuple[SiteRelevance, ...], n: int) -> _Entries:
    """The n places with the largest |relevance|."""
    device = sites[0].relevance.device  # layers may be spread over several devices
    maxima = torch.cat([_row_maxima(site.relevance).to(device) for site in sites])
    counts = torch.tensor([len(site.positions) for site in sites], device=device)
    origin = torch.arange(len(sites), device=device).repeat_interleave(counts)
    within = torch.cat([torch.arange(len(site.positions), device=device) for site in sites])
    _, best = maxima.topk(min(n, len(maxima)))
    widest = max(site.relevance.shape[1] for site in sites)
    # Rows of sites of different widths are padded with −1, below any |relevance|.
    rows = maxima.new_full((len(best), widest), -1.0)
    for number, site in enumerate(sites):
        here = origin[best] == number
        of_site = site.relevance[within[best[here]].to(site.relevance.device)]
        rows[here, : site.relevance.shape[1]] = of_site.abs().to(device)
    strength, flat = rows.flatten().topk(min(n, rows.numel()))
    flat = flat[strength >= 0]
    chosen = best[flat // widest]
    return _Entries(strength[strength >= 0], origin[chosen], within[chosen], flat % widest)


def _row_maxima(relevance: Tensor) -> Tensor:
    """max |x| over each row, without allocating |x|."""
    low, high = torch.aminmax(relevance, dim=-1)
    return torch.maximum(-low, high)


def _strongest_of_each_layer(sites: tuple[SiteRelevance, ...], per_layer: int, n: int) -> _Entries:
    """The n strongest places among the `per_layer` strongest of each layer."""
    parts, first = [], 0
    for _, group in groupby(sites, key=lambda site: site.layer):
        members = tuple(group)
        part = _strongest(members, per_layer)
        parts.append((part.strength, part.site + first, part.row, part.column))
        first += len(members)
    device = parts[0][0].device
    strength, *where = (torch.cat([c.to(device) for c in columns]) for columns in zip(*parts, strict=True))
    order = strength.topk(min(n, len(strength))).indices
    return _Entries(strength[order], *(column[order] for column in where))


def _enough(ranked: Candidates, choice: CircuitSize, target: float) -> _Entries:
    """As many of the strongest as the choice keeps, found by doubling a guess."""
    n = 1024
    while True:
        entries = _strongest(ranked.sites, min(n, ranked.number))
        if n >= ranked.number or _wanted(entries.strength, ranked, choice, target) < len(entries.strength):
            return entries
        n *= 2


def _wanted(strength: Tensor, ranked: Candidates, choice: CircuitSize, target: float) -> int:
    """How many of these entries, strongest first, the choice keeps; zeros are never kept."""
    keep = strength > 0
    if choice.percentage is not None:
        keep &= strength >= abs(target) * choice.percentage / 100
    if choice.cumulative is not None:
        everything = sum(float(site.relevance.abs().sum()) for site in ranked.sites)
        exact = strength.to(widest(strength.device))
        before = exact.cumsum(0) - exact
        keep &= before < choice.cumulative * everything
    return int(keep.sum())


def _neurons(sites: tuple[SiteRelevance, ...], entries: _Entries, wanted: int) -> tuple[Unit, ...]:
    """Entries as `Unit`s, with values read one site at a time."""
    ranked: list[tuple[int, Unit]] = []
    for number, site in enumerate(sites):
        ranks = (entries.site[:wanted] == number).nonzero()[:, 0]
        if not len(ranks):
            continue
        place = site.relevance.device
        rows, columns = entries.row[ranks].to(place), entries.column[ranks].to(place)
        gathered = zip(
            ranks.tolist(),
            (site.offsets[rows] + columns).tolist(),
            site.positions[rows].tolist(),
            site.relevance[rows, columns].tolist(),
            site.activation[rows, columns].tolist(),
            strict=True,
        )
        ranked += [
            (rank, Unit(site.layer, index, at, value, act, kind=site.kind)) for rank, index, at, value, act in gathered
        ]
    return tuple(neuron for _, neuron in sorted(ranked, key=lambda pair: pair[0]))
