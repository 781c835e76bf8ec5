"""Surgery: what is taken out of a layer's writes is not written, and what differs is what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import pytest
import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.directions.vector import Vector
from sessions.edits.edit import Edit, Projection
from sessions.edits.hooked import hooked
from sessions.errors import ModelError, UsageError
from sessions.events import finished
from sessions.model.hooks import count_hooks, on_states, together
from sessions.model.opening import OpenModel, adopt
from sessions.model.places import norm_behind
from sessions.surgery import subspaces
from sessions.surgery.cutting_out import change_of, has_bias, projections
from sessions.surgery.subspaces import (
    States,
    Subspace,
    apart,
    of_tokens,
    of_vector,
    of_versions,
    orthonormal,
    states_of,
)
from tests.families import DENSE, LAYERS, MOE, tiny, tiny_tokenizer

IDS = [1, 8, 22, 40, 13, 9]
#: Two versions each of three prompts.
VERSIONS = [[[1, 8, 9, 10], [1, 8, 30, 31, 32]], [[1, 20, 21], [1, 33, 34]], [[1, 11, 12], [1, 35, 36, 37]]]


@cache
def opened(family: str, biases: bool = False) -> OpenModel:
    return adopt(tiny(family, biases=biases), tiny_tokenizer(), name=family)


def drawn(dims: int = 4, width: int = 32, seed: int = 0) -> Subspace:
    return Subspace(orthonormal(torch.randn(dims, width, generator=torch.Generator().manual_seed(seed))))


def cut(model: OpenModel, layers: Sequence[int], **options: bool) -> Edit:
    found = dict.fromkeys(layers, drawn())
    return Edit("surgery", "", projections(model.anatomy, found, **options))


def logits(model: OpenModel) -> Tensor:
    with torch.inference_mode():
        return model.model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]  # type: ignore[no-any-return]


def bits(model: OpenModel) -> list[Tensor]:
    return [tensor.clone() for tensor in model.model.state_dict().values()]


def written(model: OpenModel, site: str) -> list[Tensor]:
    """What each layer adds to the residual stream, `[seq, d_model]`."""
    seen: list[Tensor] = []

    def record(state: Tensor) -> Tensor:
        seen.append(state.reshape(len(IDS), -1).clone())
        return state

    with together(on_states(model.anatomy, layer, site, record) for layer in range(LAYERS)):  # type: ignore[arg-type]
        logits(model)
    return seen


# ---- what is cut


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_layers_write_nothing_into_what_was_taken_out_of_them_and_undo_gives_back_the_bits(family: str) -> None:
    model = opened(family)
    before, basis = bits(model), drawn().basis
    with cut(model, (0, 2), attention=True).applied(model):
        for site in ("mlp_out", "attn_out"):
            first, second, third = (states @ basis.T for states in written(model, site))
            assert first.abs().max() < 1e-5 and third.abs().max() < 1e-5
            assert second.abs().max() > 1e-2  # a layer that was left alone
    assert all(torch.equal(now, was) for now, was in zip(bits(model), before, strict=True))


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_layers_write_nothing_else_than_what_was_kept(family: str) -> None:
    model, basis = opened(family), drawn().basis
    with cut(model, (1,), keeps=True).applied(model):
        states = written(model, "mlp_out")[1]
    outside = states - states @ basis.T @ basis
    assert outside.abs().max() < 1e-5 * max(1.0, float(states.abs().max()))
    assert states.abs().max() > 1e-3


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("family", DENSE)
def test_the_edited_weights_compute_what_projecting_the_writers_outputs_does(family: str, keeps: bool) -> None:
    model = opened(family, biases=True)
    edit = cut(model, (0, 1), attention=True, keeps=keeps)
    with hooked(model, edit):
        as_hooks = logits(model)
    with edit.applied(model):
        as_weights = logits(model)
    assert (as_weights - as_hooks).abs().max() < 1e-5 * as_hooks.abs().max()
    assert (as_weights - logits(model)).abs().max() > 1e-3


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_taking_out_twice_is_taking_out_once(family: str) -> None:
    model = opened(family)
    edit = cut(model, (1,), attention=True)
    with edit.applied(model):
        once = bits(model)
        with edit.applied(model):
            assert all(torch.allclose(now, was, atol=1e-6) for now, was in zip(bits(model), once, strict=True))


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "gpt_neox", "mixtral", "gpt_oss"])
def test_what_is_kept_and_then_taken_out_leaves_nothing(family: str) -> None:
    model = opened(family)
    with cut(model, (1,), keeps=True).applied(model), cut(model, (1,)).applied(model):
        assert written(model, "mlp_out")[1].abs().max() < 1e-6


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "olmo2"])
def test_with_every_write_cut_the_stream_holds_there_what_the_embedding_put_there(family: str) -> None:
    model, basis = opened(family), drawn().basis
    seen: list[Tensor] = []

    def record(state: Tensor) -> Tensor:
        seen.append(state[0] @ basis.T)
        return state

    sites = [(0, "resid_pre"), *((layer, "resid_post") for layer in range(LAYERS))]
    with (
        cut(model, range(LAYERS), attention=True).applied(model),
        together(on_states(model.anatomy, layer, site, record) for layer, site in sites),  # type: ignore[arg-type]
    ):
        logits(model)
    embedded, *later = seen
    assert embedded.abs().max() > 1e-2
    assert all((states - embedded).abs().max() < 1e-5 * max(1.0, float(embedded.abs().max())) for states in later)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gpt_oss", "qwen2_moe"])
@pytest.mark.parametrize("keeps", [False, True])
def test_the_reported_change_is_that_of_the_weights(family: str, keeps: bool) -> None:
    model = opened(family)
    for change in cut(model, (1,), attention=True, keeps=keeps).changes:
        assert isinstance(change, Projection)
        before = bits(model)
        told = change_of(model.anatomy, change)
        with change.applied(model):
            pairs = [(was, now) for was, now in zip(before, bits(model), strict=True) if not torch.equal(was, now)]
        difference = sum(float((now - was).square().sum()) for was, now in pairs) ** 0.5
        size = sum(float(was.square().sum()) for was, _ in pairs) ** 0.5
        assert told == pytest.approx(difference / size, rel=1e-3)


def test_norms_behind_writers_and_biases_are_known() -> None:
    behind = {family for family in DENSE if norm_behind(opened(family).anatomy, 0, "down") is not None}
    assert behind == {"gemma2", "gemma3", "gemma3n", "gemma4", "olmo2"}
    assert behind == {family for family in DENSE if norm_behind(opened(family).anatomy, 0, "attn_out") is not None}
    assert has_bias(opened("gpt2", True).anatomy, 0, "down") and has_bias(opened("gpt2", True).anatomy, 0, "attn_out")
    assert not has_bias(opened("llama", True).anatomy, 0, "down")
    assert has_bias(adopt(tiny("gpt_oss", biases=True), tiny_tokenizer(), name="x").anatomy, 0, "down")


# ---- what is found


def differing(prompts: int, versions: int, width: int, dims: int, seed: int = 0) -> Tensor:
    """States that differ between versions in so many dimensions, and between prompts in all."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(dims, width, generator=random)
    offsets = torch.randn(prompts, versions, dims, generator=random) @ directions
    return torch.randn(prompts, 1, width, generator=random) * 5 + offsets


@pytest.mark.parametrize(("prompts", "width"), [(4, 64), (40, 16)], ids=["fewer rows", "fewer columns"])
def test_the_subspace_is_that_of_the_singular_vectors(prompts: int, width: int) -> None:
    pooled = differing(prompts, 3, width, 6)
    found = of_versions(States(pooled, torch.zeros(2, width)), 4, 0)
    rest = (pooled - pooled.mean(1, keepdim=True)).flatten(0, 1)
    _, sizes, right = torch.linalg.svd(rest.double(), full_matrices=False)
    expected = right[:4].T @ right[:4]
    assert (found.basis.double().T @ found.basis.double() - expected).abs().max() < 1e-5
    assert found.captured == pytest.approx(float(sizes[:4].square().sum() / sizes.square().sum()), abs=1e-6)
    assert found.differing == 6
    assert (found.basis @ found.basis.T - torch.eye(4)).abs().max() < 1e-6


def test_the_subspace_contains_nothing_of_the_first_positions_state() -> None:
    pooled, first = differing(6, 3, 32, 6), torch.randn(2, 32)
    found = of_versions(States(pooled, first), 3, 0)
    assert (found.basis @ orthonormal(first).T).abs().max() < 1e-6
    assert 0 < (found.captured or 0) < 1


def test_more_dims_than_the_versions_differ_in_are_refused_with_their_number() -> None:
    states = States(differing(5, 3, 32, 4), torch.zeros(2, 32))
    assert len(of_versions(states, None, 0).basis) == 4
    with pytest.raises(UsageError, match="differ in 4 dimensions at layer 7, fewer than 5") as raised:
        of_versions(states, 5, 7)
    assert "--dims 4" in raised.value.hint
    with pytest.raises(UsageError, match="do not differ at layer 7"):
        of_versions(States(torch.randn(5, 1, 32).expand(5, 3, 32) * 100, torch.zeros(2, 32)), 1, 7)


@pytest.mark.parametrize("pooled", ["mean", "last"])
@pytest.mark.parametrize("family", ["llama", "gemma3n", "gpt2", "gpt_oss"])
def test_states_of_versions_are_those_of_each_text_alone(family: str, pooled: subspaces.Pooled) -> None:
    """From where the versions of a prompt part; the first position never counts."""
    model = opened(family)
    found = finished(states_of(model, VERSIONS, [0, 1], pooled, batch=9))
    starts = {"mean": [[2, 2], [1, 1], [1, 1]], "last": [[3, 4], [2, 2], [2, 3]]}[pooled]
    for layer in (0, 1):
        assert found[layer].pooled.shape == (3, 2, 32)
        for prompt, (texts, begin) in enumerate(zip(VERSIONS, starts, strict=True)):
            for version, ids in enumerate(texts):
                alone = states(model, ids, layer)[begin[version] :].mean(0)
                assert (found[layer].pooled[prompt, version] - alone).abs().max() < 1e-4
        firsts = torch.stack([states(model, ids, layer)[0] for texts in VERSIONS for ids in texts]).mean(0)
        assert (found[layer].first[1] - firsts).abs().max() < 1e-4


def states(model: OpenModel, ids: list[int], layer: int) -> Tensor:
    seen: list[Tensor] = []

    def record(state: Tensor) -> Tensor:
        seen.append(state[0].clone())
        return state

    with torch.inference_mode(), on_states(model.anatomy, layer, "resid_post", record):
        model.model(input_ids=torch.tensor([ids]), use_cache=False)
    return seen[0]


def test_the_distance_of_versions_is_relative_to_that_of_prompts() -> None:
    square = torch.tensor([[[0.0, 0.0], [0.0, 3.0]], [[4.0, 0.0], [4.0, 3.0]]])
    assert apart(square) == pytest.approx(3 / 4)
    assert apart(square[:1]) is None and apart(square[:1].expand(2, 2, 2)) is None


@pytest.mark.parametrize("family", [family for family in DENSE if family != "gemma3n"])
def test_what_has_nothing_of_a_tokens_direction_does_not_raise_it(family: str) -> None:
    model, wanted = opened(family), [7, 41]
    basis = of_tokens(model, wanted).basis
    state = torch.randn(5, 32, generator=torch.Generator().manual_seed(3))
    anatomy = model.anatomy
    said = anatomy.head(anatomy.final_norm((state - state @ basis.T @ basis)[None]))[0]
    assert said[:, wanted].abs().max() < 1e-4 * said.abs().max()
    assert anatomy.head(anatomy.final_norm(state[None]))[0][:, wanted].abs().max() > 1e-2


def test_a_vector_has_a_direction_at_each_layer_or_one_for_all() -> None:
    def vector(*layers: int, site: str = "resid_post", scale: float = 3.0) -> Vector:
        directions = {layer: torch.full((32,), scale) for layer in layers}
        return Vector(site, directions, 1, 1, name="calm")  # type: ignore[arg-type]

    expected = torch.full((32,), 32**-0.5)
    for made in (vector(5), vector(0, 1, 2)):
        found = of_vector(made, [0, 2])
        assert all((each.basis[0].abs() - expected).abs().max() < 1e-6 for each in found.values())
    with pytest.raises(UsageError, match="'calm' has no direction at layer 2"):
        of_vector(vector(0, 1), [1, 2])
    with pytest.raises(UsageError, match="no direction at layer 0"):
        of_vector(vector(0, scale=0.0), [0])
    with pytest.raises(UsageError, match="neurons"):
        of_vector(vector(0, site="neurons"), [0])


def test_reading_that_is_cancelled_leaves_no_hook() -> None:
    model, cancel = opened("llama"), Cancel()
    steps: Iterator[object] = states_of(model, VERSIONS, [0, 1], batch=4, cancel=cancel)
    next(steps)
    cancel.request()
    with pytest.raises(Exception, match="cancelled"):
        list(steps)
    assert count_hooks(model.model) == 0


def test_states_that_are_no_numbers_are_refused() -> None:
    model = opened("llama")
    break_it: Callable[[Tensor], Tensor] = lambda state: state * torch.nan  # noqa: E731
    with on_states(model.anatomy, 0, "resid_post", break_it), pytest.raises(ModelError, match="layer 1"):
        finished(states_of(model, VERSIONS, [1]))
