"""A neuron's rows are all that it sees of what its MLP is given; its column is all that it writes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sessions.model.anatomy import read
from sessions.model.hooks import on_neurons
from sessions.model.parts import Anatomy
from sessions.model.sites import DenseSite, ExpertSite
from tests.families import DENSE, MOE, OLD, tiny


def _mlp(anatomy: Anatomy, layer: int, site: DenseSite) -> nn.Module:
    return next(m for m in anatomy.layers[layer].block.modules() if any(c is site.down for c in m.children()))


def _activation(mlp: nn.Module, site: DenseSite, index: int, given: Tensor) -> float:
    """What the neuron is when its MLP is given this vector."""
    seen: list[Tensor] = []

    def keep(activations: Tensor, _: object) -> Tensor:
        seen.append(activations)
        return activations

    with on_neurons(site, keep), torch.no_grad():
        mlp.forward(given[None, None], *([torch.zeros(1, 1, len(given))] if type(mlp).__name__ == "BloomMLP" else []))
    return float(seen[0].flatten()[index])


@pytest.mark.parametrize("family", DENSE + OLD)
def test_nothing_but_its_rows_moves_a_neuron(family: str) -> None:
    anatomy = read(tiny(family, biases=True))
    layer, index = 1, 5
    site = anatomy.layers[layer].sites[0]
    assert isinstance(site, DenseSite)
    mlp, rows = _mlp(anatomy, layer, site), anatomy.read_rows(layer, index)
    assert set(rows) == ({"gate", "up"} if site.gated else {"in"})
    generator = torch.Generator().manual_seed(0)
    given, other = torch.randn(2, anatomy.d_model, generator=generator)
    basis = torch.linalg.qr(torch.stack(list(rows.values()), 1)).Q
    unseen = other - basis @ (basis.T @ other)
    value = _activation(mlp, site, index, given)
    assert _activation(mlp, site, index, given + 3 * unseen) == pytest.approx(value, abs=1e-4)
    for row in rows.values():
        assert abs(_activation(mlp, site, index, given + 2 * row) - value) > 1e-3


@pytest.mark.parametrize("family", MOE)
def test_an_experts_neuron_is_moved_by_its_rows_alone(family: str) -> None:
    anatomy = read(tiny(family))
    site = next(s for s in anatomy.layers[1].sites if isinstance(s, ExpertSite))
    expert, coordinate = 2, 3
    index = site.offset + expert * site.d_expert + coordinate
    rows = anatomy.read_rows(1, index)
    weights = site.experts.gate_up_proj[expert]
    weights = weights.T if getattr(site.experts, "is_transposed", False) else weights

    def value(given: Tensor) -> float:
        return float(site.experts._apply_gate((weights @ given)[None])[0, coordinate])

    generator = torch.Generator().manual_seed(0)
    given, other = torch.randn(2, anatomy.d_model, generator=generator)
    basis = torch.linalg.qr(torch.stack([rows["gate"], rows["up"]], 1)).Q
    assert value(given + other - basis @ (basis.T @ other)) == pytest.approx(value(given), abs=1e-4)
    assert value(given + 0.5 * rows["up"]) != pytest.approx(value(given), abs=1e-4)


@pytest.mark.parametrize("family", DENSE)
def test_the_norm_before_an_mlp_is_the_one_it_reads_through(family: str) -> None:
    model = tiny(family)
    anatomy = read(model)
    site = anatomy.layers[1].sites[0]
    assert isinstance(site, DenseSite)
    norm, given, normed = anatomy.layers[1].read_norm, [], []
    handles = [_mlp(anatomy, 1, site).register_forward_pre_hook(lambda _, args: given.append(args[0]))]
    if norm is not None:
        handles.append(norm.register_forward_hook(lambda _, __, output: normed.append(output)))
    model(input_ids=torch.tensor([[1, 5, 9]]))
    for handle in handles:
        handle.remove()
    assert norm is None or torch.equal(given[0].reshape(-1), normed[0].reshape(-1))
