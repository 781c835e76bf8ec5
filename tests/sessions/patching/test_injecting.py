"""A state that is injected is there, in every family and at every site; where it was taken from, it changes nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from msgspec import structs
from torch import Tensor

from sessions.directions.vector import Vector
from sessions.errors import ModelError
from sessions.events import finished
from sessions.interventions.arms import Condition
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention, TokenScope
from sessions.model.generation import Decoding, generate
from sessions.model.hooks import StateSite, count_hooks
from sessions.model.info import Encoded, Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import encode
from sessions.model.units import Unit
from sessions.patching.injecting import Injection, injected, seen_at
from sessions.patching.layer_sweep import swept
from sessions.patching.reaching import reaches, reaches_below
from sessions.patching.transplanting import Transplant, captured, passed, source_of, transplanted
from tests.families import DENSE, LAYERS, MOE, OLD, tiny, tiny_tokenizer

IDS = torch.tensor([[3, 9, 27, 17, 51, 5, 33]])
OTHER = torch.tensor([[3, 40, 11, 8, 60, 22, 19]])
SITES: tuple[StateSite, ...] = ("resid_pre", "resid_post", "mlp_out", "attn_out")


@lru_cache
def opened_tiny(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def logits(opened: OpenModel, ids: Tensor = IDS) -> Tensor:
    with torch.inference_mode():
        return opened.model(ids, use_cache=False).logits


@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_a_state_in_its_own_place_changes_no_bit(family: str) -> None:
    opened = opened_tiny(family)
    elsewhere = torch.randn(opened.anatomy.d_model, generator=torch.Generator().manual_seed(3))
    places = [(layer, site) for layer in range(LAYERS) for site in SITES]
    with seen_at(opened.anatomy, 1, [3], states=places) as seen:
        plain = logits(opened)
    for layer, site in places:
        state = seen.states[layer, site][0, 0]
        with injected(opened.anatomy, [[Injection(layer, site, 3, state)]]):
            assert torch.equal(logits(opened), plain), (layer, site)
        # A random direction: a norm would take one that is the same in every coordinate away.
        with injected(opened.anatomy, [[Injection(layer, site, 3, state + elsewhere)]]):
            assert not torch.allclose(logits(opened), plain, rtol=1e-3, atol=1e-3), (layer, site)
    assert count_hooks(opened.model) == 0


def asked(opened: OpenModel, text: str = "the cat in a hat") -> tuple[Encoded, Condition]:
    return encode(opened.tokenizer, Prompt(text=text, chat=False)), Condition("baseline")


def state_of(opened: OpenModel, text: str, position: int, layer: int, site: StateSite) -> Vector:
    return captured(opened, asked(opened, text), position, layer, site)


@pytest.mark.parametrize("family", DENSE)
def test_rows_of_a_batch_are_injected_each_its_own_way(family: str) -> None:
    opened = opened_tiny(family)
    states = torch.randn(2, opened.anatomy.d_model, generator=torch.Generator().manual_seed(0))
    rows = [[], [Injection(1, "resid_pre", 2, states[0])], [Injection(2, "mlp_out", 4, states[1], adds=True)]]
    with injected(opened.anatomy, rows):
        together = logits(opened, IDS.expand(3, -1))
    for row, injections in enumerate(rows):
        with injected(opened.anatomy, [injections]):
            torch.testing.assert_close(together[row], logits(opened)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "qwen3_moe", "gemma4"])
def test_generation_over_a_cache_goes_on_from_the_injected_state(family: str) -> None:
    """What is written over cached keys and values is what reading everything again at each step would write."""
    opened = opened_tiny(family)
    prompt, state = IDS[0].tolist(), torch.randn(32, generator=torch.Generator().manual_seed(1)) * 3
    with injected(opened.anatomy, [[], [Injection(1, "resid_pre", 3, state)]]):
        steps = generate(opened.model, opened.tokenizer, [prompt] * 2, Decoding(max_tokens=6))
        seen = [step.logits for step in steps]
    for row, injections in enumerate(([], [Injection(1, "resid_pre", 3, state)])):
        ids = list(prompt)
        for step in seen:
            with injected(opened.anatomy, [injections]):
                again = logits(opened, torch.tensor([ids]))[0, -1]
            torch.testing.assert_close(step[row], again, rtol=1e-3, atol=1e-3)
            ids.append(int(step[row].argmax()))
    assert not torch.allclose(seen[0][0], seen[0][1])


def test_an_added_state_is_on_top_of_what_stood_there() -> None:
    opened = opened_tiny("llama")
    state = torch.ones(32)
    with seen_at(opened.anatomy, 1, [3], states=[(1, "resid_pre")]) as before:
        logits(opened)
    added = Injection(1, "resid_pre", 3, state, adds=True)
    with injected(opened.anatomy, [[added]]), seen_at(opened.anatomy, 1, [3], states=[(1, "resid_pre")]) as after:
        logits(opened)
    torch.testing.assert_close(after.states[1, "resid_pre"], before.states[1, "resid_pre"] + 1)


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_neurons_are_read_as_their_down_projection_is_given_them(family: str) -> None:
    """Of experts, those that a token was sent to; the others are at 0."""
    opened = opened_tiny(family)
    with seen_at(opened.anatomy, 1, [2, 5], neurons=range(LAYERS)) as seen:
        logits(opened)
    for layer, parts in enumerate(opened.anatomy.layers):
        found = seen.neurons[layer]
        assert found.shape == (1, 2, parts.width)
        chosen = int(found[0, 1].abs().argmax())
        twice = intervening(opened.anatomy, [Intervention((Unit(layer, chosen, 5),), 2.0)])
        with twice, seen_at(opened.anatomy, 1, [2, 5], neurons=[layer]) as doubled:
            logits(opened)
        torch.testing.assert_close(doubled.neurons[layer][0, 1, chosen], 2 * found[0, 1, chosen])
        torch.testing.assert_close(doubled.neurons[layer][0, 0], found[0, 0])


def test_a_site_that_is_no_one_modules_output_is_refused() -> None:
    opened = opened_tiny("llama")
    parts = replace(opened.anatomy.layers[1], attention_writer=None)
    anatomy = replace(opened.anatomy, layers=(opened.anatomy.layers[0], parts, opened.anatomy.layers[2]))
    refused = pytest.raises(ModelError, match="layer 1 has no one place where its attention writes")
    with refused, injected(anatomy, [[Injection(1, "attn_out", 3, torch.ones(32))]]):
        pass
    assert count_hooks(opened.model) == 0


# ---- what can be reached


@pytest.mark.parametrize("family", ["gemma3n", "gemma4"])
def test_above_shared_keys_a_position_reaches_nothing_but_itself(family: str) -> None:
    """The last of three layers reads the keys and values of one before it."""
    opened = opened_tiny(family)
    text = asked(opened)
    last = len(text[0].ids) - 1
    assert reaches(opened, text, 1, "resid_pre", 3) and not reaches(opened, text, 2, "resid_pre", 3)
    assert reaches(opened, text, 2, "resid_pre", last)
    assert reaches_below(opened, text, "resid_pre", 3, LAYERS) == 2


def test_without_shared_keys_every_layer_can_be_reached() -> None:
    opened = opened_tiny("llama")
    text = asked(opened)
    assert all(reaches(opened, text, layer, "resid_pre", 3) for layer in range(LAYERS))
    assert not reaches(opened, text, LAYERS - 1, "resid_post", 3)
    assert reaches_below(opened, text, "resid_pre", 3, LAYERS) == LAYERS
    assert reaches_below(opened, text, "resid_post", 3, LAYERS) == LAYERS - 1


@pytest.mark.parametrize("family", ["gemma3n", "gemma4"])
def test_per_layer_embeddings_are_swapped_with_the_state(family: str) -> None:
    """With the state before the first layer and all per-layer embeddings, the position is that of the source."""
    opened = opened_tiny(family)
    with seen_at(opened.anatomy, 1, [3], states=[(0, "resid_pre")], inputs=True) as seen:
        logits(opened, OTHER)
    inputs = {layer: values[0, 0] for layer, values in seen.inputs.items()}
    assert sorted(inputs) == list(range(LAYERS))
    state = seen.states[0, "resid_pre"][0, 0]
    spliced = torch.cat([IDS[:, :3], OTHER[:, 3:4], IDS[:, 4:]], 1)
    with injected(opened.anatomy, [[Injection(0, "resid_pre", 3, state, inputs=inputs)]]):
        found = logits(opened)
    if family == "gemma4":  # the other has more streams than the one that is put there
        torch.testing.assert_close(found, logits(opened, spliced), rtol=1e-4, atol=1e-4)
    with injected(opened.anatomy, [[Injection(0, "resid_pre", 3, state)]]):
        assert not torch.allclose(found, logits(opened), atol=1e-3)


# ---- beside the text as it is


def transplant(vector: Vector, layer: int, site: StateSite, position: int) -> Transplant:
    return Transplant(vector, vector.directions[vector.layers[0]], layer, site, position)


@pytest.mark.parametrize("family", ["llama", "gemma2", "mixtral"])
def test_a_neuron_is_read_in_the_source_and_in_all_three_rows(family: str) -> None:
    opened = opened_tiny(family)
    vector = state_of(opened, "a fly on the hat", 4, 1, "mlp_out")
    plan = finished(
        transplanted(opened, asked(opened), [transplant(vector, 1, "mlp_out", 3)], observe=[Unit(2, 7)], rng=3)
    )
    (found,), (place,) = plan.observed, plan.placed
    with seen_at(opened.anatomy, 1, [4], neurons=[2]) as seen:
        logits(opened, torch.tensor([asked(opened, "a fly on the hat")[0].ids]))
    assert found.source == pytest.approx(float(seen.neurons[2][0, 0, 7]), abs=1e-5)
    ids = torch.tensor([asked(opened)[0].ids])
    for row, value in zip(plan.rows, (found.without, found.injected, found.random), strict=True):
        with injected(opened.anatomy, [row]), seen_at(opened.anatomy, 1, [3], neurons=[2]) as seen:
            logits(opened, ids)
        assert value == pytest.approx(float(seen.neurons[2][0, 0, 7]), abs=1e-4)
    norms = [float(row[0].state.norm()) for row in plan.rows[1:]]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5) and place.norm == pytest.approx(norms[0])
    assert place.reaches and place.token == asked(opened)[0].tokens[3]


def test_a_state_put_back_gives_the_neurons_of_its_layer_what_they_had() -> None:
    """Into the text and the place it is from, all that it woke is back, at its layer and later."""
    opened = opened_tiny("llama")
    vector = state_of(opened, "the cat in a hat", 3, 1, "resid_pre")
    plan = finished(transplanted(opened, asked(opened), [transplant(vector, 1, "resid_pre", 3)]))
    assert plan.observed and all(each.given_back == pytest.approx(1.0, abs=1e-4) for each in plan.observed)
    assert [each.neuron.layer for each in plan.observed] == [1, 1, 1, 1, 2]
    (place,) = plan.placed
    assert place.cosine == pytest.approx(1.0, abs=1e-5) and place.norm == pytest.approx(place.replaced)


@pytest.mark.parametrize(
    ("family", "measured"),
    [
        *(
            (family, measured)
            for family in ("llama", "gemma4", "gpt_neox")
            for measured in ("activation", "probability", "kl")
        ),
        *((family, "kl") for family in ("gemma3n", "gemma2", "gpt2", "qwen2_moe")),
    ],
)
def test_a_map_is_what_single_injections_are(family: str, measured: str) -> None:
    opened = opened_tiny(family)
    vector = state_of(opened, "a fly on the hat", 4, 1, "resid_pre")
    assert vector.origin is not None
    observe = Unit(2, 5) if measured == "activation" else None
    target = 9 if measured == "probability" else None
    way = {"observe": observe, "target": target, "batch": 40}
    found = finished(swept(opened, asked(opened), 3, vector.origin, range(LAYERS), "resid_pre", **way))  # type: ignore[arg-type]
    source = torch.tensor([vector.origin.ids])
    with seen_at(opened.anatomy, 1, [4], states=[(layer, "resid_pre") for layer in range(LAYERS)]) as seen:
        after = logits(opened, source)[0, 4].log_softmax(-1)
    ids = torch.tensor([asked(opened)[0].ids])
    for layer in range(LAYERS):
        for into in range(LAYERS):
            put = Injection(into, "resid_pre", 3, seen.states[layer, "resid_pre"][0, 0])
            with injected(opened.anatomy, [[put]]), seen_at(opened.anatomy, 1, [3], neurons=[2]) as there:
                said = logits(opened, ids)[0, -1].log_softmax(-1)
            naive = {
                "activation": float(there.neurons[2][0, 0, 5]),
                "probability": float(said[9].exp()),
                "kl": float((after.exp() * (after - said)).sum()),
            }
            assert found.cells[layer][into] == pytest.approx(naive[measured], rel=1e-3, abs=1e-4)
    assert found.reaches_below == (2 if family in ("gemma3n", "gemma4") else LAYERS)
    assert count_hooks(opened.model) == 0


@pytest.mark.parametrize("where", [TokenScope("prompt"), TokenScope("answer", (), "c")], ids=["prompt", "answer"])
def test_a_map_is_taken_under_what_is_live(where: TokenScope) -> None:
    """Also where it depends on the tokens before the place, which are read once."""
    opened = opened_tiny("llama")
    live = (Intervention((Unit(0, 3), Unit(1, 7), Unit(2, 5)), 0.0, (), where),)
    encoded = structs.replace(asked(opened)[0], reply=1)
    text = (encoded, Condition("live", live))
    vector = state_of(opened, "a fly on the hat", 4, 1, "resid_pre")
    assert vector.origin is not None
    found = finished(swept(opened, text, 3, vector.origin, range(LAYERS), "resid_pre", target=9))
    source, _ = passed(opened, source_of(opened.anatomy, vector.origin, live), [()], [4], states=[(0, "resid_pre")])
    put = Injection(1, "resid_pre", 3, source.states[0, "resid_pre"][0, 0])
    for condition, same in ((text[1], True), (Condition("nothing", ()), False)):
        _, said = passed(opened, (encoded, condition), [[put]], [3])
        assert (found.cells[0][1] == pytest.approx(float(said[0].softmax(-1)[9]), rel=1e-4)) == same
