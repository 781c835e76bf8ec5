"""A circuit is what its question asked for, and switching it off takes the behaviour away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sessions.circuits import universal
from sessions.circuits.attribution import Reference
from sessions.circuits.circuit import Circuit
from sessions.circuits.discovery import AttributionOptions, DiscoveryQuestion, Scope, discover, discovering
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.verification import verify
from sessions.directions.lens import pushed
from sessions.errors import UsageError
from sessions.events import finished
from sessions.interventions.answering import compare
from sessions.interventions.arms import Condition
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.generation import Decoding
from sessions.model.hooks import count_hooks
from sessions.model.info import Encoded, Prompt, Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import continuation, encode
from sessions.model.units import Unit
from tests.families import tiny, tiny_tokenizer
from tests.reference import AUSTIN

AUSTIN_TOKEN = Token(AUSTIN.target_id, " Austin")
HOUSTON_TOKEN = Token(AUSTIN.counterfactual_id, " Houston")
EXACT = AttributionOptions("exact", "")


def circuit(opened: Any, question: DiscoveryQuestion, count: int = 200, **how: Any) -> Circuit:
    encoded = encode(opened.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    return discover(opened, encoded, question, choice=CircuitSize(count), **how).circuit


def test_the_default_question_is_the_likeliest_token_over_the_runner_up(smollm2: Any) -> None:
    found = circuit(smollm2, DiscoveryQuestion())
    assert found.target.tokens == (AUSTIN_TOKEN,) and found.target.counterfactual == HOUSTON_TOKEN
    assert abs(found.target.value - AUSTIN.logit_diff) < 1e-3
    assert found.conservation is not None and found.conservation < 1e-5


def test_a_target_that_is_not_the_likeliest_is_set_against_the_one_that_is(smollm2: Any) -> None:
    found = circuit(smollm2, DiscoveryQuestion((HOUSTON_TOKEN,)))
    assert found.target.counterfactual == AUSTIN_TOKEN
    assert abs(found.target.value + AUSTIN.logit_diff) < 1e-3


def test_the_opposite_question_has_the_opposite_attributions(smollm2: Any) -> None:
    there = circuit(smollm2, DiscoveryQuestion((AUSTIN_TOKEN,), HOUSTON_TOKEN))
    back = circuit(smollm2, DiscoveryQuestion((HOUSTON_TOKEN,), AUSTIN_TOKEN))
    assert {n.place: round(n.attribution or 0, 4) for n in there.neurons[:50]} == {
        n.place: -round(n.attribution or 0, 4) for n in back.neurons[:50]
    }


def test_a_target_alone_is_its_logit(smollm2: Any) -> None:
    found = circuit(smollm2, DiscoveryQuestion((AUSTIN_TOKEN,), alone=True))
    assert found.target.counterfactual is None
    assert abs(found.target.value - AUSTIN.logit_target) < 1e-3


def test_a_sequence_is_its_log_probability(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    tokens = continuation(smollm2.tokenizer, encoded, " Austin, Texas").tokens
    found = circuit(smollm2, DiscoveryQuestion(tokens, sequence=True))
    ids = torch.tensor([[*encoded.ids, *(token.id for token in tokens)]])
    logs = smollm2.model(ids).logits[0].log_softmax(-1)
    expected = sum(float(logs[len(encoded.ids) - 1 + i, token.id]) for i, token in enumerate(tokens))
    assert found.target.value == pytest.approx(expected, abs=1e-4)
    assert found.ids == (*encoded.ids, *(token.id for token in tokens[:-1]))
    assert max(neuron.position or 0 for neuron in found.neurons) >= len(encoded.ids)


def test_the_same_token_on_both_sides_is_refused(smollm2: Any) -> None:
    with pytest.raises(UsageError, match="same token"):
        circuit(smollm2, DiscoveryQuestion((AUSTIN_TOKEN,), AUSTIN_TOKEN))
    assert count_hooks(smollm2.model) == 0


def test_the_first_position_is_left_out_unless_it_is_kept(smollm2: Any) -> None:
    usual = circuit(smollm2, DiscoveryQuestion(), 500)
    kept = circuit(smollm2, DiscoveryQuestion(), 500, scope=Scope(without_positions=()))
    assert all(neuron.position != 0 for neuron in usual.neurons)
    assert any(neuron.position == 0 for neuron in kept.neurons)


def test_a_target_the_model_does_not_say_is_doubted(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    (token,) = continuation(smollm2.tokenizer, encoded, " banana").tokens
    found = discover(smollm2, encoded, DiscoveryQuestion((token,)), choice=CircuitSize(10))
    assert any("' banana' ranks" in note for note in found.notes)


def test_ablating_the_circuit_takes_the_answer_away_and_random_neurons_do_not(smollm2: Any) -> None:
    """Attribution is an estimate; the text without these neurons is a fact."""
    found = circuit(smollm2, DiscoveryQuestion((AUSTIN_TOKEN,)))
    encoded = encode(smollm2.tokenizer, found.prompt)
    generator = torch.Generator().manual_seed(0)
    random = tuple(
        Unit(layer, int(torch.randint(1536, (1,), generator=generator))) for layer, _ in (n.site for n in found.neurons)
    )
    decoding = Decoding(max_tokens=4)
    chosen = tuple({n.site: Unit(*n.site) for n in found.neurons}.values())
    for neurons, survives in ((chosen, False), (random, True)):
        (_, ablated), _ = finished(
            compare(
                smollm2,
                encoded,
                [Condition("baseline"), Condition("off", (Intervention(neurons, 0.0),))],
                decoding,
                target=found.target,
            )
        )
        assert (ablated.target_probability > 0.2) == survives
        assert ("Austin" in ablated.text) == survives


def test_universal_neurons_are_few_are_everywhere_and_are_found_once(smollm2: Any, knowing: Any) -> None:
    first = finished(universal.known(smollm2, knowing))
    assert 0 < len(first) < 50
    steps = universal.known(smollm2, knowing)
    with pytest.raises(StopIteration) as stop:
        next(steps)  # no progress event: nothing was computed
    assert stop.value.value == first
    usual = circuit(smollm2, DiscoveryQuestion(), scope=Scope(without_neurons=first))
    assert not first & {neuron.site for neuron in usual.neurons}


def test_a_damaged_file_of_universal_neurons_is_detected_anew(tmp_path: Any) -> None:
    opened, _ = little("llama")
    first = finished(universal.known(opened, tmp_path))
    (path,) = (tmp_path / "universal").iterdir()
    path.write_bytes(b"{")
    assert first and finished(universal.known(opened, tmp_path)) == first


def test_the_lens_reads_a_neuron_with_the_sign_it_fires_with(smollm2: Any) -> None:
    neuron = Unit(24, 1005, 41, 1.5, -37.7)
    turned = Unit(24, 1005, 41, 1.5, 37.7)
    ((up, down),) = pushed(smollm2.anatomy, smollm2.tokenizer, [neuron], 5)
    assert pushed(smollm2.anatomy, smollm2.tokenizer, [turned], 5) == [(down, up)]
    assert pushed(smollm2.anatomy, smollm2.tokenizer, []) == []


def test_attributions_go_with_what_ablating_each_neuron_alone_really_does(smollm2: Any) -> None:
    """Twenty neurons, each switched off alone in a row of one batch: estimate and fact correlate."""
    found = circuit(smollm2, DiscoveryQuestion((AUSTIN_TOKEN,), HOUSTON_TOKEN), 20)
    ids = torch.tensor([found.ids]).expand(len(found) + 1, -1)
    rows = [Intervention((neuron,), 0.0) for neuron in found.neurons]
    with intervening(smollm2.anatomy, [*rows, Intervention((), 1.0)]), torch.inference_mode():
        last = smollm2.model(ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    difference = last[:, AUSTIN_TOKEN.id] - last[:, HOUSTON_TOKEN.id]
    effects = difference[-1] - difference[:-1]
    attributions = torch.tensor([neuron.attribution for neuron in found.neurons])
    correlation = torch.corrcoef(torch.stack([attributions, effects]))[0, 1]
    assert correlation > 0.7


# Positions, and the exact way, on tiny models


def little(family: str) -> tuple[OpenModel, Encoded]:
    opened = adopt(tiny(family), tiny_tokenizer(), name=family)
    return opened, encode(opened.tokenizer, Prompt(text="the cat sat on", chat=False))


def test_only_the_positions_asked_for_are_candidates() -> None:
    opened, encoded = little("llama")
    everything = discover(opened, encoded, DiscoveryQuestion(), choice=CircuitSize(5000))
    some = discover(opened, encoded, DiscoveryQuestion(), choice=CircuitSize(5000), scope=Scope(positions=(2, -1)))
    last = len(encoded.ids) - 1
    assert some.candidates == 2 * sum(opened.anatomy.widths)
    assert some.circuit.neurons == tuple(n for n in everything.circuit.neurons if n.position in (2, last))


def test_integrated_gradients_settle_on_the_tokens_of_the_whole_prompt() -> None:
    opened, encoded = little("gemma3")
    likeliest = discover(opened, encoded, DiscoveryQuestion(), choice=CircuitSize(5)).circuit.target
    target = discover(
        opened, encoded, DiscoveryQuestion(), choice=CircuitSize(5), how=AttributionOptions("ig", "gradient", steps=5)
    ).circuit.target
    assert (target.tokens, target.counterfactual) == (likeliest.tokens, likeliest.counterfactual)
    assert target.value == pytest.approx(likeliest.value, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3n", "gpt2", "qwen2_moe", "gpt_oss"])
def test_method_exact_ablates_every_candidate_alone(family: str) -> None:
    opened, encoded = little(family)
    left_out = frozenset({(1, 3), (1, 40)})
    scope = Scope(layers=(1,), without_neurons=left_out)
    found = finished(
        discovering(opened, encoded, DiscoveryQuestion(), choice=CircuitSize(10_000), scope=scope, how=EXACT)
    )
    circuit = found.circuit
    assert (circuit.method, circuit.attention, circuit.held) == ("exact", "", "zero")
    assert {neuron.layer for neuron in circuit.neurons} == {1}
    assert not left_out & {neuron.site for neuron in circuit.neurons}
    if not opened.anatomy.has_experts:
        width = opened.anatomy.widths[1]
        assert found.candidates == (width - sum(index < width for _, index in left_out)) * (len(encoded.ids) - 1)
    strengths = [abs(neuron.attribution or 0) for neuron in circuit.neurons]
    assert strengths == sorted(strengths, reverse=True) and strengths[0] > 0
    some = circuit.neurons[:: max(1, len(circuit) // 40)]
    for neuron, effect in zip(some, finished(verify(opened, circuit.ids, some, circuit.target)).effects, strict=True):
        assert neuron.attribution == neuron.effect == pytest.approx(effect, abs=1e-4)
    assert circuit.total == pytest.approx(sum(neuron.attribution or 0 for neuron in circuit.neurons), abs=1e-3)
    assert count_hooks(opened.model) == 0


def test_method_exact_can_hold_neurons_at_their_means() -> None:
    opened, encoded = little("llama")
    mean = Reference(tuple(torch.full((width,), 0.3) for width in opened.anatomy.widths))
    scope = Scope(layers=(2,), positions=(-1,))
    how = replace(EXACT, reference=mean, compared="mean")
    steps = discovering(opened, encoded, DiscoveryQuestion(), choice=CircuitSize(5), scope=scope, how=how)
    circuit = finished(steps).circuit
    assert (circuit.method, circuit.held, circuit.compared) == ("exact against mean", "mean", "mean")
    held = finished(verify(opened, circuit.ids, circuit.neurons, circuit.target, values=[0.3] * 5))
    for neuron, effect in zip(circuit.neurons, held.effects, strict=True):
        assert neuron.effect == pytest.approx(effect, abs=1e-4)
