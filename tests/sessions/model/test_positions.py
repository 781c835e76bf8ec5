"""Where positions are encoded by the length of the text, no row depends on another and no text on an earlier one."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sessions.circuits.cases import last_logits
from sessions.circuits.verification import verify
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.distribution import next_logits
from sessions.model.generation import Decoding, generate, left_padded
from sessions.model.info import Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.positions import by_length, encoding_of
from sessions.model.target import Target
from sessions.model.units import Unit
from tests.families import STRETCHED, tiny, tiny_tokenizer

FAMILIES = ("phi3-longrope", "llama-dynamic")
IDS = tuple(4 + 7 * number % 60 for number in range(40))


@cache
def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


@cache
def alone(family: str, length: int) -> Tensor:
    """Logits after so many of the ids, `[vocab]`, by a plain model that has read nothing before."""
    with torch.inference_mode():
        return copy.deepcopy(tiny(family))(torch.tensor([IDS[:length]]), use_cache=False).logits[0, -1]


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_tokens_are_encoded_otherwise_in_a_longer_text(family: str) -> None:
    """Else nothing here would say anything."""
    encoding = encoding_of(opened(family).model)
    assert encoding is not None and not encoding.alike(STRETCHED, STRETCHED + 1)
    with encoding.as_long_as((len(IDS),)):
        assert not torch.allclose(next_logits(opened(family), IDS[:9]), alone(family, 9))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, len(IDS)), min_size=1, max_size=4))
def test_each_row_of_a_batch_is_encoded_by_its_own_length(family: str, lengths: list[int]) -> None:
    texts = [IDS[:length] for length in lengths]
    model = opened(family)
    for logits, length in zip(last_logits(model, texts), lengths, strict=True):  # padded on the right
        close(logits, alone(family, length))
    ids, mask = left_padded(texts, 0, model.model.device)
    with torch.inference_mode():
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model.model(ids, attention_mask=mask, position_ids=positions, use_cache=False).logits[:, -1]
    for row, length in zip(logits, lengths, strict=True):
        close(row, alone(family, length))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_read_does_not_depend_on_what_was_read_before(family: str) -> None:
    model = opened(family)
    lengths = (9, STRETCHED, STRETCHED + 1, 25)
    first = [next_logits(model, IDS[:length]) for length in lengths]
    next_logits(model, IDS)
    finished(generate(model.model, model.tokenizer, [IDS[:12]], Decoding(max_tokens=20)))
    for length, logits in zip(lengths, first, strict=True):
        assert torch.equal(next_logits(model, IDS[:length]), logits)


def test_a_model_that_has_read_a_long_text_before_it_is_opened_forgets_it() -> None:
    model = tiny("llama-dynamic")
    with torch.inference_mode():
        model(torch.tensor([IDS]))
    used = adopt(model, tiny_tokenizer(), name="used")
    close(next_logits(used, IDS[:25]), alone("llama-dynamic", 25))


def test_a_model_is_prepared_once_however_often_it_is_read() -> None:
    model = opened("phi3-longrope")
    known = model.anatomy.positions
    model.reread()
    assert model.anatomy.positions is known
    assert by_length(tiny("llama").get_decoder()) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_that_grows_past_the_length_is_what_reading_it_anew_at_each_token_gives(family: str) -> None:
    """Two rows cross it at different steps, and one is beyond it from the first."""
    model, prompts = opened(family), [IDS[:10], IDS[:14], IDS[:30]]
    rows = finished(generate(model.model, model.tokenizer, prompts, Decoding(max_tokens=9)))
    for row, prompt in zip(rows, prompts, strict=True):
        text: list[int] = list(prompt)
        while len(text) < len(prompt) + 9:
            with torch.inference_mode():
                fresh = copy.deepcopy(tiny(family))
                text.append(int(fresh(torch.tensor([text]), use_cache=False).logits[0, -1].argmax()))
        assert row.ids == text[len(prompt) :]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_intervention_on_a_text_that_grows_past_the_length_stays_where_it_was(family: str) -> None:
    """All is read again then: what is changed at a position must be changed there once more."""
    model, prompt = opened(family), IDS[:13]
    change = Intervention((Unit(1, 5, 4), Unit(0, 3)), 3.0)
    with intervening(model.anatomy, [change]):
        (row,) = finished(generate(model.model, model.tokenizer, [prompt], Decoding(max_tokens=8)))
    text: list[int] = list(prompt)
    while len(text) < len(prompt) + 8:
        with intervening(model.anatomy, [change]):
            text.append(int(next_logits(model, text).argmax()))
    assert row.ids == text[len(prompt) :]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [12, 30])
def test_effects_are_those_of_the_whole_text_read_anew(family: str, length: int) -> None:
    model, ids = opened(family), IDS[:length]
    target = Target(tokens=(Token(7, "a"),), counterfactual=Token(19, "b"))
    neurons = [Unit(layer, 11 + layer, position) for layer in range(3) for position in (1, length - 3, length - 1)]
    found = finished(verify(model, ids, neurons, target))

    def value(logits: Tensor) -> float:
        return float(logits[7] - logits[19])

    assert found.value == pytest.approx(value(alone(family, length)), abs=1e-4)
    for neuron, effect in zip(neurons, found.effects, strict=True):
        with intervening(model.anatomy, [Intervention((neuron,), 0.0)]):
            changed = value(next_logits(model, ids))
        assert effect == pytest.approx(found.value - changed, abs=1e-4), neuron
