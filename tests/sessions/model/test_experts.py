"""Experts run grouped, without copying a weight, and their neurons are handed over token by token all the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sessions.circuits.attributing import attribute
from sessions.interventions.suppressing import Suppression
from sessions.model import anatomy
from sessions.model.hooks import Routing, on_neurons, together
from sessions.model.parts import Anatomy
from sessions.model.sites import ExpertSite
from sessions.model.units import Unit
from tests.families import tiny

FAMILIES = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "deepseek_v3", "glm4_moe", "jamba", "qwen3_next")
IDS = torch.tensor([[1, 9, 27, 17, 51, 5, 33, 40, 12, 8, 22, 60], [1, 30, 4, 17, 17, 17, 6, 8, 12, 40, 61, 2]])


def sites(parts: Anatomy) -> list[tuple[int, ExpertSite]]:
    return [(n, site) for n, layer in enumerate(parts.layers) for site in layer.sites if isinstance(site, ExpertSite)]


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_what_its_expert_makes_of_its_token(family: str) -> None:
    """Most experts have several tokens here, and what they do to one is not what they do to another."""
    model = tiny(family, biases=True)
    parts = anatomy.read(model)
    for _, site in sites(parts):
        read: list[Tensor] = []
        rows: list[tuple[Tensor, Routing]] = []
        handle = site.experts.register_forward_pre_hook(lambda _, args, read=read: read.append(args[0]))
        with on_neurons(site, lambda values, routing, rows=rows: rows.append((values, routing)) or values):
            logits(model)
        handle.remove()
        (hidden,), ((values, routing),) = read, rows
        assert len(values) == hidden.shape[0] * routing.per_token
        for row, expert in enumerate(routing.experts.tolist()):
            weights = site.experts.gate_up_proj[expert]
            weights = weights.T if site.experts.is_transposed else weights
            made = weights @ hidden[row // routing.per_token]
            made = made + site.experts.gate_up_proj_bias[expert] if site.experts.has_bias else made
            torch.testing.assert_close(values[row], site.experts._apply_gate(made[None])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_hooks_that_change_nothing_change_no_bit(family: str) -> None:
    model = tiny(family)
    parts = anatomy.read(model)
    plain = logits(model)
    with together(on_neurons(site, lambda values, _: values) for _, site in [*sites(parts), *sites(parts)]):
        assert torch.equal(logits(model), plain)


@pytest.mark.parametrize("implementation", ["eager", "batched_mm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_are_those_of_the_other_implementations(family: str, implementation: str) -> None:
    model = tiny(family)
    other = copy.deepcopy(model)
    anatomy.read(model)
    other.set_experts_implementation(implementation)
    torch.testing.assert_close(logits(model), logits(other), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_suppressing_neurons_of_experts_is_zeroing_what_they_write(family: str) -> None:
    model = tiny(family)
    parts, zeroed = anatomy.read(model), copy.deepcopy(model)
    held = [
        Unit(layer, site.offset + expert * site.d_expert + 3)
        for layer, site in sites(parts)
        for expert in (0, 2)
        if expert < site.n_experts
    ]
    names = {id(module): name for name, module in model.named_modules()}
    for layer, site in sites(parts):
        down: Any = zeroed.get_submodule(names[id(site.experts)]).down_proj.data
        for neuron in held:
            if neuron.layer == layer:
                expert, column = divmod(neuron.index - site.offset, site.d_expert)
                (down[expert].T if site.experts.is_transposed else down[expert])[:, column] = 0
    with Suppression(parts, held).held():
        found = logits(model)
    torch.testing.assert_close(found, logits(zeroed), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, logits(model), atol=1e-4)


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "deepseek_v3"])
def test_no_weight_is_copied_for_a_token(family: str) -> None:
    """A token's own copy of its experts' weights is a gigabyte on models of that kind."""
    model, saved = tiny(family), []
    parts = anatomy.read(model)

    def packed(tensor: Tensor) -> Tensor:
        saved.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
        attribute(model, parts, IDS[:1], lambda found: found[-1].max())
    weights = max(each.untyped_storage().nbytes() for each in model.parameters())
    assert saved and max(saved) <= weights
