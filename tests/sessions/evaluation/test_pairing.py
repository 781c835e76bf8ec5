"""The statistics are the published ones, and behave as intervals and tests must."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.evaluation.pairing import mcnemar, newcombe, paired, wilson

COUNTS = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_as_in_table_1_of_newcombe_1998(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, paired data, table II
        ((59, 6, 16, 80), -0.1186, -0.0046),  # Cavo et al. 2012, in Fagerland, Lydersen and Laake 2017, chapter 8
        ((1, 1, 7, 12), -0.507, -0.026),  # Bentur et al. 2009, in the same
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(table: tuple[int, ...], low: float, high: float) -> None:
    assert newcombe(*table) == pytest.approx((low, high), abs=0.0005 if low == -0.507 else 5e-5)


@pytest.mark.parametrize(("table", "p"), [((1, 7), 0.0703), ((86, 150), 3.716e-05), ((0, 0), 1.0), ((5, 5), 1.0)])
def test_mcnemar_is_exact(table: tuple[int, int], p: float) -> None:
    """Bentur et al. 2009 as above; the approval ratings of Agresti 1990, as R's exact2x2 has them."""
    assert mcnemar(*table) == pytest.approx(p, rel=1e-3)


@given(COUNTS)
def test_an_interval_holds_its_difference_and_turns_round_with_it(table: tuple[int, int, int, int]) -> None:
    both, first, second, neither = table
    low, high = newcombe(*table)
    difference = (first - second) / sum(table)
    assert -1 <= low <= difference + 1e-12 and difference - 1e-12 <= high <= 1
    assert newcombe(both, second, first, neither) == pytest.approx((-high, -low))
    assert newcombe(neither, first, second, both) == pytest.approx((low, high))


@given(COUNTS, st.integers(2, 20))
def test_more_tasks_with_the_same_result_narrow_the_interval(table: tuple[int, int, int, int], times: int) -> None:
    more = tuple(times * count for count in table)
    widths = [high - low for low, high in (newcombe(*table), newcombe(*more))]
    assert widths[1] < widths[0]
    right, n = sum(table[:2]), sum(table)
    low, high = wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_chance_is_between_0_and_1_and_the_same_either_way(first: int, second: int) -> None:
    assert 0 < mcnemar(first, second) == mcnemar(second, first) <= 1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_pairs_are_counted(rights: list[tuple[bool, bool]]) -> None:
    first, second = [a for a, _ in rights], [b for _, b in rights]
    labels = [str(number) for number in range(len(rights))]
    found = paired(("base", "edit"), first, second, labels)
    assert found.both + found.only_first + found.only_second + found.neither == len(rights)
    assert found.both + found.only_first == sum(first) and found.both + found.only_second == sum(second)
    assert found.difference == pytest.approx((sum(second) - sum(first)) / len(rights))
    assert found.interval[0] <= found.difference + 1e-12 and found.difference - 1e-12 <= found.interval[1]
    assert {int(label) for label in found.lost} == {n for n, (a, b) in enumerate(rights) if a and not b}
    same = paired(("base", "edit"), first, first, labels)
    assert (same.lost, same.gained, same.difference, same.p) == ((), (), 0.0, 1.0)
