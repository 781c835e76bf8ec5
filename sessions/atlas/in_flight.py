"""Folding on an accelerator: the host sends pass after pass, and waits for one copy a batch.

What has a size that is known is computed while a pass goes by: moments, histogram, and at each site how many values
exceed the bars. The activations stay until these counts, of all sites in one tensor, are on the host. Then every size
is known: the newcomers are picked and merged, and nothing waits for anything. The counts of a batch are read when the
next one has been sent, so the device always has work.

The bars are those of the time of the pass. They have risen since if another batch was merged meanwhile: then a few more
values are merged than can be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sessions.atlas.extremes import first_largest, merge
from sessions.atlas.folding import AT_ONCE, Running, bins_of, counted_rows
from sessions.model.homes import widest

#: Newcomers are merged in a table, a column a neuron, if it is smaller than the activations by this factor.
_SMALLER = 4


@dataclass(frozen=True)
class Left:
    """What a pass has left on the device at one site.

    `values` is `[n, width]`, at `places`, `[n]`, -1 where a position does not count; of experts, `[n, d_expert]`, and
    `experts` says of which each row is. `bars` is `[2 · width]`, as `Running.best`. `counts` has the numbers that the
    host needs: how many newcomers there are above, and of one neuron at most, the same below, whether all sums are
    finite, and of experts how many positions each has.
    """

    running: Running
    values: Tensor
    places: Tensor
    experts: Tensor | None
    bars: Tensor
    counts: Tensor

    @classmethod
    def of(
        cls, running: Running, values: Tensor, places: Tensor, experts: Tensor | None = None, seen: int | None = None
    ) -> Left:
        """Take in the moments and the histogram of a pass, and count its newcomers."""
        bars, numbers = running.best[-1].clone(), values.float()
        if experts is None:
            _sum(running, numbers)
            for part, weight in counted_rows(numbers, seen):
                for rows in part.split(AT_ONCE):
                    running.count_bins(rows, weight)
            of_each = places.new_empty(0)
        else:
            of_each = _sum_experts(running, numbers, places, experts)
        left = cls(running, values, places, experts, bars, of_each)
        counts = []
        for sign in (1, -1):
            exceeding = left.exceeding(numbers, sign)
            counts += [exceeding.sum(), left.by_neuron(exceeding).amax()]
        counts.append(running.squares.isfinite().all().long())
        return cls(running, values, places, experts, bars, torch.cat([torch.stack(counts), of_each]))

    @property
    def bytes(self) -> int:
        return self.values.nbytes

    def exceeding(self, numbers: Tensor, sign: int) -> Tensor:
        """Which activations exceed their bars, times `sign`: `[n, width of values]`."""
        bars = self.bars.view(2, -1)[0 if sign == 1 else 1]
        if self.experts is None:
            return numbers > bars if sign == 1 else numbers < -bars
        bars = bars.view(-1, self.values.shape[1])[self.experts]
        return ((numbers > bars) if sign == 1 else (numbers < -bars)) & (self.places >= 0)[:, None]

    def by_neuron(self, exceeding: Tensor) -> Tensor:
        """How many of each neuron's activations are true, `[width]`."""
        if self.experts is None:
            return exceeding.sum(0)
        counts = exceeding.new_zeros(self.running.width, dtype=torch.int64).view(-1, exceeding.shape[1])
        return counts.index_add_(0, self.experts, exceeding.long()).view(-1)

    def merge(self, counts: Sequence[int]) -> None:
        """Merge the newcomers; `counts` has the numbers of `self.counts`."""
        numbers, of_each = self.values.float(), counts[5:]
        for sign, newcomers, most in ((1, *counts[:2]), (-1, *counts[2:4])):
            if newcomers and most * self.running.width * _SMALLER <= numbers.numel():
                self._merge_few(numbers, sign, newcomers, most)
            elif newcomers and self.experts is None:
                new, rows = first_largest(numbers * sign, len(self.running.best))
                merge(*self._best(sign), slice(None), new, self.places[rows])
            elif newcomers:
                self._merge_experts(numbers, sign, of_each)

    def _best(self, sign: int) -> tuple[Tensor, Tensor]:
        """The statistics that the values times `sign` belong to, and their places."""
        running = self.running
        return (running.high, running.high_at) if sign == 1 else (running.deep, running.deep_at)

    def _merge_few(self, numbers: Tensor, sign: int, newcomers: int, most: int) -> None:
        """Merge so many newcomers, of one neuron at most so many."""
        width, device = self.running.width, numbers.device
        row, inner = torch.nonzero_static(self.exceeding(numbers, sign), size=newcomers).unbind(1)
        neuron = inner if self.experts is None else self.experts[row] * numbers.shape[1] + inner
        neuron, order = neuron.sort(stable=True)
        row, inner = row[order], inner[order]
        counts = torch.zeros(width, dtype=torch.int64, device=device).scatter_add_(0, neuron, torch.ones_like(neuron))
        rank = torch.arange(newcomers, device=device) - (counts.cumsum(0) - counts)[neuron]
        at = rank * width + neuron
        new = torch.full((most * width,), -torch.inf, device=device).scatter_(0, at, numbers[row, inner] * sign)
        places = torch.full((most * width,), -1, device=device).scatter_(0, at, self.places[row])
        merge(*self._best(sign), slice(None), new.view(most, width), places.view(most, width))

    def _merge_experts(self, numbers: Tensor, sign: int, of_each: Sequence[int]) -> None:
        """Merge the largest of each expert, which has so many of the positions."""
        assert self.experts is not None
        (best, best_at), inner, start = self._best(sign), numbers.shape[1], 0
        order = self.experts.where(self.places >= 0, len(of_each)).argsort(stable=True)
        for expert, count in enumerate(of_each):
            rows = order[start : start + count]
            start += count
            if count:
                columns = slice(expert * inner, (expert + 1) * inner)
                new, at = first_largest(numbers[rows] * sign, len(best))
                merge(best[:, columns], best_at[:, columns], slice(None), new, self.places[rows][at])


def _sum(running: Running, numbers: Tensor) -> None:
    """Add a batch to the moments."""
    running.count += len(numbers)
    running.total += numbers.sum(0)
    running.squares += (numbers * numbers).sum(0)
    running.sizes += numbers.abs().sum(0)
    if not running.gated:
        running.positive += (numbers > 0).sum(0)


def _sum_experts(running: Running, numbers: Tensor, places: Tensor, experts: Tensor) -> Tensor:
    """Add a batch of experts' activations to moments and histogram; returns how many positions each expert has."""
    inner, counted = numbers.shape[1], (places >= 0)[:, None]
    numbers = numbers.where(counted, 0).to(widest(numbers.device))
    for sums, each in ((running.total, numbers), (running.squares, numbers * numbers), (running.sizes, numbers.abs())):
        sums.view(-1, inner).index_add_(0, experts, each)
    of_each = torch.zeros(running.width // inner, dtype=torch.int64, device=places.device)
    of_each.index_add_(0, experts, counted[:, 0].long())
    running.count += of_each.repeat_interleave(inner, output_size=running.width)
    neurons = experts[:, None] * inner + torch.arange(inner, device=places.device)
    for rows, at, ones in zip(*(each.split(AT_ONCE) for each in (numbers, neurons, counted)), strict=True):
        flat = bins_of(rows.float()).long() * running.width + at
        weights = ones.int().expand_as(flat).reshape(-1)
        running.histogram.view(-1).scatter_add_(0, flat.view(-1), weights)
    return of_each


class Flight:
    """What a batch has left on the devices, and its counts on their way to the host."""

    def __init__(self, left: Sequence[Left]) -> None:
        self._left = tuple(left)
        self._sizes = [len(each.counts) for each in self._left]
        device = self._left[0].counts.device
        counts = torch.cat([each.counts.to(device, non_blocking=True) for each in self._left])
        self._arrived: torch.cuda.Event | None = None
        if device.type == "cuda":
            counts = counts.to("cpu", non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(device))
        self._counts = counts

    @torch.inference_mode()
    def land(self) -> None:
        """Wait for the counts, and merge what is new."""
        if self._arrived is not None:
            self._arrived.synchronize()
        counts = self._counts.tolist()
        for left, size in zip(self._left, self._sizes, strict=True):
            mine, counts = counts[:size], counts[size:]
            left.merge(mine)
            left.running.spoilt |= not mine[4]
