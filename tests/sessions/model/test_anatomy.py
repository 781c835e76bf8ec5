"""The anatomy finds the neurons of every family, and what it calls a neuron is one: changing it changes the
residual stream by its down column."""

from __future__ import annotations

import pytest
import torch

from sessions.errors import ModelError, UsageError
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model import anatomy
from sessions.model.hooks import after, count_hooks, on_neurons
from sessions.model.sites import DenseSite, ExpertSite
from sessions.model.units import Unit
from tests.families import DENSE, MOE, tiny

IDS = torch.tensor([[3, 9, 27, 17, 51, 5, 33]])


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_every_family_has_layers_with_neurons(family: str) -> None:
    model = tiny(family)
    parts = anatomy.read(model)
    assert parts.n_layers == model.config.get_text_config().num_hidden_layers
    assert all(width > 0 for width in parts.widths)
    assert parts.has_experts == (family in MOE)
    assert parts.embeddings and (parts.norms or parts.centring_norms)


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_hooks_see_every_neuron_of_a_forward_pass(family: str) -> None:
    model = tiny(family)
    parts = anatomy.read(model)
    for layer in parts.layers:
        for site in layer.sites:
            seen: list[torch.Size] = []
            with on_neurons(site, lambda h, routing, seen=seen: (seen.append(h.shape), h)[1]):
                model(IDS, use_cache=False)
            (shape,) = seen
            assert shape[-1] == (site.d_expert if isinstance(site, ExpertSite) else site.width)
    assert count_hooks(model) == 0


@pytest.mark.parametrize("family", DENSE)
def test_ablating_a_neuron_takes_its_activation_times_its_column_out_of_the_mlp(family: str) -> None:
    """The down column is what the neuron writes: measured at the down projection's own output."""
    model = tiny(family)
    parts = anatomy.read(model)
    site = parts.layers[1].sites[0]
    assert isinstance(site, DenseSite)
    calls: list[tuple[torch.Tensor, torch.Tensor]] = []
    with after(site.down, lambda activations, out: (calls.append((activations, out)), out)[1]):
        model(IDS, use_cache=False)
        with intervening(parts, [Intervention((Unit(1, 7),), 0.0)]):
            model(IDS, use_cache=False)
    (activations, plain), (_, ablated) = calls
    column = site.down(torch.eye(site.width)[7]) - site.down(torch.zeros(site.width))
    torch.testing.assert_close(plain - ablated, activations[..., 7:8] * column, atol=1e-4, rtol=1e-4)


def test_an_expert_neuron_is_a_column_of_its_expert() -> None:
    model = tiny("mixtral")
    parts = anatomy.read(model)
    (site,) = parts.layers[0].sites
    assert isinstance(site, ExpertSite)
    expert, coordinate = 2, 5
    column = parts.down_column(0, expert * site.d_expert + coordinate)
    torch.testing.assert_close(column, site.experts.down_proj[expert][:, coordinate])


def test_a_neuron_that_is_not_there_is_refused_with_the_range() -> None:
    parts = anatomy.read(tiny("llama"))
    with pytest.raises(UsageError, match=r"no layer 3.*0 to 2"):
        parts.check(3, 0)
    with pytest.raises(UsageError, match=f"no neuron {parts.widths[0]}"):
        parts.check(0, parts.widths[0])


@pytest.mark.parametrize("family", ["gpt_oss", "gemma3n", "bloom"])
def test_what_a_family_cannot_do_is_refused_by_name(family: str) -> None:
    parts = anatomy.read(tiny(family))
    with pytest.raises(ModelError, match=f"relp is not available.*{family}"):
        parts.require("relp")


def test_a_model_of_another_build_is_refused_naming_the_part() -> None:
    model = tiny("llama")
    model.model.layers[1].mlp.other = model.model.layers[1].mlp.down_proj
    del model.model.layers[1].mlp.down_proj
    with pytest.raises(ModelError, match="layer 1 of 'llama' has no down projection"):
        anatomy.read(model)


def test_a_model_with_learned_positions_says_how_many_it_has() -> None:
    assert anatomy.read(tiny("llama")).context is None
    parts = anatomy.read(tiny("gpt2"))
    assert parts.context == 128
    parts.check_length(128)
    with pytest.raises(UsageError, match="129 tokens, and the model has 128 positions"):
        parts.check_length(129)
