"""Statistics that are folded in batch by batch are those of everything at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.atlas import folding
from sessions.atlas.atlas import QUANTILES, AtlasLayer
from sessions.atlas.folding import BINS, EXACT, FIRES, Running

CPU = torch.device("cpu")


def folded(values: torch.Tensor, parts: list[int], k: int = 3, gated: bool = True) -> AtlasLayer:
    """The statistics of `[n, width]`, taken in by batches of these sizes, each place being a row."""
    running = Running.empty(values.shape[1], k, gated, CPU)
    start = 0
    for size in parts:
        stop = min(start + size, len(values))
        running.fold(values[start:stop], torch.arange(start, stop), seen=start)
        start = stop
    assert start == len(values)
    return running.finished()


def heavy(seed: int, rows: int, width: int) -> torch.Tensor:
    """Values like those of gated neurons: signed, mostly small, some large."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator) * torch.randn(rows, width, generator=generator)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 700), min_size=1, max_size=6), st.integers(1, 12))
def test_extremes_and_moments_are_those_of_all_values_at_once(seed: int, parts: list[int], k: int) -> None:
    values = heavy(seed, sum(parts), 5)
    found, rows = folded(values, parts, k), len(values)
    kept = min(k, rows)
    high, low = values.sort(0, descending=True).values[:kept], values.sort(0).values[:kept]
    assert np.array_equal(found.high[:kept], high.numpy()) and np.array_equal(found.low[:kept], low.numpy())
    assert (found.high_at[kept:] == -1).all() and (found.low_at[kept:] == -1).all()
    for extremes, places in ((found.high, found.high_at), (found.low, found.low_at)):
        assert np.array_equal(values.gather(0, torch.from_numpy(places[:kept])).numpy(), extremes[:kept])
        assert all(len(set(column)) == kept for column in places[:kept].T)
    assert (found.count == rows).all()
    assert np.allclose(found.mean, values.mean(0), atol=1e-5)
    assert np.allclose(found.std, values.std(0, correction=0), atol=2e-3)
    assert np.allclose(found.size, values.abs().mean(0), atol=1e-5)
    assert np.array_equal(found.largest, values.abs().amax(0).numpy())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 900), min_size=1, max_size=4), st.integers(1, 12))
def test_extremes_are_exact_where_values_are_equal_rare_or_all_at_one_neuron(
    seed: int, parts: list[int], k: int
) -> None:
    """Columns that no bar divides well: rectified, rising with every position, mostly equal, and one with a burst."""
    values = heavy(seed, sum(parts), 5)
    rows = len(values)
    values[:, 0].relu_()
    values[:, 1] = torch.arange(rows)
    values[:, 2] = values[:, 2].round()
    values[rows // 2 : rows // 2 + 100, 3] += 1000
    found = folded(values, parts, k)
    for extremes, places, order in ((found.high, found.high_at, -1), (found.low, found.low_at, 1)):
        kept = min(k, rows)
        assert np.array_equal(extremes[:kept], np.sort(values.numpy() * order, axis=0)[:kept] * order)
        assert np.array_equal(values.gather(0, torch.from_numpy(places[:kept])).numpy(), extremes[:kept])
        assert all(len(set(column)) == kept for column in places[:kept].T)


@given(st.floats(-1e6, 1e6, width=32))
@settings(max_examples=200, deadline=None)
def test_a_value_falls_into_the_bin_whose_edges_are_around_it(value: float) -> None:
    number = int(folding.bins_of(torch.tensor([[value]])))
    assert 0 <= number < BINS
    first, last = folding._EDGES[number], folding._EDGES[number + 1]
    if abs(value) < 1024:
        assert first <= value <= last
    else:
        assert number == (BINS - 1 if value > 0 else 0)


def test_a_quantile_is_off_by_less_than_a_bin() -> None:
    values = heavy(1, EXACT, 64)
    found = folded(values, [EXACT])
    exact = torch.quantile(values, torch.tensor(QUANTILES), dim=0).numpy()
    assert (np.abs(found.quantiles - exact) <= 0.25 * np.abs(exact) + 2 * 2**-12 + 0.02).all()
    assert np.median(np.abs(found.quantiles - exact) / (np.abs(exact) + 1e-3)) < 0.03


def test_beyond_the_first_positions_every_fourth_stands_for_four() -> None:
    rows = EXACT + 3001
    values = heavy(2, rows, 16)
    running = Running.empty(16, 2, True, CPU)
    for start in range(0, rows, 333):
        part = values[start : start + 333]
        running.fold(part, torch.arange(start, start + len(part)), seen=start)
    assert (running.histogram.sum(0) - rows).abs().max() <= folding.STRIDE
    exact = torch.quantile(values, torch.tensor(QUANTILES), dim=0).numpy()
    assert np.median(np.abs(running.finished().quantiles - exact) / (np.abs(exact) + 0.05)) < 0.15


@pytest.mark.parametrize("gated", [True, False])
def test_a_gated_neuron_fires_near_its_largest_and_a_plain_one_above_zero(gated: bool) -> None:
    values = heavy(3, 900, 32) - 0.3
    found = folded(values, [300, 600], gated=gated)
    largest = values.abs().amax(0)
    exact = (values.abs() > FIRES * largest).float().mean(0) if gated else (values > 0).float().mean(0)
    assert np.allclose(found.rate, exact, atol=0.05 if gated else 1e-6)


def test_neurons_that_were_never_computed_say_so_and_nothing_else() -> None:
    running = Running.empty(4, 3, True, CPU)
    running.fold(torch.ones(2, 2), torch.tensor([5, 6]), slice(2, 4))
    found = running.finished()
    assert found.count.tolist() == [0, 0, 2, 2]
    assert found.largest.tolist() == [0, 0, 1, 1]
    assert found.high_at[:, 0].tolist() == [-1, -1, -1] and sorted(found.high_at[:, 2].tolist()) == [-1, 5, 6]
    assert np.isfinite(found.mean).all() and np.isfinite(found.quantiles).all() and (found.rate[:2] == 0).all()


def test_equal_values_are_kept_once_each() -> None:
    found = folded(torch.zeros(50, 2), [20, 30], k=4)
    assert (found.high == 0).all() and all(len(set(column)) == 4 for column in found.high_at.T)
    assert (found.quantiles == 0).all()


def test_restored_statistics_continue_as_if_never_interrupted() -> None:
    values = heavy(4, 500, 7)
    first, second = (Running.empty(7, 3, True, CPU) for _ in range(2))
    first.fold(values[:200], torch.arange(200), seen=0)
    second.restore(first.state())
    for running in (first, second):
        running.fold(values[200:], torch.arange(200, 500), seen=200)
    assert all(np.array_equal(value, second.state()[name]) for name, value in first.state().items())
    with pytest.raises(ValueError, match="shape"):
        Running.empty(8, 3, True, CPU).restore(first.state())
