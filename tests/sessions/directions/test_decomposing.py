"""A direction taken apart: the neurons it is made of are found, and shares of it are those of least squares."""

from __future__ import annotations

import pytest
import torch

from sessions.cancel import Cancel
from sessions.directions.decomposing import decomposed, pursued
from sessions.directions.findings import EXPLAINED_BY
from sessions.directions.lens import pushed
from sessions.directions.vector import Vector, Where
from sessions.errors import ArtifactError, Cancelled
from sessions.events import finished
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from tests.families import DENSE, MOE, tiny, tiny_tokenizer


def of(opened: OpenModel, directions: dict[int, torch.Tensor], site: Where = "resid_post") -> Vector:
    return Vector(site, directions, 1, 1, opened.info.family)


@pytest.mark.parametrize("family", DENSE + MOE)
def test_a_down_column_is_its_own_neuron(family: str) -> None:
    opened = adopt(tiny(family), tiny_tokenizer(), name=family)
    columns = {layer: opened.anatomy.down_column(layer, 5 * layer + 7) for layer in range(3)}
    vector = of(opened, {layer: -2 * column for layer, column in columns.items()})
    for direction in finished(decomposed(opened, vector)):
        best = direction.neurons[0]
        assert best.neuron == Unit(direction.layer, 5 * direction.layer + 7)
        assert best.cosine == pytest.approx(-1, abs=1e-5)
        assert direction.explained == pytest.approx((1, 1, 1), abs=1e-5)
        assert direction.chance[0] < 0.9
        assert direction.norm == pytest.approx(2 * float(columns[direction.layer].norm()), rel=1e-5)


@pytest.mark.parametrize("family", DENSE)
def test_a_direction_over_neurons_is_read_as_what_they_write(family: str) -> None:
    """One neuron alone pushes what the lens says of it, and half of each of two holds half of the square."""
    opened = adopt(tiny(family), tiny_tokenizer(), name=family)
    one, two = torch.zeros(48), torch.zeros(48)
    one[9], two[[3, 4]] = 2.0, torch.tensor([1.0, -1.0])
    width = opened.anatomy.widths[1]
    directions = {0: torch.cat([one, torch.zeros(opened.anatomy.widths[0] - 48)])}
    directions[1] = torch.cat([two, torch.zeros(width - 48)])
    first, second = finished(decomposed(opened, of(opened, directions, "neurons"), tokens=4))
    assert (first.neurons[0].neuron, first.neurons[0].cosine) == (Unit(0, 9), pytest.approx(1))
    ((up, down),) = pushed(opened.anatomy, opened.tokenizer, [Unit(0, 9, None, None, 1.0)], 4)
    assert (first.up, first.down) == (up, down)
    assert second.turned is None
    assert second.explained[:2] == pytest.approx((0.5, 1.0))


def test_shares_are_those_of_least_squares_and_only_grow(smollm2: OpenModel) -> None:
    """On real columns: five of them mixed are found again, and a random direction needs far more."""
    indices = [3, 500, 1005, 1200, 1535]
    columns = smollm2.anatomy.down_columns(12, indices)
    mixed = (columns * torch.tensor([3.0, -2.5, 2.0, 1.8, -1.5])[:, None]).sum(0)
    (direction,) = finished(decomposed(smollm2, of(smollm2, {12: mixed})))
    assert direction.explained[1] == pytest.approx(1, abs=1e-4)
    assert {each.neuron.index for each in direction.neurons[:5]} == set(indices)
    assert direction.chance[0] < direction.chance[1] < direction.chance[2] < 0.5


def test_pursuit_takes_the_best_column_and_then_the_best_of_what_is_left() -> None:
    generator = torch.Generator().manual_seed(0)
    units = torch.nn.functional.normalize(torch.randn(30, 8, generator=generator), dim=-1)
    wanted = torch.randn(2, 8, generator=generator)
    shares = pursued(units, wanted)
    for direction, share in zip(wanted, shares, strict=True):
        taken: list[int] = []
        left = direction
        naive = []
        for _ in range(8):
            taken.append(int((units @ left).abs().argmax()))
            fit = torch.linalg.lstsq(units[taken].T.double(), direction.double()[:, None]).solution[:, 0]
            left = direction - (fit @ units[taken].double()).float()
            naive.append(1 - float(left.square().sum() / direction.square().sum()))
        expected = [naive[min(count, 8) - 1] for count in EXPLAINED_BY]
        assert share == pytest.approx(expected, abs=1e-4)
        assert share[-1] == pytest.approx(1, abs=1e-4)  # as many columns as dimensions


def test_a_layer_where_a_vector_is_nothing_is_no_number(smollm2: OpenModel) -> None:
    nothing, something = torch.zeros(576), torch.ones(576)
    directions = finished(decomposed(smollm2, of(smollm2, {4: nothing, 5: something, 6: something})))
    assert [each.turned for each in directions] == [None, None, pytest.approx(1)]
    assert directions[0].explained == (0, 0, 0) and directions[0].norm == 0


def test_chosen_layers_alone_are_taken_apart_and_cancelled_between(smollm2: OpenModel) -> None:
    vector = of(smollm2, {layer: torch.ones(576) for layer in (4, 5, 6)})
    assert [each.layer for each in finished(decomposed(smollm2, vector, [5, 6], tokens=2))] == [5, 6]
    cancel = Cancel()
    steps = decomposed(smollm2, vector, cancel=cancel)
    next(steps)
    cancel.request()
    with pytest.raises(Cancelled):
        next(steps)
    with pytest.raises(ArtifactError, match="resid_post has 576 there"):
        finished(decomposed(smollm2, of(smollm2, {0: torch.ones(5)})))
