"""The methods of attribution: each number is the derivative, mean derivative or difference that it says it is."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import Attribution
from sessions.circuits.recording import means, recorded
from sessions.errors import ModelError, UsageError
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model import anatomy
from sessions.model.hooks import after, count_hooks, on_neurons
from sessions.model.info import ModelInfo
from sessions.model.opening import OpenModel
from sessions.model.units import Unit
from tests.families import DENSE, tiny

IDS = torch.tensor([[1, 9, 27, 17, 51, 5, 33, 40, 12, 8, 22, 60]])
OTHER = (1, 9, 30, 17, 44, 5, 33, 41, 12, 8, 29, 60)
TARGET = 7


def measure(logits: Tensor) -> Tensor:
    return logits[-1, TARGET] - logits[-1, 19]


def opened(family: str) -> OpenModel:
    model = tiny(family)
    info = ModelInfo(
        name=family, source="", family=family, fingerprint=family * 20, dtype="float32", device="cpu", n_layers=3,
        d_model=32, d_mlp=(48,), n_heads=4, vocab_size=64, n_parameters=0, has_template=False, has_thinking=False,
    )  # fmt: skip
    return OpenModel(model=model, tokenizer=None, anatomy=anatomy.read(model), info=info)  # type: ignore[arg-type]


def attributed(model: OpenModel, **how: Any) -> Attribution:
    return attribute(model.model, model.anatomy, IDS, measure, **how)


@torch.inference_mode()
def value(model: OpenModel, treatment: Intervention) -> float:
    with intervening(model.anatomy, [treatment]):
        return float(measure(model.model(input_ids=IDS, use_cache=False).logits[0].double()))


@pytest.mark.parametrize("family", DENSE)
def test_atp_is_the_derivative_of_the_target_as_a_neuron_is_scaled(family: str) -> None:
    model = opened(family)
    found = attributed(model, method="atp", attention="gradient")
    assert found.conservation is None
    step = 1e-2
    for layer, position in [(0, 2), (1, 7), (2, 11)]:
        site = found.sites[layer]
        index = int(site.relevance[position].abs().argmax())
        neuron = (Unit(layer, index, position),)
        moved = value(model, Intervention(neuron, 1 + step)) - value(model, Intervention(neuron, 1 - step))
        exact = float(site.relevance[position, index])
        assert moved / (2 * step) == pytest.approx(exact, rel=0.02, abs=2e-4), (layer, position)
    assert count_hooks(model.model) == 0


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_ig_is_the_mean_gradient_on_the_way_from_zero(family: str) -> None:
    model = opened(family)
    found = attributed(model, method="ig", attention="gradient", steps=4)
    expected = [torch.zeros_like(site.relevance) for site in found.sites]
    for fraction in (0.25, 0.5, 0.75, 1.0):
        for total, (gradient, _) in zip(expected, gradients(model, fraction), strict=True):
            total += gradient / 4
    for site, mean, (_, activation) in zip(found.sites, expected, gradients(model, 1.0), strict=True):
        torch.testing.assert_close(site.relevance, mean * activation, atol=1e-4, rtol=1e-3)


def gradients(model: OpenModel, fraction: float) -> list[tuple[Tensor, Tensor]]:
    """Gradient and value of each layer's neurons with the embeddings at a fraction of theirs."""
    neurons: list[Tensor] = []

    def record(h: Tensor, _: object) -> Tensor:
        neurons.append(h)
        return h

    with ExitStack() as stack, torch.enable_grad():
        for embedding in model.anatomy.embeddings:
            stack.enter_context(after(embedding, lambda _, out: (out.detach() * fraction).requires_grad_()))
        for layer in model.anatomy.layers:
            for site in layer.sites:
                stack.enter_context(on_neurons(site, record))
        logits = model.model(input_ids=IDS, use_cache=False).logits[0]
        found = torch.autograd.grad(measure(logits), neurons)
    width = [site.width for layer in model.anatomy.layers for site in layer.sites]
    pairs = zip(found, neurons, width, strict=True)
    return [(gradient.reshape(-1, w), h.detach().reshape(-1, w)) for gradient, h, w in pairs]


def test_one_step_of_ig_is_atp() -> None:
    model = opened("llama")
    one = attributed(model, method="ig", attention="gradient", steps=1)
    for ours, theirs in zip(one.sites, attributed(model, method="atp", attention="gradient").sites, strict=True):
        assert torch.equal(ours.relevance, theirs.relevance)


@pytest.mark.parametrize("family", [family for family in DENSE if family != "gemma3n"])
@pytest.mark.parametrize("method", ["relp", "atp"])
def test_a_reference_counts_only_what_differs_from_it(family: str, method: Any) -> None:
    model = opened(family)
    reference = recorded(model, OTHER, IDS.shape[1])
    plain, moved = attributed(model, method=method), attributed(model, method=method, reference=reference)
    for one, other, known in zip(plain.sites, moved.sites, reference.activations, strict=True):
        expected = one.relevance * (one.activation - known)
        torch.testing.assert_close(other.relevance * one.activation, expected, atol=1e-4, rtol=1e-3)
    itself = attributed(model, method=method, reference=recorded(model, IDS[0].tolist(), IDS.shape[1]))
    assert max(float(site.relevance.abs().max()) for site in itself.sites) < 1e-5
    assert moved.conservation is None


def test_a_shorter_reference_is_aligned_at_the_end_and_says_nothing_of_what_comes_before() -> None:
    model = opened("llama")
    reference = recorded(model, OTHER[3:], IDS.shape[1])
    found = attributed(model, reference=reference)
    for site in found.sites:
        assert not site.relevance[:3].any()
        assert site.relevance[3:].any()
    whole = recorded(model, OTHER[3:], len(OTHER) - 3)
    assert torch.equal(reference.activations[1][3:], whole.activations[1])
    assert reference.at(model.anatomy, Unit(1, 5, 2)) != reference.at(model.anatomy, Unit(1, 5, 2))  # NaN
    assert reference.at(model.anatomy, Unit(1, 5, -1)) == float(whole.activations[1][-1, 5])
    ig = attributed(model, method="ig", attention="gradient", reference=reference, steps=3)
    assert all(site.relevance.isfinite().all() for site in ig.sites)


# Means


def test_a_mean_is_over_all_positions_but_the_first(tmp_path: Path) -> None:
    model = opened("gemma4")
    texts = [IDS[0].tolist(), list(OTHER[:5]), [1]]
    found = finished(means(model, texts, tmp_path))
    read = [recorded(model, ids, len(ids)).activations for ids in texts[:2]]
    for number, mean in enumerate(found.activations):
        rows = torch.cat([activations[number][1:] for activations in read])
        torch.testing.assert_close(mean, rows.mean(0), atol=1e-6, rtol=1e-5)
    assert found.at(model.anatomy, Unit(2, 3)) == float(found.activations[2][3])


def test_means_are_kept_and_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    model = opened("llama")
    first = finished(means(model, [OTHER], tmp_path))
    (path,) = (tmp_path / "means").iterdir()
    assert list(means(model, [OTHER], tmp_path)) == []  # nothing is computed
    path.write_bytes(b"\x08" + path.read_bytes()[:40])
    again = finished(means(model, [OTHER], tmp_path))
    assert all(
        torch.equal(one, other)
        for one, other in zip(first.activations + first.heads, again.activations + again.heads, strict=True)
    )
    finished(means(model, [IDS[0].tolist()], tmp_path))
    assert len(list((tmp_path / "means").iterdir())) == 2


def test_means_over_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no text"):
        finished(means(opened("llama"), [[1]], tmp_path))


def test_experts_have_no_reference() -> None:
    model = opened("mixtral")
    with pytest.raises(ModelError, match="mixture of experts"):
        recorded(model, OTHER, 12)
    with pytest.raises(ModelError, match="ig is not available"):
        attributed(model, method="ig")
    assert attributed(model, method="atp").sites
