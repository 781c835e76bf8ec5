"""One edit: what it does to the weights, that hooks agree, that it comes out to the bit, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sessions.edits.edit import Edit, LowRank, Neurons, Projection
from sessions.edits.hooked import hooked
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.places import Part, neuron_places, parts_of, writer_places
from tests.edits import added, basis, bits, cut, louder, projection
from tests.families import DENSE, MOE, OLD, tiny, tiny_tokenizer

IDS = torch.tensor([[1, 7, 20, 33, 12, 9, 40, 5]])


def opened_as(family: str, dtype: torch.dtype = torch.float32, *, biases: bool = False) -> OpenModel:
    return adopt(tiny(family, biases=biases).to(dtype), tiny_tokenizer(), name=family)


@torch.inference_mode()
def logits(opened: OpenModel) -> Tensor:
    return opened.model(IDS, use_cache=False).logits


def apart(opened: OpenModel, edit: Edit) -> float:
    """How far the edit as hooks is from the edit as weights, over the largest logit; both have to do something."""
    plain = logits(opened)
    with hooked(opened, edit):
        hooks = logits(opened)
    assert torch.equal(logits(opened), plain)
    with edit.applied(opened):
        weights = logits(opened)
    assert not torch.allclose(weights, plain, rtol=1e-3)
    return float((weights - hooks).abs().max() / weights.abs().max())


KINDS: dict[str, Callable[[OpenModel], Edit]] = {
    "neurons": louder,
    "removed": cut,
    "kept": lambda opened: cut(opened, dims=20, keeps=True),
    "low rank": added,
    "all": lambda opened: Edit(
        "x",
        "",
        (*louder(opened).changes, *cut(opened).changes, *louder(opened, layer=2).changes, *added(opened).changes),
    ),
}


@pytest.mark.parametrize("family", [*DENSE, *OLD])
def test_an_edit_as_weights_is_the_same_edit_as_hooks(family: str) -> None:
    opened = opened_as(family, biases=True)
    before, hooks = bits(opened), count_hooks(opened.model)
    for name, kind in KINDS.items():
        assert apart(opened, kind(opened)) < 1e-5, name
    assert (bits(opened), count_hooks(opened.model)) == (before, hooks)


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "gemma3"])
@pytest.mark.parametrize("adds", [False, True])
def test_each_part_of_a_neuron_alone_agrees_with_its_hook(family: str, adds: bool) -> None:
    opened = opened_as(family, biases=True)
    for change in louder(opened, indices=(0, 40)).changes:
        assert isinstance(change, Neurons)
        edit = Edit("x", "", (Neurons(change.layer, change.part, change.indices, change.values, adds),))
        assert apart(opened, edit) < 1e-5, change.part


def test_experts_compute_in_one_function_and_have_no_hooks() -> None:
    for family in MOE:
        opened = opened_as(family)
        last = opened.anatomy.widths[1] - 1  # those of a dense MLP that every token goes through come first
        before = count_hooks(opened.model)
        with pytest.raises(ModelError, match="expert"), hooked(opened, louder(opened, indices=(last,))):
            pass
        with pytest.raises(ModelError, match="expert"), hooked(opened, cut(opened)):
            pass
        assert count_hooks(opened.model) == before


def test_an_edit_that_replaces_a_line_twice_has_no_hooks() -> None:
    opened = opened_as("llama")
    for first in (cut(opened), louder(opened, seed=3)):
        twice = Edit("x", "", (*first.changes, *louder(opened).changes))
        with pytest.raises(ModelError, match="changed before"), hooked(opened, twice):
            pass
    assert count_hooks(opened.model) == 0


# ---- to the bit


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_an_edit_comes_out_to_the_bit_and_goes_in_to_the_same_bits(family: str, dtype: torch.dtype) -> None:
    opened = opened_as(family, dtype, biases=True)
    before = bits(opened)
    for kind in (louder, cut, added):
        edit = kind(opened)
        seen = set()
        for _ in range(2):
            with edit.applied(opened) as sheet:
                seen.add(bits(opened))
                assert sheet.norm > 0
            assert bits(opened) == before
        assert len(seen) == 1 and before not in seen


def test_a_neuron_has_the_new_numbers_and_no_other_neuron_is_touched() -> None:
    opened = opened_as("phi3")  # gate and up in one matrix
    edit = louder(opened, indices=(3,))
    others = {
        (part, index): place(opened, part, index) for part in parts_of(opened.anatomy, 1, 3) for index in range(48)
    }
    with edit.applied(opened):
        for change in edit.changes:
            assert isinstance(change, Neurons)
            assert torch.equal(place(opened, change.part, 3), change.values[0])
        for (part, index), line in others.items():
            assert index == 3 or torch.equal(place(opened, part, index), line)


def place(opened: OpenModel, part: Part, index: int) -> Tensor:
    ((found, _),) = neuron_places(opened.anatomy, 1, part, [index])
    return found.read()[0]


def test_a_subspace_is_gone_from_what_is_written_or_is_all_of_it() -> None:
    for family in ("llama", "gpt2", "mixtral"):
        opened, directions = opened_as(family), basis(opened_as(family), 3)
        for keeps in (False, True):
            with Edit("x", "", (Projection(0, "down", directions, keeps),)).applied(opened):
                for each in writer_places(opened.anatomy, 0, "down"):
                    inside = directions.T @ (directions @ each.matrix)
                    assert torch.allclose(inside, each.matrix if keeps else torch.zeros(1), atol=1e-6)


def test_the_norm_is_that_of_the_difference() -> None:
    opened = opened_as("llama")
    change = Neurons(0, "up", (1, 2), torch.full((2, 32), 0.5), adds=True)
    with Edit("x", "", (change, change)).applied(opened) as sheet:
        assert sheet.norm == pytest.approx((2 * 2 * 32 * 0.25) ** 0.5, rel=1e-5)


def test_an_edit_records_the_values_that_it_replaces() -> None:
    opened = opened_as("qwen3_moe", torch.bfloat16)
    edit = louder(opened, indices=(3, 20, 5)).recorded(opened)  # of two experts
    for change in edit.changes:
        assert isinstance(change, Neurons) and change.before is not None
        for number, index in enumerate(change.indices):
            assert torch.equal(change.before[number], place(opened, change.part, index).float())


# ---- refused, with nothing changed


def misfits(opened: OpenModel) -> dict[str, Edit]:
    fits = louder(opened).changes
    wide = torch.zeros(2, 33)
    return {
        "32": Edit("x", "", (*fits, Neurons(2, "gate", (3, 5), wide))),
        "no layer 9": Edit("x", "", (*fits, Neurons(9, "gate", (3, 5), wide))),
        "no neuron 48": Edit("x", "", (*fits, Neurons(1, "gate", (3, 48), wide))),
        "no bias": Edit("x", "", (*fits, Neurons(1, "bias", (3, 5), wide[:, :1]))),
        "twice": Edit("x", "", (*fits, Neurons(1, "gate", (3, 3), wide[:, :32]))),
        "33": Edit("x", "", (*fits, Projection(1, "down", wide[:1]))),
        "no layer 7": Edit("x", "", (*fits, Projection(7, "down", basis(opened, 1)))),
        "no projection 'nowhere.at_all'": Edit("x", "", (*fits, LowRank("nowhere.at_all", wide.T, wide))),
        "which is": Edit("x", "", (*fits, LowRank(projection(opened), wide.T, wide))),
    }


@pytest.mark.parametrize("which", range(9))
def test_an_edit_that_does_not_fit_is_refused_and_changes_nothing(which: int) -> None:
    opened = opened_as("llama")
    before = bits(opened)
    said, edit = list(misfits(opened).items())[which]
    with pytest.raises((UsageError, ModelError, ArtifactError)) as caught:
        edit.applied(opened)
    assert said in str(caught.value)
    assert bits(opened) == before


def test_numbers_too_large_for_the_dtype_are_refused() -> None:
    opened = opened_as("llama", torch.float16)
    before = bits(opened)
    huge = Edit("x", "", (Neurons(1, "down", (3,), torch.full((1, 32), 1e6)),))
    with pytest.raises(ArtifactError, match="float16"):
        huge.applied(opened)
    factors = torch.full((32, 1), 1e4)
    name = "model.layers.0.self_attn.q_proj"
    with pytest.raises(ArtifactError, match="float16"):
        Edit("x", "", (LowRank(name, factors, factors.T),)).applied(opened)
    assert bits(opened) == before


class Linear4bit(nn.Linear):
    """Stands for bitsandbytes' module: a Linear whose weight is packed."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out, bias=False)
        self.weight = nn.Parameter(torch.zeros(width * out // 2, 1, dtype=torch.uint8), requires_grad=False)


def test_packed_weights_and_those_that_are_not_in_memory_are_refused_by_name() -> None:
    opened = opened_as("llama")
    model, mlp = opened.model, opened.anatomy.layers[1].block.mlp
    before = bits(opened)
    for module, said in (
        (Linear4bit(32, 48), "packed (Linear4bit, torch.uint8)"),
        (nn.Linear(32, 48, device="meta"), "offloaded"),
    ):
        mlp.up_proj, up = module, mlp.up_proj
        packed = OpenModel(model, opened.tokenizer, adopt_parts(model), opened.info)
        with pytest.raises(ModelError) as caught:
            louder(packed, indices=(3,)).applied(packed)
        assert said in str(caught.value) and "layer 1's up projection" in str(caught.value)
        mlp.up_proj = up
        assert bits(opened) == before


def adopt_parts(model):  # type: ignore[no-untyped-def]
    from sessions.model import anatomy

    return anatomy.read(model)
