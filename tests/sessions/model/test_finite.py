"""Numbers that are none are refused with the part of the model that was the first to give one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sessions.errors import ModelError
from sessions.model.distribution import next_logits
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.places import neuron_places
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

IDS = [1, 9, 27, 17]


def adopted(family: str = "llama") -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def refused(opened: OpenModel) -> ModelError:
    hooks = count_hooks(opened.model)
    with pytest.raises(ModelError) as raised:
        next_logits(opened.model, opened.anatomy, IDS)
    assert count_hooks(opened.model) == hooks
    return raised.value


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_a_layer_with_a_weight_that_is_no_number_is_named(family: str, layer: int) -> None:
    opened = adopted(family)
    (place, _), *_ = neuron_places(opened.anatomy, layer, "down", (3,))
    place.write(torch.full((1, opened.anatomy.d_model), torch.nan))
    if family in MOE:  # a token may not be sent to the expert: then all of them
        for weight in opened.anatomy.layers[layer].block.parameters():
            weight.fill_(torch.nan)
    found = refused(opened)
    assert found.message.startswith(f"layer {layer} is the first to give what is no number")
    assert "its weights hold some, in " in found.message and "edits" in found.hint


def weight_of(name: str) -> Callable[[OpenModel], nn.Module]:
    return lambda opened: getattr(opened.anatomy, name)


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("the embedding", lambda opened: opened.model.get_input_embeddings()),
        ("the final norm", weight_of("final_norm")),
        ("the head", weight_of("head")),
    ],
)
def test_what_is_no_layer_is_named_too(said: str, part: Callable[[OpenModel], nn.Module]) -> None:
    opened = adopted()
    weight: torch.Tensor = part(opened).weight  # type: ignore[assignment]
    weight.view(-1)[-1] = torch.inf if said == "the head" else torch.nan
    if said == "the embedding":
        weight[17] = torch.nan
    found = refused(opened)
    assert found.message.startswith(f"{said} is the first to give what is no number")
    assert ("at position 3" in found.message) == (said == "the embedding")


def test_numbers_that_grow_too_large_have_no_weights_to_blame() -> None:
    opened = adopted()
    for weight in opened.anatomy.layers[1].block.mlp.parameters():  # type: ignore[union-attr]
        weight.mul_(1e30)
    found = refused(opened)
    assert found.message.startswith("layer 1 is the first to give what is no number, at position 0")
    assert "weights" not in found.message and "--dtype float32" in found.hint
