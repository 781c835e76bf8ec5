"""A circuit explains the directions that its neurons write, and no others; two vectors are held together."""

from __future__ import annotations

import math

import pytest
import torch

from sessions.circuits.against import beside, held_against, overlap
from sessions.directions.vector import Vector, Where
from sessions.errors import ArtifactError, UsageError
from sessions.events import finished
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from tests.circuits import circuit_of
from tests.families import tiny, tiny_tokenizer


def vector(directions: dict[int, torch.Tensor], site: Where = "resid_post") -> Vector:
    return Vector(site, directions, 1, 1, "llama")


@pytest.fixture(scope="module")
def opened() -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny")


def test_a_circuit_explains_exactly_the_directions_that_its_neurons_can_write(opened: OpenModel) -> None:
    neurons = [Unit(0, 3, 1, 0.5), Unit(0, 3, 4, 0.5), Unit(0, 9, 1, -2.0), Unit(1, 5, 2, 1.0)]
    low, high = opened.anatomy.down_columns(0, [3, 9]), opened.anatomy.down_column(1, 5)
    written = low[0] - 2 * low[1] + high
    outside = torch.linalg.svd(torch.stack([*low, high])).Vh[-1]
    directions = {0: low[1], 1: written, 2: outside}
    spans, ranks = finished(held_against(opened.anatomy, circuit_of(neurons), vector(directions)))
    assert [each.explained for each in spans] == pytest.approx([1, 1, 0], abs=1e-5)
    assert [each.neurons for each in spans] == [2, 3, 3]
    assert [each.here for each in spans] == [2, 1, 0]
    assert all(0 < each.chance < 0.5 for each in spans)
    assert ranks is not None and ranks.count == 3
    # What the MLP of layer 1 adds, the neurons of layer 0 have not written.
    spans, _ = finished(held_against(opened.anatomy, circuit_of(neurons), vector(directions, "mlp_out")))
    assert spans[0].explained == pytest.approx(1, abs=1e-5)
    assert spans[1].neurons == 1
    cosine = float(written @ high / written.norm() / high.norm())
    assert spans[1].explained == pytest.approx(cosine**2, abs=1e-5)
    assert spans[2].explained == 0


def test_over_the_neurons_the_share_is_that_of_the_circuits_coordinates(opened: OpenModel) -> None:
    direction = torch.zeros(48)
    direction[[1, 2, 3]] = torch.tensor([3.0, 4.0, 0.5])
    neurons = [Unit(1, 1, 0, 1.0), Unit(1, 3, 0, 3.0), Unit(1, 40, 0, 2.0), Unit(2, 1, 0, 1.0)]
    (span,), ranks = finished(held_against(opened.anatomy, circuit_of(neurons), vector({1: direction}, "neurons")))
    assert span.explained == pytest.approx((9 + 0.25) / 25.25)
    assert (span.neurons, span.here, span.aligned) == (3, 3, 1)  # 3 over the norm is above 2 over √48, 0.5 is not
    assert ranks is not None and ranks.spearman == pytest.approx(-0.5)


def test_a_circuit_that_spans_everything_explains_everything_and_so_does_a_random_one(opened: OpenModel) -> None:
    everything = circuit_of([Unit(0, index, 1, 1.0) for index in range(48)])
    (span,), _ = finished(held_against(opened.anatomy, everything, vector({0: torch.ones(32)})))
    assert span.explained == pytest.approx(1) and span.chance == pytest.approx(1)


def test_the_neurons_most_along_a_vector_are_counted_among_a_circuits_strongest(opened: OpenModel) -> None:
    """Of the two that lie most along the direction of their layer, one is of the circuit's two; of its three, both."""
    columns = opened.anatomy.down_columns(1, [5, 6])
    joined = columns[0] / columns[0].norm() + 0.9 * columns[1] / columns[1].norm()
    neurons = [Unit(0, 3, 1, 3.0), Unit(1, 5, 2, -1.0), Unit(1, 5, 3, -1.0), Unit(1, 6, 1, 0.5)]
    asked = opened.anatomy, circuit_of(neurons), vector({1: joined})
    two, three = (finished(overlap(*asked, top)) for top in (2, 3))
    assert [str(each.neuron) for each in two.neurons] == ["L1/N5"] and two.both == 1
    assert two.neurons[0].neuron.attribution == -2 and two.neurons[0].cosine > 0.5
    assert (two.along, two.strongest, two.among) == (2, 2, 48)
    # One of its strongest two is in the vector's layer, so two draws of 48 hit it with a chance of 2/48.
    assert two.expected == pytest.approx(2 / 48) and two.p == pytest.approx(2 / 48)
    assert [str(each.neuron) for each in three.neurons] == ["L1/N5", "L1/N6"]
    assert three.expected == pytest.approx(3 * 2 / 48)
    assert three.p == pytest.approx(math.comb(46, 1) / math.comb(48, 3))


def test_a_vector_without_length_has_no_neuron_along_it(opened: OpenModel) -> None:
    circuit = circuit_of([Unit(0, 3, 1, 3.0)])
    found = finished(overlap(opened.anatomy, circuit, vector({0: torch.zeros(32)}), 50))
    assert (found.along, found.both, found.expected, found.p) == (0, 0, 0, 1)


def test_on_a_real_model_a_random_circuit_explains_no_more_than_chance(smollm2: OpenModel) -> None:
    generator = torch.Generator().manual_seed(3)
    chosen = [Unit(layer, int(i), 1, 1.0) for layer in range(30) for i in torch.randperm(1536, generator=generator)[:4]]
    direction = torch.randn(576, generator=generator)
    spans, _ = finished(held_against(smollm2.anatomy, circuit_of(chosen), vector({29: direction})))
    assert spans[0].neurons == 120
    assert spans[0].explained == pytest.approx(120 / 576, abs=0.08)
    assert spans[0].chance == pytest.approx(spans[0].explained, abs=0.08)


def test_circuits_and_vectors_that_do_not_fit_are_refused(opened: OpenModel) -> None:
    with pytest.raises(UsageError, match="no neuron in the layers of the vector"):
        finished(held_against(opened.anatomy, circuit_of([Unit(0, 1, 1, 1.0)]), vector({2: torch.ones(32)})))
    with pytest.raises(ArtifactError, match="a neuron L0/N48 that this model lacks"):
        finished(held_against(opened.anatomy, circuit_of([Unit(0, 48, 1, 1.0)]), vector({0: torch.ones(32)})))
    with pytest.raises(ArtifactError, match="7 numbers at layer 0"):
        finished(held_against(opened.anatomy, circuit_of([Unit(0, 1, 1, 1.0)]), vector({0: torch.ones(7)})))


def test_two_vectors_are_compared_where_both_are() -> None:
    ours = vector({1: torch.tensor([3.0, 0.0]), 2: torch.tensor([1.0, 1.0]), 4: torch.ones(2)})
    theirs = vector({1: torch.tensor([-2.0, 0.0]), 2: torch.tensor([1.0, 0.0]), 3: torch.ones(2)}, "mlp_out")
    first, second = beside(ours, theirs)
    assert (first.layer, first.cosine, first.norms) == (1, pytest.approx(-1), (3, 2))
    assert (second.layer, second.cosine) == (2, pytest.approx(math.sqrt(0.5)))
    with pytest.raises(UsageError, match="no layer in common"):
        beside(vector({0: torch.ones(2)}), ours)
    with pytest.raises(UsageError, match="at resid_post and the other at neurons"):
        beside(ours, vector({1: torch.ones(2)}, "neurons"))
    with pytest.raises(UsageError, match="different widths"):
        beside(ours, vector({1: torch.ones(3)}))
