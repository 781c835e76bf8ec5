"""Arms read the same prompt, stand side by side, and in one batch say what they say alone."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sessions.cancel import Cancel
from sessions.comparisons.diverging import divergences
from sessions.errors import Cancelled, ModelError
from sessions.events import Progress, Text, finished
from sessions.interventions.answering import compare, complete_rows
from sessions.interventions.arms import Arm, Condition, repetition, shifts
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention, TokenScope
from sessions.model.generation import Decoding
from sessions.model.hooks import count_hooks
from sessions.model.info import Prompt, Token
from sessions.model.target import Target
from sessions.model.tokens import encode
from sessions.model.units import Unit
from tests.reference import AUSTIN

NEURONS = tuple({(row[0], row[2]): Unit(row[0], row[2]) for row in AUSTIN.top[:60]}.values())
TARGET = Target(
    tokens=(Token(AUSTIN.target_id, " Austin"),), counterfactual=Token(AUSTIN.counterfactual_id, " Houston")
)
SWEEP = (0.0, 0.5, 1.0, 1.5)


def scaled(multiplier: float, name: str = "", neurons: tuple[Unit, ...] = NEURONS) -> Condition:
    return Condition(name or f"×{multiplier:g}", (Intervention(neurons, multiplier),), multiplier)


def arms(opened: Any, multipliers: tuple[float, ...], **how: Any) -> tuple[Arm, ...]:
    encoded = encode(opened.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    conditions = [scaled(multiplier) for multiplier in multipliers]
    decoding = how.pop("decoding", Decoding(max_tokens=8))
    return finished(compare(opened, encoded, conditions, decoding, target=TARGET, **how))[0]


def test_a_sweep_in_one_batch_says_what_single_runs_say(smollm2: Any) -> None:
    together = arms(smollm2, SWEEP)
    for arm, multiplier in zip(together, SWEEP, strict=True):
        (alone,) = arms(smollm2, (multiplier,))
        assert arm.ids == alone.ids and arm.text == alone.text
        assert arm.target == pytest.approx(alone.target, abs=1e-3)


def test_sampled_arms_meet_the_same_noise(smollm2: Any) -> None:
    decoding = Decoding(max_tokens=8, sample=True, temperature=1.2, rng=5)
    one, again = arms(smollm2, (1.0, 1.0), decoding=decoding)
    assert one.ids == again.ids


@pytest.fixture(scope="module")
def pair(smollm2: Any) -> tuple[Arm, ...]:
    """With the circuit and without it."""
    return arms(smollm2, (1.0, 0.0), decoding=Decoding(max_tokens=1))


def test_the_target_of_an_arm_is_its_logit_difference(pair: tuple[Arm, ...]) -> None:
    baseline, off = pair
    assert baseline.target == pytest.approx(AUSTIN.logit_diff, abs=1e-3)
    assert off.target is not None and off.target < baseline.target
    austin = next(chance for chance in baseline.next_tokens if chance.id == AUSTIN.target_id)
    assert baseline.target_probability == pytest.approx(austin.probability, abs=1e-6)


def test_the_target_of_a_sequence_is_its_log_probability_under_the_arm(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    tokens = (Token(AUSTIN.target_id, " Austin"), Token(30, "."))
    target = Target(tokens=tokens, sequence=True)
    conditions = [scaled(1.0, "baseline"), scaled(0.0, "off")]
    (baseline, off), _ = finished(compare(smollm2, encoded, conditions, Decoding(max_tokens=2), target=target))
    logs = smollm2.model(torch.tensor([[*encoded.ids, tokens[0].id]])).logits[0, -2:].log_softmax(-1)
    assert baseline.target == pytest.approx(float(logs[0, tokens[0].id] + logs[1, tokens[1].id]), abs=1e-4)
    assert off.target is not None and off.target < baseline.target


def test_shifts_list_the_tokens_of_both_arms_the_largest_change_first(pair: tuple[Arm, ...]) -> None:
    baseline, off = pair
    rows = shifts(baseline, off)
    assert rows[0].token.text == " Austin" and rows[0].after < rows[0].before
    changes = [abs(row.after - row.before) for row in rows]
    assert changes == sorted(changes, reverse=True)
    assert {chance.id for chance in off.next_tokens[:5]} <= {row.token.id for row in rows}


def test_texts_stream_under_the_name_of_their_arm_and_add_up(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    steps = compare(smollm2, encoded, [scaled(1.0, "a"), scaled(0.0, "b")], Decoding(max_tokens=6))
    streamed = {"a": "", "b": ""}
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            found, _ = stop.value
            break
        if isinstance(event, Progress):
            assert 0 < event.done <= event.total and event.unit == "tokens"
            continue
        assert isinstance(event, Text)
        streamed[event.arm] += event.text
    assert streamed == {arm.name: arm.text for arm in found}


def test_cancelling_between_tokens_leaves_no_hook(smollm2: Any) -> None:
    cancel = Cancel()
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    steps = compare(smollm2, encoded, [scaled(0.0, "off")], Decoding(), cancel=cancel)
    next(steps)
    assert count_hooks(smollm2.model) > 0
    cancel.request()
    with pytest.raises(Cancelled):
        for _ in steps:
            pass
    assert count_hooks(smollm2.model) == 0


def test_closing_half_way_leaves_no_hook_and_no_mode(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    steps = compare(smollm2, encoded, [scaled(0.0, "off")], Decoding())
    next(steps)
    assert not torch.is_inference_mode_enabled()
    steps.close()
    assert count_hooks(smollm2.model) == 0


EVERY = tuple(Unit(layer, i) for layer in (3, 10) for i in range(1536))


def test_an_arm_whose_logits_are_not_numbers_stops_and_the_others_go_on(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    late = Condition("late", (Intervention(EVERY, 0.0, (inf,) * len(EVERY), TokenScope("generated")),))
    conditions = [scaled(1.0, "baseline"), scaled(1e38, "amplified", EVERY), late]
    found, _ = finished(compare(smollm2, encoded, conditions, Decoding(max_tokens=4)))
    (alone,), _ = finished(compare(smollm2, encoded, conditions[:1], Decoding(max_tokens=4)))
    assert found[0].ids == alone.ids and found[0].stopped == "length"
    assert (found[1].text, found[1].stopped, found[1].next_tokens) == ("", "nan", ())
    assert found[2].ids == alone.ids[:1] and found[2].stopped == "nan"
    assert count_hooks(smollm2.model) == 0


def test_an_error_is_raised_if_no_arm_has_finite_numbers(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    with pytest.raises(ModelError, match=r"layer \d+ is the first to compute no number, at token \d"):
        finished(compare(smollm2, encoded, [scaled(1e38, "amplified", EVERY)], Decoding(max_tokens=2)))
    assert count_hooks(smollm2.model) == 0


def test_rows_with_prompts_of_their_own_say_what_each_says_alone(smollm2: Any) -> None:
    texts = ("Hi!", AUSTIN.prompt, "Count from one to five, please.")
    asked = [(encode(smollm2.tokenizer, Prompt(text=text)), scaled(0.5 * which)) for which, text in enumerate(texts)]
    targets = [TARGET, None, Target(tokens=(Token(AUSTIN.target_id, " Austin"), Token(30, ".")), sequence=True)]
    together, logits = finished(complete_rows(smollm2, asked, Decoding(max_tokens=4), targets=targets))
    assert logits.shape[0] == 3
    for one, target, arm in zip(asked, targets, together, strict=True):
        (alone,), _ = finished(complete_rows(smollm2, [one], Decoding(max_tokens=4), targets=[target]))
        assert arm.ids == alone.ids
        assert arm.target == (None if target is None else pytest.approx(alone.target, abs=1e-3))


def test_divergence_is_kl_along_the_text_of_the_first_arm(smollm2: Any) -> None:
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt))
    conditions = [
        scaled(1.0, "baseline"),
        scaled(0.0, "off"),
        Condition("late", (Intervention(NEURONS, 0.0, where=TokenScope("generated")),)),
    ]
    (first,), _ = finished(compare(smollm2, encoded, conditions[:1], Decoding(max_tokens=8)))
    found = finished(divergences(smollm2, encoded, conditions, first.ids))
    ids = torch.tensor([[*encoded.ids, *first.ids[:-1]]])

    def log_p(*treatments: Intervention) -> torch.Tensor:
        with intervening(smollm2.anatomy, [treatments]):
            return smollm2.model(ids).logits[0, len(encoded.ids) - 1 :].log_softmax(-1)

    clean, off = log_p(), log_p(Intervention(NEURONS, 0.0))
    spans = ((len(encoded.ids), 10_000),)
    late = log_p(Intervention(NEURONS, 0.0, where=TokenScope(spans=spans)))
    for row, other in zip(found, (clean, off, late), strict=True):
        exact = (clean.exp() * (clean - other)).sum(-1)
        torch.testing.assert_close(torch.tensor(row), exact, atol=1e-4, rtol=1e-3)
    assert found[2][0] == pytest.approx(0, abs=1e-5) and found[2][1] > 0


@given(st.lists(st.integers(0, 3), max_size=30))
def test_repetition_counts_trigrams_that_were_there_before(ids: list[int]) -> None:
    grams = [tuple(ids[at : at + 3]) for at in range(len(ids) - 2)]
    seen = sum(gram in grams[:at] for at, gram in enumerate(grams))
    assert repetition(ids) == (pytest.approx(seen / len(grams)) if grams else None)
