"""An adapter that is on gives PEFT's own logits, everything reads the model with it, and off it is gone to the bit."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from sessions.adapters.combinations import COMBINATIONS
from sessions.adapters.ensembling import How, Member, ensemble
from sessions.adapters.folders import CONFIG, WEIGHTS, read_folder
from sessions.circuits.attributing import attribute
from sessions.edits.adapters import Adapter, Disabled
from sessions.edits.edit import Edit, Neurons
from sessions.edits.ledger import Ledger
from sessions.edits.merging import merged
from sessions.errors import ArtifactError, ModelError, UsageError, WorkbenchError
from sessions.events import finished
from sessions.interventions.suppressing import Suppression
from sessions.model.hooks import before, count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.sites import DenseSite
from sessions.model.units import Unit
from tests.adapters import TARGETS, made, read_by_peft
from tests.families import MOE, tiny, tiny_tokenizer

IDS = torch.tensor([[1, 9, 27, 17, 51, 5, 33, 40, 12, 8, 22, 60]])
FAMILIES = tuple(TARGETS)
VARIANTS: dict[str, dict[str, Any]] = {
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "biased": {"lora_bias": True},
    "ranks": {"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"q_proj": 3}},
    "layers": {"layers_to_transform": [0, 2]},
}


def opened_as(family: str, dtype: torch.dtype = torch.float32) -> OpenModel:
    return adopt(tiny(family).to(dtype), tiny_tokenizer(), name=family)


def read(folder: Path, name: str = "fr", weight: float = 1.0) -> Adapter:
    contents = read_folder(folder)
    return Adapter(name, weight, contents.sha256, contents)


def random_adapter(
    folder: Path, family: str = "llama", name: str = "fr", weight: float = 1.0, **config: Any
) -> Adapter:
    made(folder, family, **config)
    return read(folder, name, weight)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(IDS).logits


def picture(opened: OpenModel) -> tuple[Any, ...]:
    """All that must be as it was: modules, attributes, hooks, modes, bits."""
    model = opened.model
    return (
        [(name, id(module), type(module), sorted(module.__dict__)) for name, module in model.named_modules()],
        [(name, parameter.requires_grad) for name, parameter in model.named_parameters()],
        count_hooks(model),
        model.training,
        [tensor.view(torch.uint8).numpy().tobytes() for tensor in model.state_dict().values()],
        [id(site.down) for layer in opened.anatomy.layers for site in layer.sites if isinstance(site, DenseSite)],
    )


# ---- on and off


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_on_gives_pefts_logits_and_off_leaves_no_trace(family: str, tmp_path: Path) -> None:
    theirs = made(tmp_path / "fr", family)
    if family in MOE:  # as the workbench runs them
        theirs.base_model.model.set_experts_implementation("grouped_mm")
    opened, adapter = opened_as(family), read(tmp_path / "fr")
    was, plain = picture(opened), logits(opened.model)
    with adapter.applied(opened):
        assert torch.equal(logits(opened.model), logits(theirs))
        assert not torch.equal(logits(opened.model), plain)
        assert not any(parameter.requires_grad for parameter in opened.model.parameters())
    assert picture(opened) == was
    assert torch.equal(logits(opened.model), plain)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_that_are_paths_beside_the_weights_are_read(variant: str, tmp_path: Path) -> None:
    theirs = made(tmp_path / "fr", **VARIANTS[variant])
    opened = opened_as("llama")
    was = picture(opened)
    with read(tmp_path / "fr").applied(opened):
        assert torch.equal(logits(opened.model), logits(theirs))
    assert picture(opened) == was


def test_in_bfloat16_it_stays_in_float32_as_peft_has_it(tmp_path: Path) -> None:
    made(tmp_path / "fr")
    opened = opened_as("llama", torch.bfloat16)
    was = picture(opened)
    with read(tmp_path / "fr").applied(opened):
        theirs = read_by_peft(tmp_path / "fr", model=tiny("llama").to(torch.bfloat16))
        assert torch.equal(logits(opened.model), logits(theirs))
    assert picture(opened) == was


def test_the_weight_of_an_adapter_scales_its_products(tmp_path: Path) -> None:
    opened, adapter = opened_as("llama"), random_adapter(tmp_path / "fr")
    assert adapter.contents is not None
    with replace(adapter, weight=-0.5).applied(opened) as sheet:
        half = logits(opened.model)
    twin = opened_as("llama")
    whole = {name: -0.5 * each.scaling * each.b @ each.a for name, each in adapter.contents.factors.items()}
    for name, product in whole.items():
        twin.model.get_submodule(name).weight.data += product
    assert torch.allclose(half, logits(twin.model), atol=1e-5)
    assert sheet.norm == pytest.approx(float(torch.cat([each.flatten() for each in whole.values()]).norm()), rel=1e-5)
    with replace(adapter, weight=0.0).applied(opened):
        assert torch.equal(logits(opened.model), logits(tiny("llama")))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_several_adapters_are_on_at_once_and_an_earlier_one_can_be_taken_off_first(family: str, tmp_path: Path) -> None:
    opened = opened_as(family)
    first = random_adapter(tmp_path / "a", family, "a")
    second = random_adapter(
        tmp_path / "b", family, "b.two", 0.5, seed=1, target_modules=list(TARGETS[family][1:]), r=2
    )  # fmt: skip
    was = picture(opened)
    ledger = Ledger(opened)
    for change in (first, second):
        ledger.apply(Edit("adapter", "", (change,), name=change.name, sha256=change.name))
    both = logits(opened.model)
    ledger.turn(1, False)
    with second.applied(twin := opened_as(family)):
        assert torch.equal(logits(opened.model), logits(twin.model))
    ledger.turn(1, True)
    assert torch.equal(logits(opened.model), both)
    with ledger.lifted():
        assert picture(opened) == was
    ledger.close()
    assert picture(opened) == was


def test_two_adapters_of_one_name_are_refused(tmp_path: Path) -> None:
    opened, adapter = opened_as("llama"), random_adapter(tmp_path / "fr")
    with adapter.applied(opened), pytest.raises(UsageError, match="is on already"):
        adapter.applied(opened)


@given(steps=st.lists(st.tuples(st.sampled_from(["apply", "undo", "redo", "turn"]), st.integers(0, 3)), max_size=12))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_put_on_taken_off_and_edited_the_bits_are_those_of_the_list(
    steps: list[tuple[str, int]], adapters: tuple[Adapter, ...]
) -> None:
    opened, edits = opened_as("llama"), list_of(adapters)
    was, ledger = picture(opened), Ledger(opened)
    for step, number in steps:
        try:
            if step == "apply":
                ledger.apply(edits[number])
            elif step == "turn":
                ledger.turn(number + 1, not ledger.entry(number + 1).on)
            else:
                getattr(ledger, step)()
        except UsageError:
            pass
        with ExitStack() as stack:
            for edit in ledger.active:
                stack.enter_context(edit.applied(twin := opened_as("llama")))
                for other in ledger.active[1:]:
                    stack.enter_context(other.applied(twin))
                assert torch.equal(logits(opened.model), logits(twin.model))
                break
    ledger.close()
    assert picture(opened) == was


def list_of(adapters: tuple[Adapter, ...]) -> list[Edit]:
    """Three adapters, and a weight edit on a projection that they wrap."""
    louder = Neurons(1, "down", (3, 7), torch.ones(2, 32), adds=True)
    changes = [*((adapter,) for adapter in adapters), (louder,)]
    return [Edit("", "", of, name=str(number), sha256=str(number)) for number, of in enumerate(changes)]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Adapter, ...]:
    folder = tmp_path_factory.mktemp("adapters")
    kinds: list[dict[str, Any]] = [
        {},
        {"use_dora": True, "target_modules": ["down_proj"]},
        {"r": 2, "use_rslora": True},
    ]
    return tuple(
        random_adapter(folder / str(number), name=f"n{number}", seed=number, **kind)
        for number, kind in enumerate(kinds)
    )


# ---- everything reads the model with it


@pytest.mark.parametrize("family", FAMILIES)
def test_relevance_is_conserved_with_an_adapter_on(family: str, tmp_path: Path) -> None:
    opened = opened_as(family)
    with random_adapter(tmp_path / "fr", family).applied(opened):
        found = attribute(opened.model, opened.anatomy, IDS, lambda each: each[-1].max())
        assert found.conservation < 1e-5


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gemma3", "gpt_neox", "qwen2_moe"])
def test_a_suppressed_neuron_says_nothing_through_the_adapter_either(family: str, tmp_path: Path) -> None:
    """Held at zero it is to the bit what it is with its column cut from the weights and from the adapter."""
    opened, adapter = opened_as(family), random_adapter(tmp_path / "fr", family)
    contents = adapter.contents
    assert contents is not None
    with adapter.applied(opened):
        site = opened.anatomy.layers[1].sites[0]
        assert isinstance(site, DenseSite)
        neuron = site.offset + 5
        suppression = Suppression(opened.anatomy, [Unit(1, neuron)])
        with suppression.held():
            held = logits(opened.model)
        column = opened.anatomy.down_column(1, neuron)
    (name,) = [key for key, module in opened.model.named_modules() if module is opened.anatomy.layers[1].sites[0].down]
    factors = contents.factors[name]
    cut = replace(contents, factors={**contents.factors, name: replace(factors, a=without(factors.a, 5))})
    twin = opened_as(family)
    weight = twin.model.get_submodule(name).weight
    weight.data = without(weight.data, 5) if weight.shape == factors.shape else without(weight.data.T, 5).T
    with replace(adapter, contents=cut).applied(twin):
        assert torch.equal(held, logits(twin.model))
    assert not torch.equal(column, opened.anatomy.down_column(1, neuron))  # the adapter's part was in it


def without(matrix: Tensor, column: int) -> Tensor:
    cut = matrix.clone()
    cut[:, column] = 0
    return cut


def test_hooks_move_with_the_place_when_it_is_wrapped_and_unwrapped(tmp_path: Path) -> None:
    opened, adapter = opened_as("llama"), random_adapter(tmp_path / "fr")
    ledger = Ledger(opened)
    ledger.apply(Edit("adapter", "", (adapter,), name="fr", sha256="fr"))
    site = opened.anatomy.layers[0].sites[0]
    assert isinstance(site, DenseSite)
    seen: list[Tensor] = []
    with before(site.down, lambda given: seen.append(given) or given * 0):
        on = logits(opened.model)
        with ledger.lifted():
            off = logits(opened.model)
    assert len(seen) == 2 and not torch.equal(on, off)
    ledger.close()
    with before(opened.anatomy.layers[0].sites[0].down, lambda given: given * 0):
        assert torch.equal(logits(opened.model), off)
    assert count_hooks(opened.model) == 0


def test_a_weight_edit_reaches_the_weights_behind_the_adapter(tmp_path: Path) -> None:
    opened, adapter = opened_as("llama"), random_adapter(tmp_path / "fr")
    was = picture(opened)
    louder = Neurons(1, "down", (3,), torch.ones(1, 32), adds=True)
    with louder.applied(opened), adapter.applied(opened):
        under = logits(opened.model)
    with adapter.applied(opened), louder.applied(opened):
        assert torch.equal(logits(opened.model), under)
    assert picture(opened) == was


# ---- merged


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2"])
def test_a_merged_adapter_is_its_product_rounded_once(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    opened, adapter = opened_as(family, dtype), random_adapter(tmp_path / "fr", family, weight=0.7)
    assert adapter.contents is not None
    was = picture(opened)
    with adapter.applied(opened):
        beside = logits(opened.model)
        with Edit("adapter", "", merged(adapter)).applied(opened):
            into = logits(opened.model)
            for name, each in adapter.contents.factors.items():
                product = 0.7 * each.scaling * each.b @ each.a
                plain = tiny(family).to(dtype).get_submodule(name).weight
                added = product.T if plain.shape != product.shape or family == "gpt2" else product
                now = opened.model.get_submodule(name).base_layer.weight
                wanted = (plain.float() + added).to(dtype)
                assert torch.allclose(now.float(), wanted.float(), rtol=2**-7 if dtype == torch.bfloat16 else 1e-5)
        assert torch.equal(logits(opened.model), beside)
    assert picture(opened) == was
    limit = 1e-4 if dtype == torch.float32 else 0.3
    assert 0 < float((into - beside).abs().max()) < limit


@pytest.mark.parametrize("variant", ["dora", "biased"])
def test_what_is_no_product_cannot_be_merged(variant: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be added"):
        merged(random_adapter(tmp_path / "fr", **VARIANTS[variant]))


def test_a_merge_needs_its_adapter_to_be_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="merged, and not on"):
        Disabled("fr").applied(opened_as("llama"))


# ---- several in one


def combined(tmp_path: Path, members: list[Member], how: How) -> tuple[Adapter, float]:
    made = finished(ensemble(members, how))
    folder = tmp_path / "combined"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(made.config))
    (folder / WEIGHTS).write_bytes(made.weights)
    return read(folder, "sum"), made.off


def members_of(tmp_path: Path, *kinds: dict[str, Any]) -> list[Member]:
    weights = (0.4, -0.3, 0.2)
    found = []
    for number, (kind, weight) in enumerate(zip(kinds, weights, strict=False)):
        adapter = random_adapter(tmp_path / str(number), name=f"m{number}", seed=number, **kind)
        assert adapter.contents is not None
        found.append(Member(adapter.name, weight, adapter.contents))
    return found


def side_by_side(members: list[Member]) -> Tensor:
    opened = opened_as("llama")
    with ExitStack() as stack:
        for name, weight, contents in members:
            stack.enter_context(Adapter(name, weight, "", contents).applied(opened))
        return logits(opened.model)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_an_ensemble_of_one_is_that_one(combination: str, tmp_path: Path) -> None:
    (member,) = members_of(tmp_path, {})
    alone, off = combined(tmp_path, [member._replace(weight=1.0)], How(combination, density=1.0))
    with alone.applied(opened := opened_as("llama")):
        assert torch.allclose(logits(opened.model), side_by_side([member._replace(weight=1.0)]), atol=1e-4)
    assert off < 1e-6


def test_cat_is_the_weighted_sum_whatever_the_ranks_and_projections(tmp_path: Path) -> None:
    members = members_of(tmp_path, {}, {"r": 2, "target_modules": ["q_proj", "up_proj"]}, {"use_rslora": True})
    whole, off = combined(tmp_path, members, How("cat"))
    assert off < 1e-6
    with whole.applied(opened := opened_as("llama")):
        assert torch.allclose(logits(opened.model), side_by_side(members), atol=1e-4)
        assert torch.equal(logits(opened.model), logits(read_by_peft(tmp_path / "combined")))


def test_an_svd_comes_closest_to_the_sum_of_all_of_its_rank(tmp_path: Path) -> None:
    members = members_of(tmp_path, {}, {})
    off = {rank: combined(tmp_path, members, How("svd", rank))[1] for rank in (2, 4, 8)}
    assert off[8] < 1e-5 < off[4] < off[2]
    linear = combined(tmp_path, members, How("linear"))[1]
    assert linear > off[4]


def test_the_same_seed_drops_the_same_numbers(tmp_path: Path) -> None:
    members, state = members_of(tmp_path, {}, {}), torch.get_rng_state()
    first, second, other = (finished(ensemble(members, How("dare_ties", rng=seed))).weights for seed in (3, 3, 4))
    assert first == second != other
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("kinds", "how", "said"),
    [
        (({}, {"r": 2}), How("linear"), "needs equal ranks"),
        (({}, {"r": 2}), How("ties"), "--combination cat or ties_svd"),
        (({}, {"use_dora": True}), How("cat"), "is a DoRA"),
        (({"lora_bias": True},), How("cat"), "biases of its own"),
    ],
)
def test_adapters_that_cannot_be_combined_are_refused_with_the_reason(
    kinds: tuple[dict[str, Any], ...], how: How, said: str, tmp_path: Path
) -> None:
    with pytest.raises(WorkbenchError, match=said):
        finished(ensemble(members_of(tmp_path, *kinds), how))


def test_members_of_different_models_are_refused(tmp_path: Path) -> None:
    (member,) = members_of(tmp_path, {})
    wide = {name: replace(each, a=each.a.repeat(1, 2)) for name, each in member.contents.factors.items()}
    with pytest.raises(ArtifactError, match="are for different models"):
        finished(ensemble([member, Member("wide", 1.0, replace(member.contents, factors=wide))], How()))


# ---- what is refused


def tampered(tmp_path: Path, *, config: dict[str, Any] | None = None, **tensors: Any) -> Path:
    """A folder whose config, or one of whose tensors, is another."""
    folder = tmp_path / "fr"
    made(folder)
    if config is not None:
        held = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**held, **config}))
    if tensors:
        found = load_file(folder / WEIGHTS)
        name = next(key for key in sorted(found) if tensors["of"] in key)
        changed = tensors["into"](found.pop(name))
        found |= {} if changed is None else {tensors.get("named", name): changed.contiguous()}
        save_file(found, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "of the type PROMPT_TUNING"),
        ({"peft_type": "IA3"}, "of the type IA3"),
        ({"peft_type": None}, "of the type"),
        ({"modules_to_save": ["lm_head"]}, "replaces whole modules: lm_head"),
        ({"bias": "lora_only"}, "model's own biases"),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "not projections"),
        ({"trainable_token_indices": [1, 2]}, "single tokens"),
        ({"layer_replication": [[0, 2]]}, "repeats layers"),
        ({"alora_invocation_tokens": [1]}, "aLoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "began as pissa"),
        ({"r": 8}, "has rank 4 .* and rank 8"),
        ({"r": "4"}, "the rank '4'"),
        ({"lora_alpha": None}, "the alpha None"),
        ({"use_dora": True}, "has no magnitude"),
    ],
)
def test_a_config_that_asks_for_more_than_paths_is_refused_by_name(
    config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=said):
        read_folder(tampered(tmp_path, config=config))


def nan(tensor: Tensor) -> Tensor:
    tensor[0, 0] = float("nan")
    return tensor


@pytest.mark.parametrize(
    ("of", "into", "named", "said"),
    [
        ("lora_A", nan, None, "not finite"),
        ("lora_A", lambda each: each[:2], None, "do not fit"),
        ("lora_B", lambda _: None, None, "has no lora_B"),
        ("lora_A", lambda each: each.long(), None, "floating point"),
        (
            "lora_A",
            lambda each: each,
            "base_model.model.model.embed_tokens.lora_embedding_A",
            "changes the embedding or the head",
        ),
        ("lora_A", lambda each: each, "base_model.model.model.norm.weight", "not part of a LoRA"),
    ],
)
def test_damaged_weights_are_refused(of: str, into: Any, named: str | None, said: str, tmp_path: Path) -> None:
    more = {} if named is None else {"named": named}
    with pytest.raises(ArtifactError, match=said):
        read_folder(tampered(tmp_path, of=of, into=into, **more))


@pytest.mark.parametrize(
    ("family", "said"),
    [("gpt2", "which this model does not have"), ("qwen3_moe", "which this model does not have")],
)
def test_projections_that_the_model_lacks_are_named_with_those_it_has(family: str, said: str, tmp_path: Path) -> None:
    opened, adapter = opened_as(family), random_adapter(tmp_path / "fr")
    was = picture(opened)
    with pytest.raises(ArtifactError, match=said) as refused:
        adapter.applied(opened)
    assert "this model has: " in refused.value.hint
    assert picture(opened) == was


def test_a_shape_that_does_not_fit_is_named(tmp_path: Path) -> None:
    opened, adapter = opened_as("llama"), random_adapter(tmp_path / "fr")
    assert adapter.contents is not None
    name, factors = next(iter(adapter.contents.factors.items()))
    odd = replace(adapter.contents, factors={name: replace(factors, a=torch.ones(4, 31))})
    was = picture(opened)
    with pytest.raises(ArtifactError, match=f"for {name}, which is"):
        replace(adapter, contents=odd).applied(opened)
    assert picture(opened) == was


def test_the_head_and_the_embedding_are_left_alone(tmp_path: Path) -> None:
    made(tmp_path / "head", target_modules=["lm_head"])
    with pytest.raises(ArtifactError, match="changes the embedding or the head"):
        read_folder(tmp_path / "head")
    adapter = random_adapter(tmp_path / "fr")
    assert adapter.contents is not None
    factors = next(iter(adapter.contents.factors.values()))
    head = replace(factors, a=torch.ones(4, 32), b=torch.ones(64, 4))
    with pytest.raises(ArtifactError, match="the embedding or the head: lm_head"):
        replace(adapter, contents=replace(adapter.contents, factors={"lm_head": head})).applied(opened_as("llama"))


def test_a_wrapping_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora import Linear

    opened, adapter = opened_as("llama"), random_adapter(tmp_path / "fr")
    was, update, calls = picture(opened), Linear.update_layer, []

    def failing(self: Any, *given: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("no memory is left")
        update(self, *given, **more)

    monkeypatch.setattr(Linear, "update_layer", failing)
    with pytest.raises(ArtifactError, match="no memory is left"):
        adapter.applied(opened)
    assert picture(opened) == was


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    made(tmp_path / "fr")
    (tmp_path / "fr" / WEIGHTS).rename(tmp_path / "fr" / "adapter_model.bin")
    with pytest.raises(ArtifactError, match="is a pickle"):
        read_folder(tmp_path / "fr")


@pytest.mark.parametrize(("name", "said"), [(CONFIG, f"has no {CONFIG}"), (WEIGHTS, f"has no {WEIGHTS}")])
def test_a_folder_that_lacks_a_file_is_refused(name: str, said: str, tmp_path: Path) -> None:
    made(tmp_path / "fr")
    (tmp_path / "fr" / name).unlink()
    with pytest.raises(ArtifactError, match=said):
        read_folder(tmp_path / "fr")
    with pytest.raises(ArtifactError, match="is not there"):
        read_folder(tmp_path / "none")
