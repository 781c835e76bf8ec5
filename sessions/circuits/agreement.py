"""How well one set of numbers agrees with another: attributions with exact effects, one method with the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:  # numpy takes a while to import, and who only shows an agreement does not need it
    import numpy as np


class Agreement(Struct, frozen=True):
    """Over `count` pairs: Pearson's r, Spearman's rank correlation, and the fraction of equal signs.

    A correlation is None where one side does not vary, or there are fewer than three pairs.
    """

    count: int
    pearson: float | None
    spearman: float | None
    same_sign: float


def agreement(ours: Sequence[float], theirs: Sequence[float]) -> Agreement | None:
    """How two equally long lists agree; None where there is nothing to compare."""
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
    """Ranks from 0; equal values share the mean of theirs."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return ((ends - counts + ends - 1) / 2)[place]
