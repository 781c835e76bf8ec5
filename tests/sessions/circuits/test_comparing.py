"""Two circuits side by side: what they share is counted right, and a circuit is like itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.circuits.circuit import Circuit
from sessions.circuits.comparing import Shared, attribution_by_unit, compared
from sessions.model.units import Place, Unit
from tests.circuits import circuit_of

NUMBERS = st.integers(0, 3)
NEURONS = st.builds(
    Unit, NUMBERS, NUMBERS, st.none() | NUMBERS, st.none() | st.floats(-5, 5, allow_nan=False).filter(bool)
)
CIRCUITS = st.lists(NEURONS, min_size=1, max_size=30, unique_by=lambda neuron: neuron.place).map(
    lambda neurons: circuit_of(sorted(neurons, key=lambda neuron: -abs(neuron.attribution or 0)))
)


@given(CIRCUITS)
def test_a_circuit_is_like_itself(one: Circuit) -> None:
    found = compared(one, one)
    for overlap in found.overlaps:
        assert overlap.placed.jaccard == overlap.anywhere.jaccard == 1
    assert found.only == ((), ())
    assert found.held[0] in (None, pytest.approx(1))
    assert found.ranks is None or found.ranks.same_sign == 1


@given(CIRCUITS, CIRCUITS)
def test_a_comparison_is_symmetric_and_counts_no_neuron_twice(one: Circuit, other: Circuit) -> None:
    found, turned = compared(one, other), compared(other, one)
    assert turned.overlaps == found.overlaps
    assert turned.sizes == found.sizes[::-1] and turned.held == found.held[::-1] and turned.only == found.only[::-1]
    whole = found.overlaps[0]
    ours, theirs = ({neuron.site for neuron in each.neurons} for each in (one, other))
    assert whole.anywhere == Shared(len(ours & theirs), len(ours | theirs))
    assert whole.placed.both <= min(found.sizes)
    assert {neuron.site for neuron in found.only[0]} <= ours - theirs
    assert all(share is None or 0 <= share <= 1 + 1e-9 for share in found.held)


def test_a_head_is_not_the_neuron_of_its_number() -> None:
    found = compared(circuit_of([Unit(1, 1, 4, 3.0)]), circuit_of([Unit(1, 1, 4, 3.0, kind="head")]))
    assert (found.overlaps[0].anywhere, found.held) == (Shared(0, 2), (0.0, 0.0))
    assert [[unit.kind for unit in only] for only in found.only] == [["neuron"], ["head"]]


def test_sums_over_positions_rank_the_neurons() -> None:
    one = circuit_of([Unit(1, 1, 4, 3.0), Unit(0, 1, 2, -2.0), Unit(0, 1, 3, -2.0), Unit(2, 2, 2, 1.0)])
    other = circuit_of([Unit(0, 1, 2, 5.0), Unit(1, 1, 9, 1.0), Unit(3, 3, 1, -0.5)])
    assert attribution_by_unit(one) == {Place(0, 1): -4.0, Place(1, 1): 3.0, Place(2, 2): 1.0}
    found = compared(one, other)
    assert (found.sizes, found.distinct) == ((4, 3), (3, 3))
    (whole,) = found.overlaps  # there are fewer than ten
    assert (whole.anywhere, whole.placed) == (Shared(2, 4), Shared(1, 6))
    assert found.held == (pytest.approx(7 / 8), pytest.approx(6 / 6.5))
    assert found.ranks is not None and (found.ranks.count, found.ranks.same_sign) == (2, 0.5)
    assert found.only == ((Unit(2, 2, None, 1.0),), (Unit(3, 3, None, -0.5),))


def test_the_strongest_are_compared_among_themselves() -> None:
    ours = circuit_of([Unit(0, index, 1, 100.0 - index) for index in range(60)])
    theirs = circuit_of([Unit(0, index, 1, float(index)) for index in reversed(range(5, 65))])
    found = compared(ours, theirs)
    assert [overlap.strongest for overlap in found.overlaps] == [None, 10, 50]
    assert [overlap.anywhere.both for overlap in found.overlaps] == [55, 0, 35]
    assert found.ranks is not None and found.ranks.spearman == pytest.approx(-1)
    assert len(found.only[0]) == 5
