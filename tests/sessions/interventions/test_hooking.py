"""Scaling changes the chosen neurons by the chosen factor, where it was asked for, and nothing afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sessions.errors import UsageError
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model import anatomy
from sessions.model.generation import Decoding, generate
from sessions.model.hooks import count_hooks, on_neurons
from sessions.model.parts import Anatomy
from sessions.model.sites import ExpertSite
from sessions.model.units import Unit
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

IDS = torch.tensor([[1, 9, 27, 17, 51, 5, 33]])


def last_logits(model: Any, ids: Tensor = IDS) -> Tensor:
    return model(ids, use_cache=False).logits[:, -1]


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_a_multiplier_of_one_changes_no_bit_and_zero_changes_something(family: str) -> None:
    model = tiny(family)
    parts = anatomy.read(model)
    plain = last_logits(model)
    every = tuple(Unit(1, index) for index in range(parts.widths[1]))
    with intervening(parts, [Intervention(every, 1.0)]):
        assert torch.equal(last_logits(model), plain)
    with intervening(parts, [Intervention(every, 0.0)]):
        assert not torch.equal(last_logits(model), plain)
    assert torch.equal(last_logits(model), plain)
    assert count_hooks(model) == 0


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_rows_of_a_batch_are_scaled_each_its_own_way(family: str) -> None:
    model = tiny(family)
    parts = anatomy.read(model)
    first = tuple(Unit(0, index) for index in range(0, parts.widths[0], 2))
    second = tuple(Unit(2 % parts.n_layers, index, 3) for index in range(0, parts.widths[2 % parts.n_layers], 3))
    rows = [
        Intervention(first, 0.0),
        Intervention((), 1.0),
        Intervention(second, 2.5),
        Intervention((*first, *second), -1.0),
    ]
    with intervening(parts, rows):
        together = last_logits(model, IDS.expand(4, -1))
    for row, scaling in enumerate(rows):
        with intervening(parts, [scaling]):
            alone = last_logits(model)[0]
        torch.testing.assert_close(together[row], alone, atol=1e-4, rtol=1e-4)


def recorded(parts: Anatomy, layer: int, model: Any, ids: Tensor = IDS) -> Tensor:
    """What the down projection of a dense layer receives, every other hook included."""
    seen: list[Tensor] = []
    with on_neurons(parts.layers[layer].sites[0], lambda h, _: (seen.append(h), h)[1]):
        model(ids, use_cache=False)
    return seen[0]


def test_a_neuron_with_a_position_is_scaled_there_only() -> None:
    model = tiny("llama")
    parts = anatomy.read(model)
    plain = recorded(parts, 1, model)
    with intervening(parts, [Intervention((Unit(1, 5, 3),), 3.0)]):
        changed = recorded(parts, 1, model)
    factor = torch.ones_like(plain)
    factor[0, 3, 5] = 3.0
    torch.testing.assert_close(changed, plain * factor)


def test_a_neuron_named_twice_is_scaled_once_and_everywhere_includes_its_positions() -> None:
    model = tiny("llama")
    parts = anatomy.read(model)
    plain = recorded(parts, 1, model)
    with intervening(parts, [Intervention((Unit(1, 5), Unit(1, 5), Unit(1, 5, 3)), 3.0)]):
        changed = recorded(parts, 1, model)
    factor = torch.ones_like(plain)
    factor[..., 5] = 3.0
    torch.testing.assert_close(changed, plain * factor)


def test_the_experts_neuron_that_is_scaled_is_the_one_that_was_named() -> None:
    model = tiny("mixtral")
    parts = anatomy.read(model)
    (site,) = parts.layers[1].sites
    assert isinstance(site, ExpertSite)
    kept: list[tuple[Tensor, Tensor]] = []

    def keep(h: Tensor, routing: Any) -> Tensor:
        kept.append((h, routing.experts))
        return h

    with on_neurons(site, keep):
        model(IDS, use_cache=False)
    expert = int(kept[0][1][0])
    with intervening(parts, [Intervention((Unit(1, expert * site.d_expert + 4),), 5.0)]), on_neurons(site, keep):
        model(IDS, use_cache=False)
    (plain, experts), (changed, _) = kept
    factor = torch.ones_like(plain)
    factor[experts == expert, 4] = 5.0
    torch.testing.assert_close(changed, plain * factor)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gemma4", "gpt2", "mixtral"])
def test_under_a_cache_positions_mean_what_they_mean_without_one(family: str) -> None:
    """A position in the prompt is scaled once, in the prefill, also for a row padded on the left."""
    model, tokenizer = tiny(family), tiny_tokenizer()
    parts = anatomy.read(model)
    neurons = tuple(Unit(1, index, 2) for index in range(parts.widths[1]))
    everywhere = tuple(Unit(0, index) for index in range(0, parts.widths[0], 4))
    prompts = [[1, 9, 27, 17, 51, 5, 33], [1, 12, 8, 41]]
    scaling = Intervention((*neurons, *everywhere), 0.0)
    with intervening(parts, [scaling, scaling]):
        rows = finished(generate(model, tokenizer, prompts, Decoding(max_tokens=6)))
    for prompt, row in zip(prompts, rows, strict=True):
        ids = list(prompt)
        for token in row.ids:  # the same text, each token computed anew from the whole prompt
            with intervening(parts, [scaling]):
                assert int(last_logits(model, torch.tensor([ids])).argmax()) == token
            ids.append(token)


def test_a_neuron_the_model_lacks_is_refused_before_anything_is_hooked() -> None:
    model = tiny("llama")
    with (
        pytest.raises(UsageError, match="no layer 9"),
        intervening(anatomy.read(model), [Intervention((Unit(9, 0),), 0.0)]),
    ):
        pass
    assert count_hooks(model) == 0


def test_the_tensor_handed_to_the_hook_is_not_changed() -> None:
    """Whoever recorded the activation before keeps what it was."""
    model = tiny("llama")
    parts = anatomy.read(model)
    before: list[Tensor] = []
    copies: list[Tensor] = []
    site = parts.layers[1].sites[0]
    keep = on_neurons(site, lambda h, _: (before.append(h), copies.append(h.clone()), h)[2])
    with keep, intervening(parts, [Intervention((Unit(1, 5), Unit(1, 6, 2)), 0.0)]):
        model(IDS, use_cache=False)
    assert torch.equal(before[0], copies[0])
