"""Relevance is conserved, it is the reference implementation's where that one agrees with the rules, and for a
linearised network it predicts what ablation does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from sessions.cancel import Cancel
from sessions.circuits import rules
from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import Attribution
from sessions.circuits.rules import half, identity, identity_centred
from sessions.errors import Cancelled, ModelError
from sessions.model import anatomy
from sessions.model.hooks import count_hooks
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel
from sessions.model.tokens import encode
from tests.families import DENSE, tiny
from tests.reference import AUSTIN

IDS = torch.tensor([[1, 9, 27, 17, 51, 5, 33, 40, 12, 8, 22, 60]])
CONSERVING = [family for family in DENSE if family != "gemma3n"]


def likeliest(logits: Tensor) -> Tensor:
    return logits[-1].max()


def austin(logits: Tensor) -> Tensor:
    return logits[0, AUSTIN.target_id] - logits[0, AUSTIN.counterfactual_id]


def attributed(model: Any, ids: Tensor = IDS, **how: Any) -> Attribution:
    return attribute(model, anatomy.read(model), ids, how.pop("measure", likeliest), **how)


@pytest.mark.parametrize("family", [*CONSERVING, "mixtral", "qwen2_moe", "qwen3_moe"])
@pytest.mark.parametrize("seed", [0, 1])
def test_with_frozen_attention_all_relevance_reaches_the_inputs(family: str, seed: int) -> None:
    assert attributed(tiny(family, seed)).conservation < 1e-5


@pytest.mark.parametrize("rows", [1, 5, 12])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "gemma4", "gpt2", "qwen3_moe", "deepseek_v3"])
def test_frozen_attention_is_the_familys_own_written_out_in_blocks_of_any_size(
    family: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grouped keys, sliding windows, values of another size than the keys."""
    ids = IDS.repeat(1, 2)  # past the window
    monkeypatch.setattr(rules, "PATTERN", rows * 4 * ids.shape[1])
    fused, model = attributed(tiny(family), ids), tiny(family)
    model.set_attn_implementation("eager")
    for one, other in zip(fused.sites, attributed(model, ids).sites, strict=True):
        torch.testing.assert_close(one.relevance, other.relevance, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "gpt2"])
def test_no_attention_pattern_is_kept_for_the_way_back(family: str) -> None:
    """What grows with the square of a prompt does not fit into memory for long ones."""
    ids, sizes = IDS.repeat(1, 8), []

    def packed(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
        attributed(tiny(family), ids)
    assert sizes and max(sizes) < 4 * ids.shape[1] ** 2  # of four heads


def test_relevance_is_conserved_on_an_embedded_model(smollm2: OpenModel) -> None:
    assert_conserved(smollm2)


def assert_conserved(opened: OpenModel) -> None:
    ids = encode(opened.tokenizer, Prompt(text="The capital of Texas is", chat=False)).ids
    found = attribute(opened.model, opened.anatomy, torch.tensor([ids]), likeliest)
    assert found.conservation < 1e-5


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_a_log_probability_conserves_its_gradient_times_the_logits(family: str) -> None:
    found = attributed(tiny(family), measure=lambda logits: logits.log_softmax(-1)[:, 7].sum(), kept=3)
    assert found.conservation < 1e-5


@pytest.mark.parametrize("family", ["llama", "gemma3", "gemma4", "gpt2"])
def test_without_a_rule_relevance_is_lost(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conservation is a test that can fail: leave out the norms, and it does."""
    model = tiny(family)
    parts = anatomy.read(model)
    broken = attribute(model, replace(parts, norms=(), centring_norms=()), IDS, likeliest)
    assert broken.conservation > 1e-3


@contextmanager
def bias_relevance(model: nn.Module) -> Iterator[list[Tensor]]:
    """What the biases of linear maps contribute: each bias times the gradient at its output."""
    shares: list[Tensor] = []

    def watch(module: nn.Module, _: Any, output: Tensor) -> None:
        bias: Tensor = module.bias  # type: ignore[assignment]
        output.register_hook(lambda gradient: shares.append((gradient * bias).sum()))

    linear = [m for m in model.modules() if isinstance(m, nn.Linear | Conv1D) and m.bias is not None]
    handles = [m.register_forward_hook(watch) for m in linear]
    try:
        yield shares
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", ["qwen2", "gpt2", "gpt_neox", "gpt_neo"])
def test_relevance_that_does_not_reach_the_inputs_is_in_the_biases(family: str) -> None:
    model = tiny(family, biases=True)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):  # its rule is tested by itself, below
            module.bias.zero_()
    with bias_relevance(model) as shares:
        found = attributed(model)
    accounted = found.inputs + float(sum(shares))
    assert found.conservation > 1e-4
    assert abs(accounted - found.outputs) / abs(found.outputs) < 1e-5


def test_with_attention_gradients_the_numbers_are_the_reference_implementations(smollm2: Any) -> None:
    found = attribute(smollm2.model, smollm2.anatomy, torch.tensor([AUSTIN.ids]), austin, attention="gradient")
    assert abs(found.value - AUSTIN.logit_diff) < 1e-3
    relevance = found.dense()
    for layer, position, index, value, activation in AUSTIN.top:
        assert abs(float(relevance[layer, position, index]) - value) <= 1e-3 * abs(value)
        assert abs(float(found.sites[layer].activation[position, index]) - activation) <= 1e-3 * abs(activation)
    relevance[:, 0] = 0
    strongest = relevance.abs().flatten().topk(200).indices
    _, seq, width = relevance.shape
    ours = {(int(i) // (seq * width), int(i) // width % seq, int(i) % width) for i in strongest}
    assert ours == {row[:3] for row in AUSTIN.top[:200]}
    assert abs(float(relevance.sum()) - AUSTIN.sum_attribution_without_position_0) < 1e-2


@pytest.mark.parametrize("family", ["llama", "mixtral", "gpt2", "gemma4"])
def test_forward_values_are_the_models_own_and_nothing_stays_behind(family: str) -> None:
    model = tiny(family)
    anatomy.read(model)  # which chooses the implementation of experts
    plain = model(IDS, use_cache=False).logits[0, -1]
    implementation = model.config._attn_implementation
    for attention in ("frozen", "gradient"):
        found = attributed(model, attention=attention, measure=lambda logits: logits[0, 5])
        torch.testing.assert_close(found.value, float(plain[5]), atol=1e-4, rtol=1e-4)
    assert count_hooks(model) == 0
    assert model.config._attn_implementation == implementation
    assert torch.equal(model(IDS, use_cache=False).logits[0, -1], plain)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("family", ["gemma2", "gemma4", "granite", "cohere"])
def test_the_target_is_a_function_of_the_models_own_logits_and_all_of_it_arrives(family: str) -> None:
    """These families squash or scale what their head computes."""
    model = tiny(family)
    logits = model(IDS).logits[0, -1]
    assert not torch.allclose(logits, model.lm_head(model.model(IDS).last_hidden_state)[0, -1], rtol=0.05)
    for measure in (lambda kept: kept[-1, 5] - kept[-1, 9], lambda kept: kept[-1].log_softmax(-1)[5]):
        found = attributed(model, measure=measure)
        torch.testing.assert_close(found.value, float(measure(logits[None])), rtol=1e-5, atol=1e-5)
        assert found.conservation < 1e-5


def test_a_backward_pass_that_overflows_names_the_layer_and_shows_no_number() -> None:
    model = tiny("llama").to(torch.float16)
    model.model.layers[2].mlp.down_proj.weight.mul_(1e4)
    with pytest.raises(ModelError, match=r"relevance of layer \d is not finite in float16.*float32"):
        attributed(model)
    assert count_hooks(model) == 0


def test_cancelling_in_the_backward_pass_is_noticed_and_leaves_nothing() -> None:
    model = tiny("llama")
    cancel = Cancel()

    def measure(logits: Tensor) -> Tensor:
        cancel.request()  # the forward pass is over, the backward pass about to begin
        return logits[0, 3]

    with pytest.raises(Cancelled):
        attributed(model, measure=measure, cancel=cancel)
    assert count_hooks(model) == 0


def test_the_identity_rule_keeps_the_value_and_hands_back_the_ratio() -> None:
    x = torch.tensor([2.0, -1.0, 0.0], requires_grad=True)
    y = torch.nn.functional.silu(x)
    out = identity(x, y)
    assert torch.equal(out, y)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient[:2], (y / x).detach()[:2]) and gradient[2] == 0


def test_the_identity_rule_of_a_layer_norm_conserves_but_for_its_bias() -> None:
    norm = nn.LayerNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, requires_grad=True)
    out = identity_centred(norm, x, norm(x))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close((gradient * x).sum(), (out - norm.bias).sum())


def test_the_half_rule_makes_a_product_conserve() -> None:
    a, b = torch.randn(5, requires_grad=True), torch.randn(5, requires_grad=True)
    product = half(a * b)
    gradients = torch.autograd.grad(product.sum(), [a, b])
    torch.testing.assert_close(a * gradients[0] + b * gradients[1], product)
