"""A contrast is the difference of mean activations at the last token, and nothing else."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from sessions.circuits.circuit import Circuit
from sessions.circuits.contrast import contrast
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.recording import recorded
from sessions.errors import ModelError, UsageError
from sessions.events import finished
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from tests.families import DENSE, LAYERS, MOE, tiny, tiny_tokenizer

POSITIVE = ((1, 9, 30, 12), (1, 14), (1, 20, 21, 22, 23, 40, 41))
NEGATIVE = ((1, 8, 7, 6, 33), (1, 44, 45))


@cache
def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def contrasted(family: str, count: int = 1000, layers: range | None = range(LAYERS)) -> Circuit:
    steps = contrast(opened(family), POSITIVE, NEGATIVE, choice=CircuitSize(count), layers=layers, batch=16)
    return finished(steps).circuit


@pytest.mark.parametrize("family", DENSE)
def test_contrast_is_the_difference_of_two_means_at_the_last_token(family: str) -> None:
    model = opened(family)
    found = contrasted(family)
    assert len(found) == sum(model.anatomy.widths)
    sides = [[recorded(model, ids, len(ids)) for ids in side] for side in (POSITIVE, NEGATIVE)]
    for neuron in found.neurons[:50]:
        last = Unit(*neuron.site, -1)
        high, low = (sum(each.at(model.anatomy, last) for each in side) / len(side) for side in sides)
        assert neuron.position is None
        assert neuron.attribution == pytest.approx(high - low, abs=1e-4)
        assert neuron.activation == pytest.approx(high, abs=1e-4)
    strengths = [abs(neuron.attribution or 0) for neuron in found.neurons]
    assert strengths == sorted(strengths, reverse=True)
    assert count_hooks(model.model) == 0


def test_the_first_two_layers_are_left_out_unless_they_are_asked_for() -> None:
    assert {neuron.layer for neuron in contrasted("llama", layers=None).neurons} == {2}
    assert {neuron.layer for neuron in contrasted("llama", layers=range(2)).neurons} == {0, 1}


def test_contrast_has_no_target_and_says_so() -> None:
    found = contrasted("llama", 5)
    assert not found.target.stated and str(found.target) == "no target"
    assert (found.method, found.attention, found.conservation, found.compared) == ("contrast", "", None, "")
    assert found.chosen == "top 5, 3 prompts against 2"
    assert found.share(found.neurons[0]) is None


def test_what_is_the_same_on_both_sides_has_no_contrast() -> None:
    with pytest.raises(UsageError, match="the same to these layers"):
        finished(contrast(opened("llama"), POSITIVE, POSITIVE, choice=CircuitSize(5), batch=16))


@pytest.mark.parametrize("family", MOE)
def test_a_mixture_of_experts_is_refused(family: str) -> None:
    with pytest.raises(ModelError, match="contrast is not available on a mixture of experts"):
        contrasted(family)


def test_an_activation_that_is_no_number_names_the_layer() -> None:
    broken = adopt(tiny("llama"), tiny_tokenizer(), name="broken")
    broken.model.model.layers[2].mlp.up_proj.weight[:] = torch.inf
    with pytest.raises(ModelError, match="layer 2"):
        finished(contrast(broken, POSITIVE, NEGATIVE, choice=CircuitSize(5), batch=16))
