"""Hooks are gone when the block ends, whatever happened inside."""

from __future__ import annotations

import pytest
import torch

from sessions.cancel import Cancel
from sessions.errors import Cancelled
from sessions.model import anatomy
from sessions.model.hooks import after, before, count_hooks, on_neurons, together, watched
from tests.families import tiny

IDS = torch.tensor([[3, 9, 27]])


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_an_error_inside_the_block_leaves_no_hook(family: str) -> None:
    model = tiny(family)
    parts = anatomy.read(model)
    expected = model(IDS).logits

    def fail(*_: object) -> torch.Tensor:
        raise RuntimeError("inside")

    hooks = [on_neurons(site, fail) for layer in parts.layers for site in layer.sites]
    with pytest.raises(RuntimeError, match="inside"), together(hooks):
        model(IDS)
    assert count_hooks(model) == 0
    assert torch.equal(model(IDS).logits, expected)


def test_if_one_context_cannot_open_those_before_it_are_closed() -> None:
    model = tiny("llama")
    good = before(model.lm_head, lambda x: x)
    bad = before(None, lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(AttributeError), together([good, bad]):
        pass
    assert count_hooks(model) == 0


def test_outputs_and_inputs_are_replaced_inside_the_block_only() -> None:
    model = tiny("llama")
    plain = model(IDS).logits
    with after(model.lm_head, lambda _, out: out * 0):
        assert not model(IDS).logits.any()
    with before(model.lm_head, lambda x: x * 0):
        assert not model(IDS).logits.any()
    assert torch.equal(model(IDS).logits, plain)


def test_a_cancelled_forward_pass_stops_at_the_next_layer() -> None:
    model = tiny("llama")
    parts = anatomy.read(model)
    cancel = Cancel()
    reached: list[int] = []

    def note(number: int):
        def change(x: torch.Tensor, _: object) -> torch.Tensor:
            reached.append(number)
            if number == 1:
                cancel.request()
            return x

        return change

    sites = [on_neurons(layer.sites[0], note(number)) for number, layer in enumerate(parts.layers)]
    with pytest.raises(Cancelled), watched(parts, cancel), together(sites):
        model(IDS)
    assert reached == [0, 1]
    assert count_hooks(model) == 0
