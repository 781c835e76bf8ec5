"""A state that is injected is there, for every family and at every site: where it was taken from, it changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sessions.errors import ModelError
from sessions.interventions.injecting import Injection, injected, seen_at
from sessions.model.hooks import StateSite, count_hooks
from sessions.model.opening import OpenModel, adopt
from tests.families import DENSE, LAYERS, MOE, OLD, tiny, tiny_tokenizer

IDS = torch.tensor([[3, 9, 27, 17, 51, 5, 33]])
OTHER = torch.tensor([[3, 40, 11, 8, 60, 22, 19]])
SITES: tuple[StateSite, ...] = ("resid_pre", "resid_post", "mlp_out", "attn_out")


def opened_tiny(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def logits(opened: OpenModel, ids: Tensor = IDS) -> Tensor:
    with torch.inference_mode():
        return opened.model(ids, use_cache=False).logits


@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_a_state_in_its_own_place_changes_no_bit(family: str) -> None:
    opened = opened_tiny(family)
    places = [(layer, site) for layer in range(LAYERS) for site in SITES]
    with seen_at(opened.anatomy, 1, [3], states=places) as seen:
        plain = logits(opened)
    for layer, site in places:
        state = seen.states[layer, site][0, 0]
        with injected(opened.anatomy, [[Injection(layer, site, 3, state)]]):
            assert torch.equal(logits(opened), plain), (layer, site)
        with injected(opened.anatomy, [[Injection(layer, site, 3, state + 1)]]):
            assert not torch.equal(logits(opened), plain), (layer, site)
    assert count_hooks(opened.model) == 0
