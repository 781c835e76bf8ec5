"""States between layers, read as if they were the last: the last layer is the model itself, in every family."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sessions.events import finished
from sessions.lenses import readout
from sessions.lenses.findings import EMBEDDINGS
from sessions.lenses.readout import logits_of, read, states_between
from sessions.model.opening import OpenModel, adopt
from tests.families import ALL, LAYERS, tiny, tiny_tokenizer

IDS = (1, 10, 11, 12, 13, 30, 9, 7, 22, 18, 19, 5)
SPAN = range(2, 12)


def opened(family: str) -> OpenModel:
    return adopt(tiny(family, biases=True), tiny_tokenizer(), name=family)


@torch.inference_mode()
def own(model: OpenModel) -> Tensor:
    """The model's own log-probabilities, by transformers alone."""
    return model.model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0].float().log_softmax(-1)


@pytest.mark.parametrize("family", ALL)
def test_the_last_layer_is_the_models_own_prediction(family: str) -> None:
    """Softcaps, scales and biases behind the last layer included."""
    model = opened(family)
    expected = own(model)[SPAN.start :]
    with torch.inference_mode():
        between = states_between(model, IDS, SPAN)
        assert torch.equal(logits_of(model, between.states[-1], between.tupled).log_softmax(-1), expected)
    found = finished(read(model, between, 3))
    assert [layer.layer for layer in found.layers] == [EMBEDDINGS, *range(LAYERS)]
    last = found.layers[-1]
    assert last.top_probability == pytest.approx(expected.max(-1).values.exp().tolist(), rel=1e-5)
    assert last.probability == last.top_probability and set(last.rank) == {1}
    assert last.entropy == pytest.approx((-(expected.exp() * expected).sum(-1)).tolist(), abs=1e-5)
    assert last.kl == pytest.approx([0.0] * len(SPAN), abs=1e-6)
    assert all(kl > 1e-3 for layer in found.layers[:-1] for kl in layer.kl)
    assert [row.layer for row in found.rows] == [layer.layer for layer in found.layers]


def test_a_layer_between_is_read_through_norm_and_head() -> None:
    """The same by hand, from transformers' own hidden states."""
    model = opened("llama")
    with torch.inference_mode():
        out = model.model(input_ids=torch.tensor([IDS]), use_cache=False, output_hidden_states=True)
        states = out.hidden_states[1][0, SPAN.start :]  # after layer 0
        lens = model.model.lm_head(model.model.model.norm(states)).log_softmax(-1)
        between = states_between(model, IDS, SPAN, layers=[0])
    found = finished(read(model, between, 4, target=20))
    layer, row = found.layers[0], found.rows[0]
    expected = own(model)[SPAN.start :]
    assert (layer.layer, len(found.layers)) == (0, 2)
    assert layer.probability == pytest.approx(lens[:, 20].exp().tolist(), rel=1e-4)
    assert layer.rank == tuple((1 + (lens > lens[:, 20:21]).sum(-1)).tolist())
    assert layer.kl == pytest.approx((expected.exp() * (expected - lens)).sum(-1).tolist(), rel=1e-4)
    assert found.targets == (20,) * len(SPAN)
    assert (row.probability, row.rank, row.kl) == (layer.probability[4], layer.rank[4], layer.kl[4])
    assert row.tokens[0] == layer.top[4] and row.top_probability == layer.top_probability[4]


@pytest.mark.parametrize("family", ["gemma2", "gpt2"])
def test_reading_in_parts_changes_nothing(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(family)
    with torch.inference_mode():
        between = states_between(model, IDS, SPAN)
    whole = finished(read(model, between, 7))
    monkeypatch.setattr(readout, "AT_ONCE", 3 * model.anatomy.n_tokens)
    parts = finished(read(model, between, 7))
    assert whole.targets == parts.targets and whole.rows[0].tokens == parts.rows[0].tokens
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert one.top == other.top and one.kl == pytest.approx(other.kl, abs=1e-5)


def test_a_translation_moves_the_states_of_its_layer_alone() -> None:
    model = opened("qwen3")
    with torch.inference_mode():
        between = states_between(model, IDS, SPAN)
    plain = finished(read(model, between, 0))
    moved = finished(read(model, between, 0, translations={1: lambda states: states.flip(-1)}))
    assert [one == other for one, other in zip(plain.layers, moved.layers, strict=True)] == [True, True, False, True]
