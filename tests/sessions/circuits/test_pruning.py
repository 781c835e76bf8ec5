"""The choice is the one a sort of all candidates would make, whatever the shape of the model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sessions.circuits.attribution import Attribution, SiteRelevance
from sessions.circuits.pruning import CircuitSize, candidates, choose
from sessions.errors import UsageError
from sessions.model.units import Place


def site(layer: int, seed: int, rows: int, width: int, offset: int = 0) -> SiteRelevance:
    generator = torch.Generator().manual_seed(seed)
    relevance = torch.randn(rows, width, generator=generator)
    offsets = torch.full((rows,), offset)
    return SiteRelevance(layer, relevance, relevance * 2, torch.arange(rows), offsets)


@st.composite
def attributions(draw: st.DrawFn) -> Attribution:
    shapes = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=4))
    seed = draw(st.integers(0, 1000))
    sites = tuple(site(layer, seed + layer, rows, width) for layer, (rows, width) in enumerate(shapes))
    return Attribution(sites, 2.0, 2.0, 2.0)


def everything(attribution: Attribution) -> list[tuple[float, Place]]:
    """All candidates, strongest first: (attribution, place)."""
    found = [
        (float(s.relevance[r, c]), Place(s.layer, int(s.offsets[r]) + c, int(s.positions[r])))
        for s in attribution.sites
        for r in range(s.relevance.shape[0])
        for c in range(s.relevance.shape[1])
    ]
    return sorted(found, key=lambda pair: -abs(pair[0]))


@given(attributions(), st.integers(1, 60))
def test_the_strongest_are_those_of_a_full_sort(attribution: Attribution, count: int) -> None:
    expected = everything(attribution)
    chosen = choose(candidates(attribution), CircuitSize(count), 2.0)
    assert [neuron.place for neuron in chosen] == [place for _, place in expected[:count]]
    assert all(neuron.activation == pytest.approx(2 * (neuron.attribution or 0)) for neuron in chosen)


@given(attributions(), st.floats(0.01, 1.0))
def test_a_cumulative_choice_is_the_smallest_that_holds_the_share(attribution: Attribution, share: float) -> None:
    expected = everything(attribution)
    whole = sum(abs(value) for value, _ in expected)
    chosen = choose(candidates(attribution), CircuitSize(cumulative=share), 2.0)
    held = sum(abs(neuron.attribution or 0) for neuron in chosen)
    assert held >= share * whole * (1 - 1e-5)
    assert held - abs(chosen[-1].attribution or 0) < share * whole * (1 + 1e-5)


@given(attributions(), st.floats(1, 200))
def test_a_percentage_keeps_all_that_reach_it_and_nothing_else(attribution: Attribution, percent: float) -> None:
    expected = [place for value, place in everything(attribution) if abs(value) >= 2.0 * percent / 100]
    if not expected:
        with pytest.raises(UsageError, match="no unit is left"):
            choose(candidates(attribution), CircuitSize(percentage=percent), 2.0)
    else:
        chosen = choose(candidates(attribution), CircuitSize(percentage=percent), 2.0)
        assert [neuron.place for neuron in chosen] == expected


@given(attributions(), st.integers(1, 6), st.integers(1, 20))
def test_per_layer_first_then_global(attribution: Attribution, per_layer: int, count: int) -> None:
    kept: dict[int, int] = {}
    expected = []
    for _, place in everything(attribution):
        kept[place[0]] = kept.get(place[0], 0) + 1
        if kept[place[0]] <= per_layer:
            expected.append(place)
    chosen = choose(candidates(attribution), CircuitSize(count=count, per_layer=per_layer), 2.0)
    assert [neuron.place for neuron in chosen] == expected[:count]


def test_what_is_left_out_is_neither_chosen_nor_counted() -> None:
    attribution = Attribution((site(0, 0, 4, 5), site(1, 1, 4, 5)), 2.0, 2.0, 2.0)
    total = sum(float(s.relevance.sum()) for s in attribution.sites)
    gone = float(attribution.sites[0].relevance[0].sum() + attribution.sites[1].relevance[0].sum())
    gone += float(attribution.sites[0].relevance[1:, 3].sum())
    found = candidates(attribution, without_positions=(0,), without_neurons={(0, 3)})
    assert found.number == 2 * 3 * 5 - 3
    assert found.total == pytest.approx(total - gone, abs=1e-5)
    chosen = choose(found, CircuitSize(100), 2.0)
    assert len(chosen) == found.number
    assert all(neuron.position != 0 and neuron.site != (0, 3) for neuron in chosen)


def test_experts_of_one_layer_are_told_apart_by_their_offsets() -> None:
    relevance = torch.tensor([[0.0, 5.0], [3.0, 0.0], [0.0, 0.1]])
    experts = SiteRelevance(2, relevance, relevance, torch.tensor([0, 0, 1]), torch.tensor([10, 14, 10]))
    found = candidates(Attribution((experts,), 1.0, 1.0, 1.0), without_neurons={(2, 14)})
    assert [neuron.place for neuron in choose(found, CircuitSize(5), 1.0)] == [Place(2, 11, 0), Place(2, 11, 1)]


def test_only_the_layers_asked_for_are_candidates() -> None:
    attribution = Attribution((site(0, 0, 2, 3), site(1, 1, 2, 3), site(2, 2, 2, 3)), 2.0, 2.0, 2.0)
    chosen = choose(candidates(attribution, layers=range(1, 2)), CircuitSize(100), 2.0)
    assert {neuron.layer for neuron in chosen} == {1} and len(chosen) == 6
