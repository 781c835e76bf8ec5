"""Attention heads and experts as units: what is attributed, ablated and held is the head itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import Attribution
from sessions.circuits.cases import resolve_targets
from sessions.circuits.discovery import AttributionOptions, DiscoveryQuestion, discover
from sessions.circuits.edges import trace
from sessions.circuits.faithfulness import SHARES, areas, faithfulness, ranked
from sessions.circuits.mean_effects import mean_effects
from sessions.circuits.pattern_effect import looking_alike, pattern_effect
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.recording import means, recorded
from sessions.circuits.verification import verify
from sessions.errors import ModelError, UsageError
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.hooks import count_hooks
from sessions.model.info import Encoded, Prompt, Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.texts.prompt_files import PromptRecord
from tests.families import ALL, DENSE, LAYERS, MOE, NO_RULE, tiny, tiny_tokenizer

IDS = (1, 9, 27, 17, 51, 5, 33, 8, 20, 41, 11, 30, 22, 45, 16, 3, 60, 37, 29, 12)
TARGET = Target(tokens=(Token(7, "a"),), counterfactual=Token(19, "b"))


def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def with_heads(model: OpenModel) -> list[int]:
    return [layer for layer, count in enumerate(model.anatomy.counts("head")) if count]


def logits(model: OpenModel) -> Tensor:
    with torch.inference_mode():
        return model.model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0].float()


def value(model: OpenModel) -> float:
    last = logits(model)[-1]
    return float(last[7] - last[19])


@contextmanager
def slice_at(model: OpenModel, layer: int, head: int, change: Any) -> Iterator[None]:
    """Change a head's slice of the output projection's input by a plain hook: the definition, without our own code."""
    heads = model.anatomy.heads_of(layer)

    def hook(_: object, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given = args[0].clone()
        given[..., head * heads.d_head : (head + 1) * heads.d_head] = change(
            given[..., head * heads.d_head : (head + 1) * heads.d_head]
        )
        return (given, *args[1:])

    handle = heads.output.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("family", ALL)
def test_an_ablated_head_is_its_slice_at_zero_and_every_family_has_heads(family: str) -> None:
    model = opened(family)
    hooks = count_hooks(model.model)
    for layer in with_heads(model):
        with intervening(model.anatomy, [Intervention((Unit(layer, 2, kind="head"),), 0.0)]):
            ours = logits(model)
        with slice_at(model, layer, 2, torch.zeros_like):
            torch.testing.assert_close(ours, logits(model), atol=1e-5, rtol=1e-5)
    assert with_heads(model)
    assert count_hooks(model.model) == hooks


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen2", "mistral", "olmo2", "gpt2"])
def test_a_head_mixes_its_values_by_its_pattern(family: str) -> None:
    """Its slice at a position is the sum of the values before it, weighed by the pattern that the model returns. Heads
    that share keys read the values of their group."""
    model = opened(family)
    model.model.set_attn_implementation("eager")
    heads = model.anatomy.heads_of(1)
    values: list[Tensor] = []
    name = "c_attn" if family == "gpt2" else "v_proj"
    projection = getattr(heads.attention, name)
    handle = projection.register_forward_hook(lambda _, __, output: values.append(output[0].detach()))
    out = model.model(input_ids=torch.tensor([IDS]), use_cache=False, output_attentions=True)
    handle.remove()
    mixed = values[0][:, -heads.n_key_heads * heads.d_head :].unflatten(1, (heads.n_key_heads, heads.d_head))
    slices = recorded(model, IDS, len(IDS)).heads[1].unflatten(1, (heads.n_heads, heads.d_head))
    shared = heads.n_heads // heads.n_key_heads
    for head in range(heads.n_heads):
        expected = out.attentions[1][0, head] @ mixed[:, head // shared]
        torch.testing.assert_close(slices[:, head], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", [*DENSE, *MOE, "deepseek_v3", "qwen3_next", "bloom"])
def test_the_effects_of_all_heads_are_those_of_switching_them_off_one_by_one(family: str) -> None:
    model = opened(family)
    before, units = value(model), []
    for layer in with_heads(model):
        units += [Unit(layer, head, kind="head") for head in range(model.anatomy.counts("head")[layer])]
    found = finished(verify(model, IDS, [*units, Unit(units[-1].layer, 1, 4, kind="head")], TARGET))
    for unit, effect in zip(units, found.effects, strict=False):
        with slice_at(model, unit.layer, unit.index, torch.zeros_like):
            assert effect == pytest.approx(before - value(model), abs=1e-4, rel=1e-4)

    def there(values: Tensor) -> Tensor:
        values = values.clone()
        values[..., 4, :] = 0
        return values

    with slice_at(model, units[-1].layer, 1, there):
        assert found.effects[-1] == pytest.approx(before - value(model), abs=1e-4, rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma4", "gpt2"])
def test_a_head_is_held_at_its_mean_or_at_what_it_is_in_another_text(family: str, tmp_path: Any) -> None:
    model = opened(family)
    other = (1, 44, 3, 9, 12, 60, 2, 31)
    for reference in (finished(means(model, [other, IDS], tmp_path)), recorded(model, other, len(IDS))):
        unit = Unit(1, 2, kind="head")
        constant = reference.at(model.anatomy, unit)
        assert isinstance(constant, tuple) and len(constant) == model.anatomy.heads_of(1).d_head
        (effect,) = finished(verify(model, IDS, [unit], TARGET, values=[constant])).effects
        before = value(model)
        with slice_at(model, 1, 2, lambda values, held=constant: torch.tensor(held).expand_as(values)):
            assert effect == pytest.approx(before - value(model), abs=1e-4)


def attributed(model: OpenModel, kinds: tuple[Any, ...], **options: Any) -> Attribution:
    return attribute(
        model.model,
        model.anatomy,
        torch.tensor([IDS]),
        lambda scores: scores[-1, 7] - scores[-1, 19],
        kinds=kinds,
        **options,
    )


@pytest.mark.parametrize("family", [family for family in (*DENSE, *MOE) if family not in NO_RULE])
def test_what_is_attributed_to_neurons_does_not_depend_on_whether_heads_are_asked_for(family: str) -> None:
    model = opened(family)
    alone, heads, both = (attributed(model, kinds) for kinds in (("neuron",), ("head",), ("neuron", "head")))
    assert max(found.conservation or 0.0 for found in (alone, heads, both)) < 1e-5
    by_kind = {"neuron": iter(alone.sites), "head": iter(heads.sites)}
    for site in both.sites:
        same = next(by_kind[site.kind])
        assert (site.layer, site.relevance.shape) == (same.layer, same.relevance.shape)
        torch.testing.assert_close(site.relevance, same.relevance, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "phi3"])
def test_the_last_layers_heads_have_the_relevance_that_their_slice_has_in_the_linear_network(family: str) -> None:
    """Scaling a head's slice scales what it adds, and in a network that is linear behind it, its relevance with it."""
    model = opened(family)
    found = attributed(model, ("head",), method="atp", attention="gradient")
    (site,) = (site for site in found.sites if site.layer == LAYERS - 1)
    for head in range(4):
        values = []
        for factor in (1 + 1e-3, 1 - 1e-3):
            with slice_at(model, LAYERS - 1, head, lambda x, by=factor: x * by):
                values.append(value(model))
        slope = (values[0] - values[1]) / 2e-3
        assert float(site.relevance[:, head].sum()) == pytest.approx(slope, abs=2e-2 * max(1.0, abs(slope)))


def test_a_circuit_of_heads_and_neurons_is_found_and_its_faithfulness_measured(tmp_path: Any) -> None:
    model = opened("llama")
    tokens = tuple(map(str, IDS))
    encoded = Encoded(prompt=Prompt(text="x"), text="x", ids=IDS, tokens=tokens, bos=1, templated=False)
    question = DiscoveryQuestion((Token(7, "a"),), Token(19, "b"))
    how = AttributionOptions(kinds=("neuron", "head"))
    circuit = discover(model, encoded, question, choice=CircuitSize(40), how=how).circuit
    assert {unit.kind for unit in circuit.neurons} == {"neuron", "head"}
    prompts = ["abc", "bcdefg", "cd"]
    cases = finished(
        resolve_targets(model, [PromptRecord(prompt=prompt, target=" b", counterfactual=" q") for prompt in prompts])
    )
    held = finished(means(model, [case.ids for case in cases], tmp_path, aligned=True))
    everything = [Unit(layer, head, kind="head") for layer in range(LAYERS) for head in range(4)]
    everything += [Unit(layer, index) for layer in range(LAYERS) for index in range(48)]
    found = finished(faithfulness(model, cases, ranked(everything), (0, 7, len(everything)), held, controls=1))
    assert found.circuit.kept[0] == pytest.approx(0, abs=1e-5) and found.circuit.kept[-1] == pytest.approx(1, abs=1e-5)
    heads = everything[:12]
    alone = finished(faithfulness(model, cases, ranked(heads), (0, 12), held))
    assert alone.circuit.kept == pytest.approx((0, 1), abs=1e-5)
    assert alone.none != pytest.approx(found.none)  # of a circuit of heads, only heads are held
    effects = finished(mean_effects(model, cases, heads[:3])).effects
    for unit, effect in zip(heads[:3], effects, strict=True):
        (total,) = finished(mean_effects(model, cases, [unit])).effects
        assert effect == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("family", MOE)
def test_an_ablated_expert_is_all_its_neurons_ablated(family: str) -> None:
    model = opened(family)
    layer = LAYERS - 1
    site = next(site for site in model.anatomy.layers[layer].sites if hasattr(site, "n_experts"))
    expert = Unit(layer, 2, kind="expert")
    neurons = tuple(Unit(layer, site.offset + 2 * site.d_expert + index) for index in range(site.d_expert))
    with intervening(model.anatomy, [Intervention((expert,), 0.0)]):
        ours = logits(model)
    with intervening(model.anatomy, [Intervention(neurons, 0.0)]):
        torch.testing.assert_close(ours, logits(model))
    (effect,) = finished(verify(model, IDS, [expert], TARGET)).effects
    assert effect == pytest.approx(value(model) - float(ours[-1, 7] - ours[-1, 19]), abs=1e-4)


# Patterns


@pytest.mark.parametrize("family", [family for family in (*DENSE, *MOE) if family not in NO_RULE])
def test_with_patterns_held_an_ablation_is_linear_in_the_values(family: str) -> None:
    """All rows look where the first looks: with equal rows nothing changes, and nothing stays behind."""
    model = opened(family)
    two = torch.tensor([IDS, IDS])
    with torch.inference_mode():
        free = model.model(input_ids=two, use_cache=False).logits
        with looking_alike(model.model, model.anatomy):
            held = model.model(input_ids=two, use_cache=False).logits
        torch.testing.assert_close(held, free, atol=1e-5, rtol=1e-5)
        again = model.model(input_ids=two, use_cache=False).logits
    assert torch.equal(again, free)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_what_patterns_hide_is_what_the_ablation_does_to_them(family: str) -> None:
    model = opened(family)
    last = [Unit(LAYERS - 1, head, kind="head") for head in range(4)]
    found = pattern_effect(model, IDS, last, TARGET)
    assert found.free == pytest.approx(found.frozen, abs=1e-5)  # no attention reads what the last one writes
    first = [Unit(0, index) for index in range(48)]
    found = pattern_effect(model, IDS, first, TARGET)
    before = value(model)
    with intervening(model.anatomy, [Intervention(tuple(first), 0.0)]):
        assert found.free == pytest.approx(before - value(model), abs=1e-4)
    assert abs(found.through_patterns) > 1e-3


# What is not there


def test_a_unit_that_the_model_lacks_is_named() -> None:
    model = opened("llama")
    for unit, words in (
        (Unit(0, 4, kind="head"), "layer 0 has no head 4"),
        (Unit(9, 0, kind="head"), "there is no layer 9"),
        (Unit(0, 0, kind="expert"), "layer 0 has no experts"),
    ):
        with pytest.raises(UsageError, match=words):
            finished(verify(model, IDS, [unit], TARGET))
    with pytest.raises(UsageError, match="layer 2 has no expert 9"):
        finished(verify(opened("mixtral"), IDS, [Unit(2, 9, kind="expert")], TARGET))
    with pytest.raises(ModelError, match="layer 0 has no attention heads"):
        finished(verify(opened("jamba"), IDS, [Unit(0, 0, kind="head")], TARGET))


def test_a_family_whose_heads_cannot_be_told_apart_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    for layer in model.model.layers:
        layer.self_attn.num_heads = 5  # does not divide its input
    odd = adopt(model, tiny_tokenizer(), name="odd")
    with pytest.raises(ModelError, match="no attention of 'llama' has an output projection that reads equal slices"):
        attributed(odd, ("head",))
    assert set(odd.anatomy.counts("head")) == {0}


# Edges


@pytest.mark.parametrize("family", [family for family in (*DENSE, *MOE) if family not in NO_RULE])
def test_heads_neurons_and_embeddings_add_up_to_the_target_and_to_each_unit(family: str) -> None:
    """One conserved account: what all units add directly, and the embeddings, is all there is, biases aside."""
    model = opened(family)
    ids = IDS[:6]
    found = attribute(
        model.model,
        model.anatomy,
        torch.tensor([ids]),
        lambda scores: scores[-1, 7] - scores[-1, 19],
        kinds=("neuron", "head"),
    )
    sources = [
        Unit(site.layer, int(site.offsets[row]) + column, int(site.positions[row]), kind=site.kind)
        for site in found.sites
        for row in range(len(site.positions))
        for column in range(site.relevance.shape[1])
    ]
    targets = [Unit(2, 1, 5, kind="head"), Unit(1, 3, 4, kind="head"), Unit(2, sources[-1].index, 5), Unit(1, 3, 5)]
    traced = finished(trace(model, ids, TARGET, sources, targets))
    accounts = traced.weights.sum(1) + torch.tensor(traced.embeddings)
    # Rounding is of the size of what is summed, not of what is left of it.
    size = traced.weights.abs().sum(1) + torch.tensor(traced.embeddings).abs()
    gap = (accounts - torch.tensor(traced.relevance)).abs() / size.clamp(min=1e-6)
    assert float(gap.max()) < 1e-5
    assert traced.relevance[-1] == pytest.approx(traced.value, abs=1e-5 * float(size[-1]))


# The curve over all sizes


def test_the_areas_of_a_curve_are_those_of_its_trapezoids() -> None:
    found = areas([0.0, 0.5, 1.0], [0.0, 2.0, 1.0], 270)
    assert found is not None and found.units == 270
    assert found.cpr == pytest.approx(0.5 * 1.0 + 0.5 * 1.5)
    assert found.cmd == pytest.approx(0.5 * 1.0 + 0.5 * 0.5)
    perfect = areas(SHARES, [1.0] * len(SHARES), 9)
    assert perfect is not None and perfect.cpr == pytest.approx(0.999) and perfect.cmd == pytest.approx(0)
    assert areas([0.1, 1.0], [None, 1.0], 9) is None
