"""Computes statistics of right and wrong answers, of one arm and of pairs of arms. Intervals are at the 95 % level.

- A share of n tasks has Wilson's score interval (Wilson 1927; as method 3 in Newcombe 1998, Statistics in Medicine 17:
  857–872).
- Two arms on the same tasks differ only in the tasks that one of them got right. McNemar's exact test is twice the
  smaller tail of a binomial distribution of these tasks with chance ½.
- The difference of the two shares has an interval that combines both Wilson intervals and the correlation φ of the
  pairs; φ's numerator is moved towards 0 by n/2 if it is positive (Newcombe 1998, Statistics in Medicine 17:
  2635–2650, method 10). With d = p₁ − p₂ and limits l, u, the lower limit is
  d − √((p₁−l₁)² − 2φ(p₁−l₁)(u₂−p₂) + (u₂−p₂)²), and the upper one is analogous. It holds for few tasks, and for shares
  of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt

from msgspec import Struct

#: The 97.5 % point of the normal distribution.
_Z = 1.959963984540054


class Pairs(Struct, frozen=True):
    """Two arms on the same tasks: the numbers of tasks that both, only one, and neither got right.

    `difference` is the second arm's share of right answers minus the first's, with its `interval`. `p` is McNemar's.
    `lost` names the tasks that only the first arm got right, `gained` those that only the second did.
    """

    names: tuple[str, str]
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p: float
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a share, `right` of `n`."""
    share, weight = right / n, _Z * _Z / n
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    # Rounding must not put a share of 0 or 1 outside its interval.
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


def mcnemar(only_first: int, only_second: int) -> float:
    """The probability of discordant pairs at least as uneven as these if neither arm is better."""
    n, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)


def newcombe(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """The interval of the difference of two shares of the same tasks, first minus second."""
    n = both + only_first + only_second + neither
    first, second = (both + only_first) / n, (both + only_second) / n
    (low1, high1), (low2, high2) = wilson(both + only_first, n), wilson(both + only_second, n)
    phi = _phi(both, only_first, only_second, neither)
    down, up = _apart(first - low1, high2 - second, phi), _apart(high1 - first, second - low2, phi)
    difference = first - second
    return max(-1.0, difference - down), min(1.0, difference + up)


def paired(names: tuple[str, str], first: Sequence[bool], second: Sequence[bool], labels: Sequence[str]) -> Pairs:
    """Compare two arms by whether they got each task right; `labels` are the names of the tasks."""
    triples = list(zip(first, second, labels, strict=True))
    lost = tuple(label for a, b, label in triples if a and not b)
    gained = tuple(label for a, b, label in triples if b and not a)
    both, neither = sum(a and b for a, b, _ in triples), sum(not a and not b for a, b, _ in triples)
    return Pairs(
        names=names,
        both=both,
        only_first=len(lost),
        only_second=len(gained),
        neither=neither,
        difference=(len(gained) - len(lost)) / len(triples),
        interval=newcombe(both, len(gained), len(lost), neither),
        p=mcnemar(len(lost), len(gained)),
        lost=lost,
        gained=gained,
    )


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if not margins:
        return 0.0
    cross = both * neither - only_first * only_second
    if cross > 0:
        cross = max(cross - (both + only_first + only_second + neither) / 2, 0.0)  # type: ignore[assignment]
    return cross / sqrt(margins)


def _apart(one: float, other: float, phi: float) -> float:
    return sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))
