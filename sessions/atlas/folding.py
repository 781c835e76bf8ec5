"""Folding activations into statistics, batch by batch, in memory that does not grow.

*Extremes.* The k highest and k lowest values of each neuron, with their places, exactly (see `extremes`).
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

from sessions.atlas.atlas import QUANTILES, Array, AtlasLayer
from sessions.atlas.extremes import first_largest, grouped, merge, newcomers
from sessions.model.homes import widest

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
    candidates = 10 * k * (4 + 8) * 8  # values and places, where they stand, in order, and merged
    counted = AT_ONCE * 40 + BINS * 8
    return width * (copies + max(candidates, counted))


@dataclass
class Running:
    """The statistics of the neurons of one site as they stand; `gated` as of the site.

    `best` is `[k, 2 · width]`: first the k largest activations of each neuron, then the k largest of what they are
    below 0; `best_at` has their places. `high` and `deep` are the two halves. `spoilt` says that an accelerator has
    computed a number that is not finite.
    """

    gated: bool
    count: Tensor
    positive: Tensor
    total: Tensor
    squares: Tensor
    sizes: Tensor
    histogram: Tensor
    best: Tensor
    best_at: Tensor
    spoilt: bool = False

    @classmethod
    def empty(cls, width: int, k: int, gated: bool, device: torch.device) -> Running:
        """Statistics of nothing."""
        real = widest(device)
        counts = [torch.zeros(width, dtype=torch.int64, device=device) for _ in range(2)]
        sums = [torch.zeros(width, dtype=real, device=device) for _ in range(3)]
        return cls(
            gated=gated,
            count=counts[0],
            positive=counts[1],
            total=sums[0],
            squares=sums[1],
            sizes=sums[2],
            histogram=torch.zeros(BINS, width, dtype=torch.int32, device=device),
            best=torch.full((k, 2 * width), -torch.inf, device=device),
            best_at=torch.full((k, 2 * width), -1, dtype=torch.int64, device=device),
        )

    @property
    def width(self) -> int:
        return len(self.count)

    @property
    def high(self) -> Tensor:
        return self.best[:, : self.width]

    @property
    def high_at(self) -> Tensor:
        return self.best_at[:, : self.width]

    @property
    def deep(self) -> Tensor:
        return self.best[:, self.width :]

    @property
    def deep_at(self) -> Tensor:
        return self.best_at[:, self.width :]

    def fold(
        self,
        values: Tensor,
        places: Tensor,
        columns: slice = slice(None),
        seen: int | None = None,
        room: Room | None = None,
    ) -> None:
        """Take in the activations of some neurons, `[n, columns]`, at `places`, `[n]`, in the memory of the host.

        Args:
            seen: positions that these neurons had gone through before; None puts all into the histogram.
            room: memory for numbers that are needed for a moment; it is quicker than to take some each time.
        """
        if not len(values):
            return
        values = values.float().contiguous()
        self._sum(values, columns, Room() if room is None else room)
        self._keep(values, places, columns)
        for part, weight in counted_rows(values, seen):
            for rows in part.split(AT_ONCE):
                self.count_bins(rows, weight, columns)

    def _sum(self, values: Tensor, columns: slice, room: Room) -> None:
        """Add a batch to the moments, in few passes over it."""
        self.count[columns] += len(values)
        ones = torch.ones(len(values))
        self.total[columns] += ones @ values
        for part in values.split(AT_ONCE):
            numbers = part.numpy()
            self.squares[columns] += torch.from_numpy(np.einsum("ij,ij->j", numbers, numbers))
        self.sizes[columns] += ones @ torch.abs(values, out=room.take(*values.shape))
        if not self.gated:
            self.positive[columns] += (values > 0).sum(0)

    def _keep(self, values: Tensor, places: Tensor, columns: slice) -> None:
        """Merge the extremes of a batch into those there are."""
        here = torch.arange(self.width)[columns]
        here = torch.cat([here, here + self.width])
        k, width, few = len(self.best), values.shape[1], []
        for sign, best, best_at in (
            (1, self.high[:, columns], self.high_at[:, columns]),
            (-1, self.deep[:, columns], self.deep_at[:, columns]),
        ):
            found = newcomers(values, best[-1], k, sign)
            if found is None:
                new, rows = first_largest(values * sign, k)
                merge(best, best_at, slice(None), new, places[rows])
            else:
                column, row = found
                number = column if sign == 1 else column + width
                few.append((number, row, values.numpy()[row, column] * np.float32(sign)))
        if few:
            column, row, value = (np.concatenate(part) for part in zip(*few, strict=True))
            for neurons, new, rows in grouped(column, row, value, 2 * width):
                merge(self.best, self.best_at, here[neurons], new, places[rows])

    def count_bins(self, values: Tensor, weight: int, columns: slice = slice(None)) -> None:
        """Add values to the histogram, each as so many."""
        if not len(values):
            return
        width = self.histogram.shape[1]
        neurons = torch.arange(width, device=values.device, dtype=torch.int32)[columns]
        flat = bins_of(values).mul_(width).add_(neurons).long().view(-1)
        weights = torch.full((flat.numel(),), weight, dtype=torch.int32, device=values.device)
        self.histogram.view(-1).scatter_add_(0, flat, weights)

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
            merge(getattr(self, best), getattr(self, at), slice(None), given[best], given[at])

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
        return not self.spoilt and (self.squares.device.type != "cpu" or bool(self.squares.isfinite().all()))

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


class Room:
    """Memory that is used again for one thing after another, in two parts."""

    def __init__(self) -> None:
        self._parts = [torch.empty(0), torch.empty(0)]

    def take(self, rows: int, width: int, part: int = 0) -> Tensor:
        """Numbers without a value, `[rows, width]`, in the memory that the last call for this part gave."""
        if self._parts[part].numel() < rows * width:
            self._parts[part] = torch.empty(rows * width)
        return self._parts[part][: rows * width].view(rows, width)


def counted_rows(values: Tensor, seen: int | None) -> tuple[tuple[Tensor, int], ...]:
    """The rows of a batch that the histogram has, and how many positions each stands for."""
    whole = len(values) if seen is None else max(0, min(EXACT - seen, len(values)))
    first = whole + (-((seen or 0) + whole)) % STRIDE
    return (values[:whole], 1), (values[first::STRIDE], STRIDE)


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
