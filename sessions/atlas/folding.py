"""Folding activations into statistics, batch by batch, in memory that does not grow.

*Extremes.* The k highest and k lowest values of each neuron, with their places, exactly. Of a batch only those values
are sorted that exceed the k-th so far: after n positions about k in n do. At first, when that is no bar yet, the k-th
largest of the maxima of blocks of `BLOCK` rows is one: k values reach it, and hardly more.
Of equal values the first that was folded is kept.
*Moments.* Count, mean, standard deviation (of the positions counted, not an estimate of more) and mean |activation| are
exact but for rounding: a batch is summed in float32, batches are added in float64, those of a chunk first. A standard
deviation below a thousandth of the mean is rounding.
*Quantiles.* A histogram of fixed bins, signed, four an octave of |activation| from 2^-12 to 2^10, even within an
octave (read off the bits of the number; bins that grow with the value are those of DDSketch, Masson et al. 2019). A
quantile is interpolated inside its bin and so off by less than the bin: a quarter of its value, 2^-12 near zero; beyond
2^10 only the extremes bound it. All of the first `EXACT` positions are in it, and of those after them every `STRIDE`th,
for `STRIDE`: there a quantile's rank is off by about sqrt(q(1-q) · STRIDE / positions). An expert's neurons are counted
each time.
*Firing.* A neuron behind a plain nonlinearity fires where its activation is above 0 (ReLU; for GELU and its like, where
its input is), counted at every position. A gated one is a product that takes both signs and is hardly ever exactly 0:
it fires where |activation| is above `FIRES` of the largest it had, read off the histogram.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sessions.atlas.atlas import QUANTILES, Array, AtlasLayer
from sessions.model.homes import widest

#: Rows among which one maximum is taken to find a first bar.
BLOCK = 16
#: A bar is good enough if at most this many times k values of any neuron exceed it.
FEW = 10
#: Positions of which all are in the histogram, and which of those after are.
EXACT, STRIDE = 1024, 4
#: A gated neuron fires above this share of its largest |activation|.
FIRES = 0.1
#: Octaves of the histogram: of |activation|, from the one that begins at 2^first on.
_FIRST, _OCTAVES = -12, 22
_SIDE = 4 * _OCTAVES
BINS = 2 * _SIDE + 1
#: Rows that go into the histogram at once.
AT_ONCE = 256
_EXPONENT, _MANTISSA = 127, 21
#: The names of the tensors that make up a `Running`.
TENSORS = ("count", "positive", "total", "squares", "sizes", "histogram", "high", "high_at", "deep", "deep_at")


def bytes_of(width: int, k: int) -> int:
    """Bytes of the statistics of so many neurons."""
    return width * (2 * 8 + 3 * 8 + 4 * BINS + 2 * k * (4 + 8))


def working_bytes(width: int, k: int, rows: int) -> int:
    """Bytes at most that folding `rows` positions of so many neurons takes meanwhile."""
    copies = 3 * 4 * rows  # those of counted positions alone, as float32, and what a sum is taken of
    candidates = FEW * k * (4 + 8) * 8  # values and places, where they stand, in order, and merged
    counted = AT_ONCE * 40 + BINS * 8
    return width * (copies + max(candidates, counted))


@dataclass
class Running:
    """The statistics of the neurons of one site as they stand; `gated` as of the site.

    `deep` has the k largest of what an activation is below 0.
    """

    gated: bool
    count: Tensor
    positive: Tensor
    total: Tensor
    squares: Tensor
    sizes: Tensor
    histogram: Tensor
    high: Tensor
    high_at: Tensor
    deep: Tensor
    deep_at: Tensor

    @classmethod
    def empty(cls, width: int, k: int, gated: bool, device: torch.device) -> Running:
        """Statistics of nothing."""
        real = widest(device)
        counts = [torch.zeros(width, dtype=torch.int64, device=device) for _ in range(2)]
        sums = [torch.zeros(width, dtype=real, device=device) for _ in range(3)]
        values = [torch.full((k, width), -torch.inf, device=device) for _ in range(2)]
        places = [torch.full((k, width), -1, dtype=torch.int64, device=device) for _ in range(2)]
        return cls(
            gated=gated,
            count=counts[0],
            positive=counts[1],
            total=sums[0],
            squares=sums[1],
            sizes=sums[2],
            histogram=torch.zeros(BINS, width, dtype=torch.int32, device=device),
            high=values[0],
            high_at=places[0],
            deep=values[1],
            deep_at=places[1],
        )

    def fold(self, values: Tensor, places: Tensor, columns: slice = slice(None), seen: int | None = None) -> None:
        """Take in the activations of some neurons, `[n, columns]`, at `places`, `[n]`.

        Args:
            seen: positions that these neurons had gone through before; None puts all into the histogram.
        """
        if not len(values):
            return
        values = values.float().contiguous()
        self.count[columns] += len(values)
        self.total[columns] += values.sum(0)
        self.squares[columns] += (values * values).sum(0)
        self.sizes[columns] += values.abs().sum(0)
        if not self.gated:
            self.positive[columns] += (values > 0).sum(0)
        self._keep(self.high, self.high_at, values, places, columns)
        self._keep(self.deep, self.deep_at, -values, places, columns)
        whole = len(values) if seen is None else max(0, min(EXACT - seen, len(values)))
        first = whole + (-((seen or 0) + whole)) % STRIDE
        for part, weight in ((values[:whole], 1), (values[first::STRIDE], STRIDE)):
            for rows in part.split(AT_ONCE):
                self._count(rows, weight, columns)

    def _keep(self, best: Tensor, best_at: Tensor, values: Tensor, places: Tensor, columns: slice) -> None:
        """Merge the k largest of a batch into those there are, in place."""
        kept = best[:, columns]
        new, rows = newcomers(values, kept[-1], len(best))
        if not len(new):
            return
        self._put(best, best_at, torch.cat([kept, new]), torch.cat([best_at[:, columns], places[rows]]), columns)

    def _put(self, best: Tensor, best_at: Tensor, values: Tensor, places: Tensor, columns: slice = slice(None)) -> None:
        """Keep the k largest of these values, in place; there is no place where there is no value."""
        kept, order = first_largest(values, len(best))
        best[:, columns] = kept
        best_at[:, columns] = torch.where(kept == -torch.inf, -1, places.gather(0, order))

    def _count(self, values: Tensor, weight: int, columns: slice) -> None:
        """Add values to the histogram, each as so many."""
        if not len(values):
            return
        into = self.histogram[:, columns]
        width = values.shape[1]
        flat = bins_of(values) * width + torch.arange(width, device=values.device, dtype=torch.int32)
        counts = torch.zeros(BINS * width, dtype=torch.int32, device=values.device)
        ones = torch.full((flat.numel(),), weight, dtype=torch.int32, device=values.device)
        into += counts.scatter_add_(0, flat.long().view(-1), ones).view(BINS, width)

    def set_apart(self) -> tuple[Tensor, ...]:
        """The sums so far, which begin anew at zero; `add` brings them back."""
        sums = self.total, self.squares, self.sizes
        self.total, self.squares, self.sizes = map(torch.zeros_like, sums)
        return sums

    def add(self, before: tuple[Tensor, ...]) -> None:
        """Add what was folded since `set_apart` to the sums before: as `merge` adds them, to the same bits."""
        now = self.total, self.squares, self.sizes
        self.total, self.squares, self.sizes = (sums + more for sums, more in zip(before, now, strict=True))

    def merge(self, part: Mapping[str, Array]) -> None:
        """Add what was folded elsewhere, from nothing, of positions after those here; `part` is what `state` gave."""
        given = {name: torch.from_numpy(np.array(part[name])).to(self.count.device) for name in TENSORS}
        for name in ("count", "positive", "total", "squares", "sizes", "histogram"):
            getattr(self, name).add_(given[name])
        for best, at in (("high", "high_at"), ("deep", "deep_at")):
            values, places = getattr(self, best), getattr(self, at)
            self._put(values, places, torch.cat([values, given[best]]), torch.cat([places, given[at]]))

    def state(self) -> dict[str, Array]:
        """All of it, as arrays."""
        return {name: getattr(self, name).cpu().numpy() for name in TENSORS}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` gave.

        Raises:
            ValueError: it is of other neurons.
        """
        for name in TENSORS:
            mine: Tensor = getattr(self, name)
            if mine.shape != state[name].shape:
                raise ValueError(f"'{name}' has the shape {list(state[name].shape)}")
            mine.copy_(torch.from_numpy(np.array(state[name])))

    @property
    def finite(self) -> bool:
        """Whether all that was folded in is finite."""
        return bool(self.squares.isfinite().all())

    def finished(self) -> AtlasLayer:
        """What the atlas keeps of it."""
        state = self.state()
        count, below = state["count"], cumulated(state["histogram"])
        n, any_ = np.maximum(count, 1), count > 0
        mean = state["total"] / n
        high, low = state["high"], -state["deep"]
        farthest = np.where(any_, np.maximum(high[0], -low[0]), 0)
        rate = _share_above(below, FIRES * farthest) if self.gated else state["positive"] / n
        levels = np.where(any_, quantiles(below, QUANTILES).clip(low[0], high[0]), 0)
        return AtlasLayer(
            count=count,
            mean=mean.astype(np.float32),
            std=np.sqrt(np.maximum(state["squares"] / n - mean**2, 0)).astype(np.float32),
            size=(state["sizes"] / n).astype(np.float32),
            rate=np.where(any_, rate, 0).astype(np.float32),
            quantiles=levels.astype(np.float32),
            high=high,
            high_at=state["high_at"],
            low=low,
            low_at=state["deep_at"],
        )


def newcomers(values: Tensor, bar: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Of each column of `[n, width]` those values that may be among the k largest, where `bar`, `[width]`, is to be
    exceeded: values and rows, `[any number, width]` each, -inf where a column has fewer."""
    candidates = above(values, bar, FEW * k)
    if candidates is None and len(values) >= 2 * k * BLOCK:
        candidates = above(values, torch.maximum(bar, _reached(values, k)), FEW * k)
    if candidates is None:  # too short to find a bar, or most are equal, as those of a ReLU are
        return first_largest(values, min(k, len(values)))
    return candidates


def first_largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values of each column of `[n, width]`, and their rows; of equal ones the first.

    So the extremes of a corpus are the same, with their places, however it was cut into parts.
    """
    top = values.topk(min(k + 1, len(values)), dim=0)
    order = top.indices[:k]
    tied = ((top.values[1:] == top.values[:-1]) & top.values[1:].isfinite()).any(0)
    if bool(tied.any()):
        columns = tied.nonzero()[:, 0]
        order[:, columns] = values[:, columns].sort(dim=0, descending=True, stable=True).indices[:k]
    return values.gather(0, order), order


def _reached(values: Tensor, k: int) -> Tensor:
    """What at least k values of each column exceed, `[width]`: just below the k-th largest of the blocks' maxima."""
    blocks = len(values) // BLOCK
    peaks = values[: blocks * BLOCK].view(blocks, BLOCK, -1).amax(1)
    least = peaks.topk(k, dim=0).values[-1]
    return torch.nextafter(least, torch.full_like(least, -torch.inf))


def above(values: Tensor, bar: Tensor, at_most: int) -> tuple[Tensor, Tensor] | None:
    """The values of each column that exceed its bar, and their rows, as `newcomers`; None if more than `at_most` do."""
    width = values.shape[1]
    find = places_by_numpy if values.device.type == "cpu" else places_by_torch
    candidates = find(values, bar, at_most * width)
    if candidates is None:
        return None
    column, row = candidates
    counts = torch.bincount(column, minlength=width)
    most = int(counts.max())
    if most > at_most:
        return None
    rank = torch.arange(len(column), device=values.device) - (counts.cumsum(0) - counts)[column]
    into = rank * width + column
    picked = torch.full((most, width), -torch.inf, device=values.device)
    rows = torch.zeros(most, width, dtype=torch.int64, device=values.device)
    picked.view(-1).scatter_(0, into, values.take(row * width + column))
    rows.view(-1).scatter_(0, into, row)
    return picked, rows


def places_by_torch(values: Tensor, bar: Tensor, at_most: int) -> tuple[Tensor, Tensor] | None:
    """Column and row of each value that exceeds its column's bar, column by column; None if more than `at_most` do."""
    exceeding = bar[:, None] < values.T
    if int(exceeding.sum()) > at_most:
        return None
    column, row = exceeding.nonzero(as_tuple=True)
    return column, row


def places_by_numpy(values: Tensor, bar: Tensor, at_most: int) -> tuple[Tensor, Tensor] | None:
    """The same on a processor, in a third of the time."""
    exceeding = np.greater(values.numpy(), bar.numpy())
    if np.count_nonzero(exceeding) > at_most:
        return None
    row, column = np.divmod(np.flatnonzero(exceeding), exceeding.shape[1])
    short = column.astype(np.uint16) if exceeding.shape[1] < 2**16 else column  # which is sorted in linear time
    order = short.argsort(kind="stable")
    return torch.from_numpy(column[order]), torch.from_numpy(row[order])


def bins_of(values: Tensor) -> Tensor:
    """The bin of each value, int32: 0 the lowest, `_SIDE` that around zero."""
    bits = values.contiguous().view(torch.int32)
    size = (bits & 0x7FFFFFFF) >> _MANTISSA
    size.sub_(((_EXPONENT + _FIRST) << 2) - 1).clamp_(0, _SIDE)
    return size.mul_((bits >> 31).bitwise_or_(1)).add_(_SIDE)


def _edges() -> Array:
    """Where the bins begin and end, `[BINS + 1]`, in rising order."""
    octaves = 2.0 ** np.arange(_FIRST, _FIRST + _OCTAVES)
    above = np.append((octaves[:, None] * np.array([1, 1.25, 1.5, 1.75])).ravel(), 2.0 ** (_FIRST + _OCTAVES))
    return np.concatenate([-above[::-1], above])


_EDGES = _edges()


def cumulated(histogram: Array) -> Array:
    """How many values are below each edge of the bins, `[BINS + 1, width]`, whole numbers in float64."""
    below = np.zeros((BINS + 1, histogram.shape[1]))
    below[1:] = histogram
    for row in range(BINS):  # numpy's cumsum goes down one column after the other, and takes ten times as long
        below[row + 1] += below[row]
    return below


def quantiles(below: Array, of: Sequence[float]) -> Array:
    """Quantiles of the columns of a cumulated histogram: `[len(of), width]`, interpolated inside their bins."""
    column, levels = np.arange(below.shape[1]), []
    for share in of:
        wanted = share * below[-1]
        row = (below[1:] < wanted).sum(0, dtype=np.int16).clip(max=BINS - 1)
        before = below[row, column]
        inside = below[row + 1, column] - before
        part = np.where(inside > 0, (wanted - before) / np.maximum(inside, 1), 0.5)
        levels.append(_EDGES[row] + part * (_EDGES[row + 1] - _EDGES[row]))
    return np.stack(levels)


def _share_above(below: Array, size: Array) -> Array:
    """The share of each column that is above `size`, `[width]`, in |value|."""
    total = below[-1]
    density: Array = (total - _below(below, size) + _below(below, -size)) / np.maximum(total, 1)
    return density


def _below(below: Array, values: Array) -> Array:
    """How many of each column are below its value, interpolated inside the bin that it falls in: `[width]`."""
    row = np.searchsorted(_EDGES, values, side="right").clip(1, BINS) - 1
    part = ((values - _EDGES[row]) / (_EDGES[row + 1] - _EDGES[row])).clip(0, 1)
    column = np.arange(len(values))
    interpolated: Array = below[row, column] + part * (below[row + 1, column] - below[row, column])
    return interpolated
