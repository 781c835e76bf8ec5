"""Directions are read without the biases on their way: what they push, read and write is their own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from sessions.directions.lens import predicted, pushed
from sessions.directions.reading import reads
from sessions.edits.edit import Edit, Neurons
from sessions.edits.inspecting import inspected
from sessions.edits.ledger import Ledger
from sessions.errors import ModelError
from sessions.events import finished
from sessions.model.linear import carried_back, odd_part
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from tests.families import DENSE, tiny, tiny_tokenizer

#: Families whose final norm has a bias.
BIASED = ("gpt2", "gpt_neo", "gpt_neox")


@cache
def opened(family: str) -> OpenModel:
    """A model whose final norm's bias says a token by itself, whatever is written."""
    found = adopt(tiny(family, biases=True), tiny_tokenizer(), name=family)
    norm, head = found.anatomy.final_norm, found.anatomy.head
    if family in BIASED:
        norm.bias.copy_(50 * head.weight[7])  # type: ignore[union-attr,operator]
    return found


def by_hand(model: OpenModel, direction: Tensor) -> Tensor:
    """The logits of a direction through the weights of the final norm and the head alone."""
    norm, head = model.anatomy.final_norm, model.anatomy.head
    return head.weight @ (norm.weight * (direction - direction.mean()))  # type: ignore[operator]


def texts(model: OpenModel, ids: Tensor) -> tuple[str, ...]:
    return tuple(model.tokenizer.decode([token]) for token in ids.tolist())


@pytest.mark.parametrize("family", BIASED)
def test_tokens_pushed_by_a_neuron_are_not_the_biases_own(family: str) -> None:
    model = opened(family)
    for index in range(6):
        logits = by_hand(model, model.anatomy.down_column(1, index))
        ((up, down),) = pushed(model.anatomy, model.tokenizer, [Unit(1, index)], 3)
        assert (up, down) == (texts(model, logits.topk(3).indices), texts(model, (-logits).topk(3).indices))


@pytest.mark.parametrize("family", DENSE)
def test_the_opposite_direction_pushes_the_opposite(family: str) -> None:
    model = opened(family)
    direction = torch.randn(1, model.anatomy.d_model, generator=torch.Generator().manual_seed(0))
    assert torch.equal(predicted(model.anatomy, direction), -predicted(model.anatomy, -direction))


@pytest.mark.parametrize("family", [family for family in DENSE if family not in BIASED])
def test_without_biases_linear_is_the_model_s_own_to_the_bit(family: str) -> None:
    model = opened(family)
    direction = torch.randn(1, 1, model.anatomy.d_model, generator=torch.Generator().manual_seed(0))
    own = model.anatomy.head(model.anatomy.final_norm(direction))[:, 0]
    assert torch.equal(predicted(model.anatomy, direction[0]), own)


@pytest.mark.parametrize("family", BIASED)
def test_an_inspected_edit_pushes_what_its_column_does(family: str) -> None:
    model = opened(family)
    column = torch.randn(1, model.anatomy.d_model, generator=torch.Generator().manual_seed(1))
    edit = Edit("rewrite", "a test", (Neurons(1, "down", (3,), column),))
    found = finished(inspected(model, Ledger(model), edit, below=0))
    (neuron,) = found.neurons
    logits = by_hand(model, column[0])
    assert neuron.up == texts(model, logits.topk(3).indices)
    assert neuron.down == texts(model, (-logits).topk(3).indices)


@pytest.mark.parametrize("family", BIASED)
def test_a_row_predicts_through_the_gain_of_its_norm_alone(family: str) -> None:
    model = opened(family)
    (row,) = model.anatomy.read_rows(1, 3).values()
    norm = model.anatomy.layers[1].read_norm
    assert isinstance(norm, nn.LayerNorm)
    gained = row * norm.weight
    (read,) = reads(model, Unit(1, 3), 3)
    assert read.stream[0] == texts(model, by_hand(model, gained - gained.mean()).topk(3).indices)


def test_what_a_neuron_writes_through_a_norm_is_without_the_norm_s_bias() -> None:
    model = opened("gemma2")
    norm, layer = nn.LayerNorm(model.anatomy.d_model), model.anatomy.layers[1]
    anatomy = replace(model.anatomy, layers=(model.anatomy.layers[0], replace(layer, write_norm=norm)))
    plain = anatomy.down_column(1, 3), anatomy.written(1, torch.ones(layer.width))
    with torch.no_grad():
        norm.bias.fill_(3.0)
    biased = anatomy.down_column(1, 3), anatomy.written(1, torch.ones(layer.width))
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(plain, biased, strict=True))


# ---- norms


class Centring(nn.Module):
    """A norm in the manner of Cohere's: it takes the mean away, and is no LayerNorm of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2, 32))

    def forward(self, state: Tensor) -> Tensor:
        centred = state - state.mean(-1, keepdim=True)
        return self.weight * centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-5)


@pytest.mark.parametrize("norm", [Centring(), nn.LayerNorm(32), nn.RMSNorm(32)], ids=["own", "layer", "rms"])
def test_a_norm_carries_a_direction_back_by_its_gain(norm: nn.Module) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)  # type: ignore[operator]
    states, direction = torch.randn(2, 9, 32), torch.randn(1, 32)
    found = odd_part(norm, states) @ direction[0]
    scale = odd_part(norm, states).norm(dim=-1) / states.norm(dim=-1)
    along = states @ carried_back(norm, direction)[0]
    assert bool((found.sign() == along.sign()).all()) and bool(scale.isfinite().all())


def test_a_norm_that_does_more_than_scale_is_refused() -> None:
    class Bent(nn.Module):
        def forward(self, state: Tensor) -> Tensor:
            return state.roll(1, -1)

    with pytest.raises(ModelError, match="Bent"):
        carried_back(Bent(), torch.randn(1, 32))


@pytest.mark.parametrize("family", ["llama"])
def test_a_row_behind_such_a_norm_predicts_nothing(family: str) -> None:
    class Bent(nn.Module):
        def forward(self, state: Tensor) -> Tensor:
            return state.roll(1, -1)

    model = opened(family)
    layers = list(model.anatomy.layers)
    layers[1] = replace(layers[1], read_norm=Bent())
    found = reads(replace(model, anatomy=replace(model.anatomy, layers=tuple(layers))), Unit(1, 3), 3)
    assert [read.stream for read in found] == [((), ()), ((), ())]
    assert all(read.embeddings[0] for read in found)
