"""Agreement of two lists of numbers: attributions with exact effects, one method with another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:  # importing numpy is slow, and showing an agreement does not need it
    import numpy as np


class Agreement(Struct, frozen=True):
    """Pearson's r, Spearman's rank correlation and the fraction of equal signs over `count` pairs.

    A correlation is None where one side is constant or there are fewer than three pairs.
    """

    count: int
    pearson: float | None
    spearman: float | None
    same_sign: float


def agreement(ours: Sequence[float], theirs: Sequence[float]) -> Agreement | None:
    """The agreement of two equally long lists; None where they are empty."""
    import numpy as np

    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    if not len(a):
        return None
    return Agreement(
        len(a), _correlation(a, b), _correlation(_ranks(a), _ranks(b)), float((np.sign(a) == np.sign(b)).mean())
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    import numpy as np

    if len(a) < 3 or not a.std() or not b.std():
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; equal values share their mean rank."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return ((ends - counts + ends - 1) / 2)[place]
