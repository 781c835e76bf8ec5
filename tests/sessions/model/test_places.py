"""Places: a neuron's numbers are where the neuron reads and writes with them, in every family."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sessions.errors import ModelError, UsageError
from sessions.model.opening import OpenModel, adopt
from sessions.model.places import (
    Part,
    matrix_of,
    module_place,
    neuron_places,
    part_module,
    parts_of,
    tied_with,
    writer_places,
)
from tests.families import DENSE, MOE, OLD, tiny, tiny_tokenizer

IDS = torch.tensor([[1, 7, 20, 33]])


def opened_as(family: str, *, biases: bool = False) -> OpenModel:
    return adopt(tiny(family, biases=biases), tiny_tokenizer(), name=family)


def some_of(opened: OpenModel, layer: int) -> tuple[int, ...]:
    """The first neuron of a layer, the last, and one between."""
    width = opened.anatomy.widths[layer]
    return 0, width // 2 + 1, width - 1


@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_what_a_place_holds_is_what_the_neuron_reads_and_writes(family: str) -> None:
    opened = opened_as(family, biases=True)
    for layer in range(opened.anatomy.n_layers):
        for index in some_of(opened, layer):
            rows = opened.anatomy.read_rows(layer, index)
            for part in parts_of(opened.anatomy, layer, index):
                ((place, numbers),) = neuron_places(opened.anatomy, layer, part, [index])
                assert numbers == (0,)
                if part in rows:
                    assert torch.allclose(place.read()[0], rows[part], atol=1e-6)
            ((place, _),) = neuron_places(opened.anatomy, layer, "down", [index])
            norm = opened.anatomy.layers[layer].write_norm
            column = place.read() if norm is None else norm(place.read()[None])[0]
            assert torch.allclose(column[0], opened.anatomy.down_column(layer, index), atol=1e-5)


@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_a_place_is_a_view_and_writing_changes_these_lines_alone(family: str) -> None:
    opened = opened_as(family, biases=True)
    chosen = some_of(opened, 1)
    before = {name: value.clone() for name, value in opened.model.state_dict().items()}
    for part in parts_of(opened.anatomy, 1, 0):
        for place, numbers in neuron_places(opened.anatomy, 1, part, chosen):
            old = place.read()
            place.write(old + 1)
            assert torch.allclose(place.read(), old + 1)
            now = opened.model.state_dict()
            changed = sum(int((now[name] != value).sum()) for name, value in before.items())
            assert changed == old.numel() == len(numbers) * old.shape[1]
            place.write(old)
    assert all(torch.equal(value, opened.model.state_dict()[name]) for name, value in before.items())


def test_neurons_of_several_experts_have_a_place_each() -> None:
    opened = opened_as("mixtral")
    places = neuron_places(opened.anatomy, 0, "gate", [1, 50, 2, 190])
    assert sorted(number for _, numbers in places for number in numbers) == [0, 1, 2, 3]
    assert [numbers for _, numbers in places] == [(0, 2), (1,), (3,)]


@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_the_writers_are_the_matrices_that_write_to_the_stream(family: str) -> None:
    """Without them, a layer adds nothing but its biases: what it is given is what it returns."""
    opened = opened_as(family)
    for layer in opened.anatomy.layers:
        places = writer_places(opened.anatomy, opened.anatomy.layers.index(layer), "down")
        assert all(place.matrix.shape[0] == opened.anatomy.d_model for place in places)
        assert sum(place.matrix.shape[1] for place in places) == layer.width
        if layer.attention_output is None:
            with pytest.raises(ModelError):
                writer_places(opened.anatomy, opened.anatomy.layers.index(layer), "attn_out")
            return
    if family == "gemma3n":  # whose layers mix several streams
        return
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number in range(3):
        for writer in ("down", "attn_out"):
            for place in writer_places(opened.anatomy, number, writer):  # type: ignore[arg-type]
                place.write(torch.zeros_like(place.matrix))
    handle = opened.anatomy.layers[1].block.register_forward_hook(
        lambda _, given, out: seen.append((given[0], opened.anatomy.residual(out)))
    )
    opened.model(IDS, use_cache=False)
    handle.remove()
    given, out = seen[0]
    if not opened.anatomy.embeds_per_layer:
        assert torch.allclose(given, out, atol=1e-6)


def test_a_neuron_without_a_gate_has_none() -> None:
    opened = opened_as("gpt2")
    assert parts_of(opened.anatomy, 0, 0) == ("in", "bias", "down")
    with pytest.raises(UsageError) as caught:
        neuron_places(opened.anatomy, 0, "gate", [0])
    assert caught.value.hint == "it has: in, bias, down"
    with pytest.raises(UsageError):
        part_module(opened.anatomy, 0, "up", 0)


def test_a_fused_projection_is_the_module_of_both_its_rows() -> None:
    opened = opened_as("phi3")
    gate, first = part_module(opened.anatomy, 0, "gate", 5)
    up, second = part_module(opened.anatomy, 0, "up", 5)
    assert gate is up and (first, second) == (5, 53)


def test_an_adapter_is_looked_through() -> None:
    opened = opened_as("llama")

    class Wrapped(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.base_layer = inner

    mlp = opened.anatomy.layers[0].block.mlp
    inner = mlp.up_proj
    mlp.up_proj = Wrapped(inner)
    assert matrix_of(mlp.up_proj, "it").data_ptr() == inner.weight.data_ptr()
    place = module_place(opened.model, "model.layers.0.mlp.up_proj")
    assert place.matrix.data_ptr() == inner.weight.data_ptr()


@pytest.mark.parametrize("part", ["gate", "up", "down"])
def test_a_neuron_that_is_not_there_has_no_place(part: Part) -> None:
    opened = opened_as("llama")
    for layer, index in ((3, 0), (0, 48), (-1, 0), (0, -1)):
        with pytest.raises(UsageError):
            neuron_places(opened.anatomy, layer, part, [index])


def test_modules_that_are_no_projections_are_refused_by_name() -> None:
    opened = opened_as("llama")
    for name, said in {
        "model.layers.0.input_layernorm": "no matrix of weights",
        "model.layers.9.mlp.up_proj": "no projection 'model.layers.9.mlp.up_proj'",
        "model.layers.0.mlp": "no matrix of weights",
    }.items():
        with pytest.raises(ModelError, match=said):
            module_place(opened.model, name)


def test_one_matrix_that_is_used_twice_is_noticed() -> None:
    assert tied_with(opened_as("gemma").model, "lm_head") == ("model.embed_tokens",)
    assert tied_with(opened_as("gemma").model, "model.embed_tokens") == ("lm_head",)
    assert tied_with(opened_as("llama").model, "lm_head") == ()
