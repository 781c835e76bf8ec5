"""Arms read the same prompt, stand side by side, and in one batch say what they say alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sessions.circuits.circuit import Neuron, Target
from sessions.errors import Cancelled, ModelError
from sessions.events import Text, finished
from sessions.interventions.arms import Arm, Condition, shifts
from sessions.interventions.comparing import compare
from sessions.model.cancel import Cancel
from sessions.model.generation import Decoding
from sessions.model.hooks import count_hooks
from sessions.model.info import Prompt, Token
from sessions.model.tokens import encode
from tests.reference import AUSTIN

NEURONS = tuple({(row[0], row[2]): Neuron(row[0], row[2]) for row in AUSTIN.top[:60]}.values())
TARGET = Target(
    tokens=(Token(AUSTIN.target_id, " Austin"),), counterfactual=Token(AUSTIN.counterfactual_id, " Houston")
)
SWEEP = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


def arms(opened: Any, multipliers: tuple[float, ...], **how: Any) -> tuple[Arm, ...]:
    encoded = encode(opened.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    conditions = [Condition(f"×{multiplier:g}", multiplier) for multiplier in multipliers]
    decoding = how.pop("decoding", Decoding(max_tokens=16))
    return finished(compare(opened, encoded, NEURONS, conditions, decoding, target=TARGET, **how))[0]


def test_a_sweep_in_one_batch_says_what_single_runs_say(smollm2: Any) -> None:
    together = arms(smollm2, SWEEP)
    for arm, multiplier in zip(together, SWEEP, strict=True):
        (alone,) = arms(smollm2, (multiplier,))
        assert arm.ids == alone.ids and arm.text == alone.text
        assert arm.target == pytest.approx(alone.target, abs=1e-3)


def test_sampled_arms_meet_the_same_noise(smollm2: Any) -> None:
    decoding = Decoding(max_tokens=16, sample=True, temperature=1.2, rng=5)
    one, again = arms(smollm2, (1.0, 1.0), decoding=decoding)
    assert one.ids == again.ids


def test_the_target_of_an_arm_is_its_logit_difference(smollm2: Any) -> None:
    baseline, off = arms(smollm2, (1.0, 0.0))
    assert baseline.target == pytest.approx(AUSTIN.logit_diff, abs=1e-3)
    assert off.target is not None and off.target < baseline.target
    austin = next(chance for chance in baseline.next_tokens if chance.id == AUSTIN.target_id)
    assert baseline.target_probability == pytest.approx(austin.probability, abs=1e-6)


def test_the_target_of_a_sequence_is_its_log_probability_under_the_arm(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    tokens = (Token(AUSTIN.target_id, " Austin"), Token(30, "."))
    target = Target(tokens=tokens, sequence=True)
    conditions = [Condition("baseline", 1.0), Condition("off", 0.0)]
    (baseline, off), _ = finished(compare(smollm2, encoded, NEURONS, conditions, Decoding(max_tokens=2), target=target))
    logs = smollm2.model(torch.tensor([[*encoded.ids, tokens[0].id]])).logits[0, -2:].log_softmax(-1)
    assert baseline.target == pytest.approx(float(logs[0, tokens[0].id] + logs[1, tokens[1].id]), abs=1e-4)
    assert off.target is not None and off.target < baseline.target


def test_shifts_list_the_tokens_of_both_arms_the_largest_change_first(smollm2: Any) -> None:
    baseline, off = arms(smollm2, (1.0, 0.0))
    rows = shifts(baseline, off)
    assert rows[0].token.text == " Austin" and rows[0].after < rows[0].before
    changes = [abs(row.after - row.before) for row in rows]
    assert changes == sorted(changes, reverse=True)
    assert {chance.id for chance in off.next_tokens[:5]} <= {row.token.id for row in rows}


def test_texts_stream_under_the_name_of_their_arm_and_add_up(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    steps = compare(smollm2, encoded, NEURONS, [Condition("a", 1.0), Condition("b", 0.0)], Decoding(max_tokens=12))
    streamed = {"a": "", "b": ""}
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            found, _ = stop.value
            break
        assert isinstance(event, Text)
        streamed[event.arm] += event.text
    assert streamed == {arm.name: arm.text for arm in found}


def test_cancelling_between_tokens_leaves_no_hook(smollm2: Any) -> None:
    cancel = Cancel()
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    steps = compare(smollm2, encoded, NEURONS, [Condition("off", 0.0)], Decoding(), cancel=cancel)
    next(steps)
    assert count_hooks(smollm2.model) > 0
    cancel.request()
    with pytest.raises(Cancelled):
        for _ in steps:
            pass
    assert count_hooks(smollm2.model) == 0


def test_closing_half_way_leaves_no_hook_and_no_mode(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    steps = compare(smollm2, encoded, NEURONS, [Condition("off", 0.0)], Decoding())
    next(steps)
    assert not torch.is_inference_mode_enabled()
    steps.close()
    assert count_hooks(smollm2.model) == 0


def test_logits_that_are_not_numbers_name_the_arm(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    every = tuple(Neuron(layer, i) for layer in (3, 10) for i in range(1536))
    conditions = [Condition("baseline", 1.0), Condition("amplified", 1e38)]
    with pytest.raises(ModelError, match="logits of 'amplified' are not numbers"):
        finished(compare(smollm2, encoded, every, conditions, Decoding(max_tokens=2)))
    assert count_hooks(smollm2.model) == 0
