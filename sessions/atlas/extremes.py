"""The k largest values of each column, kept while batch after batch comes in.

A batch is compared with the k-th value so far, the bar, and only the newcomers, those that exceed it, are sorted: after
n rows about k in n do. The maxima of blocks of rows say in which blocks there are any. At first, when too many exceed
it, the k-th largest of the blocks' maxima is the bar: k values reach it, and hardly more. The columns with few
newcomers and those with many are sorted apart, so that none is padded to the number of the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sessions.atlas.atlas import Array

#: Rows among which one maximum is taken.
BLOCK = 16
#: A bar is good enough if the newcomers are at most this many times k for each column, on average.
FEW = 3
#: Looking at scattered values takes so many times as long as at consecutive ones.
_SCATTERED = 8
#: Columns are sorted together whose newcomers are of a similar number: at most so many, or more than the last.
_GROUPS = (6, 40)


def newcomers(values: Tensor, bar: Tensor, k: int, sign: int = 1) -> tuple[Array, Array] | None:
    """Column and row of those values of `[n, width]` that may be among the k largest of their columns.

    They are those that exceed `bar`, `[width]`, and a higher one where that lets too many pass; both are compared with
    the values times `sign`. None if most pass any bar: there are few rows, or most are equal, as those of a ReLU are.
    """
    peaks, at_most = _peaks(values, sign), FEW * k * values.shape[1]
    hot = peaks > bar
    if len(peaks) >= 2 * k and np.count_nonzero(hot.numpy()) > at_most:
        # The k-th largest of the blocks' maxima: k values reach it, and exceed what is just below.
        least = peaks.topk(k, dim=0).values[-1]
        bar = torch.maximum(bar, torch.nextafter(least, torch.full_like(least, -torch.inf)))
        hot = peaks > bar
    return above(values, bar, hot, at_most, sign)


def _peaks(values: Tensor, sign: int = 1) -> Tensor:
    """The largest value of each column in each whole block of rows, times `sign`: `[blocks, width]`."""
    blocks = len(values) // BLOCK
    rows = values[: blocks * BLOCK].view(blocks, BLOCK, values.shape[1])
    return rows.amax(1) if sign == 1 else -rows.amin(1)


def above(values: Tensor, bar: Tensor, hot: Tensor, at_most: int, sign: int = 1) -> tuple[Array, Array] | None:
    """Column and row of each value that exceeds its column's bar, times `sign`; None if more than `at_most` do.

    `hot` says in which blocks of rows there are any, `[blocks, width]`.
    """
    width, first = values.shape[1], len(hot) * BLOCK
    where = np.flatnonzero(hot.numpy())
    if len(where) * BLOCK * _SCATTERED > values.numel():
        where, first = where[:0], 0
    block, column = np.divmod(where, width)
    begins = block * (BLOCK * width) + column
    places = (begins[:, None] + np.arange(0, BLOCK * width, width)).reshape(-1)
    bars = bar.numpy()
    places = places[_exceeding(values.view(-1).numpy().take(places, mode="clip"), bars[column].repeat(BLOCK), sign)]
    rest = _exceeding(values[first:].numpy(), bars, sign)
    if len(places) + np.count_nonzero(rest) > at_most:
        return None
    row, column = np.divmod(np.concatenate([places, np.flatnonzero(rest) + first * width]), width)
    return column, row


def _exceeding(values: Array, bar: Array, sign: int) -> Array:
    found: Array = np.greater(values, bar) if sign == 1 else np.less(values, -bar)
    return found


def grouped(column: Array, row: Array, value: Array, width: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Values with their columns, of `width`, and rows, in groups of columns that have about as many of them.

    Yields the columns of a group, `[m]`, their values and their rows, `[most, m]`: -inf and 0 where a column has fewer
    than the most.
    """
    short = column.astype(np.uint16) if width < 2**16 else column  # which is sorted in linear time
    order = short.argsort(kind="stable")
    column, row, value = column[order], row[order], value[order]
    counts = np.bincount(column, minlength=width)
    rank = np.arange(len(column)) - (counts.cumsum() - counts)[column]
    group, place = np.searchsorted(_GROUPS, counts), np.zeros(width, dtype=np.int64)
    for number in range(len(_GROUPS) + 1):
        members = np.flatnonzero((group == number) & (counts > 0))
        # Of the last group, whose columns may have any number, few at once: their table is never large.
        at_once = max(1, len(members) if number < len(_GROUPS) else width // BLOCK)
        for neurons in (members[start : start + at_once] for start in range(0, len(members), at_once)):
            place[:] = -1
            place[neurons] = np.arange(len(neurons))
            to = place[column]
            (chosen,) = np.nonzero(to >= 0)
            at = rank[chosen], to[chosen]
            shape = int(counts[neurons].max()), len(neurons)
            new, rows = np.full(shape, -np.inf, dtype=np.float32), np.zeros(shape, dtype=np.int64)
            new[at], rows[at] = value[chosen], row[chosen]
            yield torch.from_numpy(neurons), torch.from_numpy(new), torch.from_numpy(rows)


def first_largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values of each column of `[n, width]`, and their rows; of equal ones the first.

    So the extremes of a corpus are the same, with their places, however it was cut into parts.
    """
    if values.device.type != "cpu":  # where looking whether any are equal would make the host wait
        ordered = values.sort(dim=0, descending=True, stable=True)
        return ordered.values[:k], ordered.indices[:k]
    top = values.topk(min(k + 1, len(values)), dim=0)
    order = top.indices[:k]
    tied = ((top.values[1:] == top.values[:-1]) & top.values[1:].isfinite()).any(0)
    if bool(tied.any()):
        columns = tied.nonzero()[:, 0]
        order[:, columns] = values[:, columns].sort(dim=0, descending=True, stable=True).indices[:k]
    return values.gather(0, order), order


def merge(best: Tensor, best_at: Tensor, columns: Tensor | slice, new: Tensor, new_at: Tensor) -> None:
    """Merge new values of some columns, with their places, into the k largest there are, in place.

    There is no place where there is no value.
    """
    values, order = first_largest(torch.cat([best[:, columns], new]), len(best))
    places = torch.cat([best_at[:, columns], new_at]).gather(0, order)
    best_at[:, columns] = places.where(values > -torch.inf, -1)
    best[:, columns] = values
