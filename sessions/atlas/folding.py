"""Folding activations into statistics, batch by batch, in memory that does not grow.

*Extremes.* The k highest and k lowest values of each neuron, with their places, exactly. Of a batch only the blocks of
`BLOCK` rows are looked into whose maximum exceeds the k-th so far, and at first the k with the largest maxima.
*Moments.* Count, mean, standard deviation (of the positions counted, not an estimate of more) and mean |activation| are
exact but for rounding: a batch is summed in float32, batches are added in float64. A standard deviation below a
thousandth of the mean is rounding.
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

from sessions.atlas.atlas import QUANTILES, Array, Layer

#: Rows among which one maximum is taken before any sorting.
BLOCK = 16
#: Blocks a neuron that are searched for newcomers one by one; where there are more, the k best are sorted through.
FEW = 12
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
    sorted_through = (BLOCK * k + BLOCK) * (8 + 8 + 4 + 4)
    counted = AT_ONCE * 40 + BINS * 8
    return width * (copies + max(sorted_through, counted))


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
        real = torch.float32 if device.type == "mps" else torch.float64  # which mps lacks
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
        values = values.float()
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
        found, rows = newcomers(values, kept[-1], len(best))
        if not len(found):
            return
        all_values = torch.cat([kept, found])
        all_places = torch.cat([best_at[:, columns], places[rows]])
        best[:, columns], order = all_values.topk(len(best), dim=0)
        best_at[:, columns] = all_places.gather(0, order)

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

    def finished(self) -> Layer:
        """What the atlas keeps of it."""
        state = self.state()
        count, histogram = state["count"], state["histogram"]
        n, any_ = np.maximum(count, 1), count > 0
        mean = state["total"] / n
        high, low = state["high"], -state["deep"]
        farthest = np.where(any_, np.maximum(high[0], -low[0]), 0)
        rate = _share_above(histogram, FIRES * farthest) if self.gated else state["positive"] / n
        found = np.where(any_, quantiles(histogram, QUANTILES).clip(low[0], high[0]), 0)
        return Layer(
            count=count,
            mean=mean.astype(np.float32),
            std=np.sqrt(np.maximum(state["squares"] / n - mean**2, 0)).astype(np.float32),
            size=(state["sizes"] / n).astype(np.float32),
            rate=np.where(any_, rate, 0).astype(np.float32),
            quantiles=found.astype(np.float32),
            high=high,
            high_at=state["high_at"],
            low=low,
            low_at=state["deep_at"],
        )


def newcomers(values: Tensor, bar: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Of each column of `[n, width]` those values that may be among the k largest, where `bar`, `[width]`, is to be
    exceeded: values and rows, `[any number, width]` each, -inf where a column has fewer.

    After the first batches few values are: they are picked out of the blocks whose maximum exceeds the bar.
    """
    rows, width = values.shape
    blocks = rows // BLOCK
    if blocks <= 2 * k:
        return largest(values, k)
    inside = values[: blocks * BLOCK].view(blocks, BLOCK, width)
    peaks = inside.amax(1)
    block, column = (peaks > bar).nonzero(as_tuple=True)
    if len(block) > FEW * width:
        return largest(values, k)
    picked, at = (inside[block, :, column] > bar[column, None]).nonzero(as_tuple=True)
    row, column = block[picked] * BLOCK + at, column[picked]
    rest, rest_column = (values[blocks * BLOCK :] > bar).nonzero(as_tuple=True)
    row, column = torch.cat([row, rest + blocks * BLOCK]), torch.cat([column, rest_column])
    if not len(row):
        return values.new_empty(0, width), row.new_empty(0, width)
    column, order = column.sort(stable=True)
    row = row[order]
    counts = torch.bincount(column, minlength=width)
    slot = torch.arange(len(column), device=values.device) - (counts.cumsum(0) - counts)[column]
    most = int(counts.max())
    found = torch.full((most, width), -torch.inf, device=values.device)
    found_at = torch.zeros(most, width, dtype=torch.int64, device=values.device)
    found[slot, column] = values[row, column]
    found_at[slot, column] = row
    return found, found_at


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each column of `[n, width]`, or all, and their rows: `[min(k, n), width]` each.

    They are in the k blocks with the largest maxima, so that only these, and the rows that fill no block, are sorted.
    """
    rows, width = values.shape
    blocks = rows // BLOCK
    if blocks <= 2 * k:
        found = values.topk(min(k, rows), dim=0)
        return found.values, found.indices
    peaks = values[: blocks * BLOCK].view(blocks, BLOCK, width).amax(1)
    chosen = peaks.topk(k, dim=0).indices  # [k, width]
    inside = torch.arange(BLOCK, device=values.device)[None, :, None]
    candidates = (chosen[:, None] * BLOCK + inside).reshape(k * BLOCK, width)
    rest = torch.arange(blocks * BLOCK, rows, device=values.device)[:, None].expand(-1, width)
    candidates = torch.cat([candidates, rest])
    found = values.gather(0, candidates).topk(k, dim=0)
    return found.values, candidates.gather(0, found.indices)


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


def quantiles(histogram: Array, of: Sequence[float]) -> Array:
    """Quantiles of the columns of a histogram, `[BINS, width]`: `[len(of), width]`, interpolated inside their bins."""
    below = np.cumsum(histogram, axis=0, dtype=np.int64)
    total = below[-1]
    found = []
    for share in of:
        wanted = share * total
        row = (below < wanted).sum(0).clip(max=BINS - 1)
        column = np.arange(histogram.shape[1])
        inside = histogram[row, column]
        before = below[row, column] - inside
        part = np.where(inside > 0, (wanted - before) / np.maximum(inside, 1), 0.5)
        found.append(_EDGES[row] + part * (_EDGES[row + 1] - _EDGES[row]))
    return np.stack(found)


def _share_above(histogram: Array, size: Array) -> Array:
    """The share of each column that is above `size`, `[width]`, in |value|, interpolated inside the bin it falls in."""
    both = histogram[_SIDE:].astype(np.float64)
    both[1:] += histogram[:_SIDE][::-1]
    edges = np.concatenate([[0.0], _EDGES[_SIDE + 1 :]])
    row = np.searchsorted(edges, size, side="right").clip(1, len(both)) - 1
    column = np.arange(len(size))
    after = both[::-1].cumsum(0)[::-1]
    part = ((size - edges[row]) / (edges[row + 1] - edges[row])).clip(0, 1)
    found: Array = (after[row, column] - part * both[row, column]) / np.maximum(after[0], 1)
    return found
