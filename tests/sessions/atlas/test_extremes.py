"""The largest values of every column are found without sorting most of the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.atlas import extremes
from sessions.atlas.extremes import above, grouped, newcomers


def heavy(seed: int, rows: int, width: int) -> torch.Tensor:
    """Values like those of gated neurons: signed, mostly small, some large."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator) * torch.randn(rows, width, generator=generator)


@pytest.mark.parametrize("sign", [1, -1])
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 200), high=st.booleans())
def test_everything_that_exceeds_a_bar_is_found_in_blocks_and_without(
    sign: int, seed: int, rows: int, high: bool
) -> None:
    values, bar = heavy(seed, rows, 6), heavy(seed + 1, 1, 6)[0] + (3 if high else 0)
    exceeding = values * sign > bar
    count, hot = int(exceeding.sum()), extremes._peaks(values, sign) > bar
    found = above(values, bar, hot, count, sign)
    assert found is not None
    column, row = found
    assert sorted(zip(row.tolist(), column.tolist(), strict=True)) == list(map(tuple, exceeding.nonzero().tolist()))
    if count:
        assert above(values, bar, hot, count - 1, sign) is None


def test_little_more_of_a_batch_is_sorted_than_can_be_kept() -> None:
    """The first bar lets hardly more than k values of a column pass, and a bar that has risen fewer still."""
    values, k = heavy(5, 2000, 64), 10
    first = newcomers(values, torch.full((64,), -torch.inf), k)
    assert first is not None
    passed = np.bincount(first[0], minlength=64)
    assert (passed >= k).all() and passed.mean() < 2 * k
    later = newcomers(heavy(6, 500, 64), values.topk(k, dim=0).values[-1], k)
    assert later is not None and len(later[0]) / 64 < k / 2


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 90), min_size=1, max_size=70))
def test_columns_are_sorted_with_those_that_have_about_as_many(seed: int, counts: list[int]) -> None:
    drawn = np.random.default_rng(seed)
    column = drawn.permutation(np.repeat(np.arange(len(counts)), counts))
    value = drawn.standard_normal(len(column)).astype(np.float32)
    seen: dict[int, list[tuple[float, int]]] = {}
    for neurons, new, rows in grouped(column, np.arange(len(column)), value, len(counts)):
        for place, neuron in enumerate(neurons.tolist()):
            assert neuron not in seen
            inside = new[:, place].isfinite()
            seen[neuron] = sorted(zip(new[inside, place].tolist(), rows[inside, place].tolist(), strict=True))
        assert new.numel() <= max(6 * len(neurons), 7 * int(new.isfinite().sum()))
    expected = {n: sorted((float(value[i]), int(i)) for i in np.flatnonzero(column == n)) for n in set(column.tolist())}
    assert seen == expected
