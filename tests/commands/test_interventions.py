"""`ablate`, `amplify`, `shift`, `set-to`, `arms`: what each does is what an exact intervention does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import structs

from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import EVERYWHERE, Intervention, TokenScope
from sessions.model.hooks import count_hooks, on_neurons
from sessions.model.opening import adopt
from sessions.model.units import Unit
from sessions.procedures import thoughts
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer

NEURON = Unit(1, 3)


def next_token(session: Session, *treatments: Intervention) -> torch.Tensor:
    ids = session.encoded().ids
    with torch.inference_mode(), intervening(session.opened().anatomy, [treatments]):
        return session.opened().model(torch.tensor([ids])).logits[0, -1].softmax(-1)


def changed(value: Any) -> dict[int, float]:
    return {chance.id: chance.probability for chance in value.arms[-1].next_tokens}


@pytest.mark.parametrize(
    ("line", "treatment"),
    [
        ("ablate L1/N3", Intervention((NEURON,), 0.0)),
        ("ablate L1/N3 --zero --all", Intervention((NEURON,), 0.0)),
        ("amplify L1/N3 -30", Intervention((NEURON,), -30.0)),
        ("shift L1/N3 25", Intervention((NEURON,), 1.0, (25.0,))),
        ("set-to L1/N3 -25", Intervention((NEURON,), 0.0, (-25.0,))),
        (
            "shift L1/N3 25 --positions 0-1,-1",
            Intervention((NEURON,), 1.0, (25.0,), TokenScope(spans=((0, 1), (5, 5)))),
        ),
        ("shift L1/N3 25 --prompt", Intervention((NEURON,), 1.0, (25.0,))),
        ("shift L1/N3 25 --generated", Intervention(())),
        ("shift L1/N3@2 25", Intervention((Unit(1, 3, 2),), 1.0, (25.0,))),
    ],
)
def test_the_next_token_is_that_of_the_exact_intervention(little: Session, line: str, treatment: Intervention) -> None:
    found = result(little, f"{line} --max-tokens 3")
    exact = next_token(little, treatment)
    assert changed(found) == pytest.approx({token: float(exact[token]) for token in changed(found)}, abs=1e-5)
    baseline = next_token(little)
    assert found.arms[0].next_tokens[0].probability == pytest.approx(float(baseline.max()), abs=1e-5)


def test_mean_ablation_holds_at_the_mean_over_the_file_and_says_what_over(little: Session, tmp_path: Path) -> None:
    texts = ["the cat sat", "a dog", "hello there, you"]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"prompt": text, "raw": True}) + "\n" for text in texts))
    found = result(little, f"ablate L1/N3 --mean --over {file} --max-tokens 2")
    values: list[float] = []

    def keep(activations: torch.Tensor, _: object) -> torch.Tensor:
        values.extend(activations.reshape(-1, activations.shape[-1])[1:, 3].tolist())
        return activations

    site, _ = little.opened().anatomy.site_of(1, 3)
    for text in texts:
        ids = little.opened().tokenizer.encode(text)
        with torch.inference_mode(), on_neurons(site, keep):
            little.opened().model(torch.tensor([ids]))
    exact = next_token(little, Intervention((NEURON,), 0.0, (sum(values) / len(values),)))
    assert changed(found) == pytest.approx({token: float(exact[token]) for token in changed(found)}, abs=1e-5)
    assert any(str(file) in note for note in found.notes)
    assert any("built-in texts" in note for note in result(little, "ablate L1/N3 --mean --max-tokens 2").notes)


def test_resampling_draws_with_the_seed_and_says_from_where(little: Session) -> None:
    first = result(little, "ablate L1/* --resample --max-tokens 2")
    assert changed(result(little, "ablate L1/* --resample --max-tokens 2")) == changed(first)
    assert any("at position" in note and "built-in texts" in note for note in first.notes)
    places = set()
    for seed in range(6):
        result(little, f"set rng {seed}")
        places |= {note for note in result(little, "ablate L1/* --resample --max-tokens 1").notes if "position" in note}
    assert len(places) > 2


def test_a_part_of_the_text_is_counted(little: Session) -> None:
    prompt = len(little.encoded().ids)
    for options, inside in (("--prompt", prompt), ("--generated", 4), ("--positions 1-2", 2), ("--all", prompt + 4)):
        (baseline, arm) = result(little, f"shift L1/N3 2 {options} --max-tokens 5").arms
        assert baseline.fired is None
        assert (arm.fired, arm.read) == (inside, prompt + 4), options


def test_a_marker_that_never_comes_is_said(little: Session) -> None:
    found = result(little, 'ablate L1/N3 --answer --marker "no such text" --max-tokens 4')
    assert found.arms[1].fired == 0 and found.arms[1].ids == found.arms[0].ids
    assert any("never in force: the marker 'no such text' did not come" in note for note in found.notes)


def test_all_of_a_reply_is_the_answer_of_a_model_that_does_not_think(little: Session) -> None:
    answer, generated = (result(little, f"shift L1/N3 9 --{part} --max-tokens 4") for part in ("answer", "generated"))
    assert answer.arms[1] == generated.arms[1] and answer.arms[1].fired == 3


THINKS = (
    "{% for m in messages %}{% if m['reasoning_content'] %}{{ m['reasoning_content'] }} cat {% endif %}"
    "{{ m['content'] }}. {% endfor %}"
)


def test_the_marker_is_the_templates_own(empty: Session) -> None:
    """A reply that begins with the end of a thought is an answer from there on, and has no thought after it."""
    empty.model = adopt(tiny("qwen3"), tiny_tokenizer(template=THINKS), name="thinks")
    result(empty, "prompt the dog")
    result(empty, "seed hello cat")
    encoded = empty.encoded()
    marker = thoughts.closing(empty)
    inside = len(encoded.ids) - encoded.reply
    answer = result(empty, "shift L1/N3 9 --answer --max-tokens 4").arms[1]
    thought = result(empty, "shift L1/N3 9 --thought --max-tokens 4").arms[1]
    assert marker == "cat" and inside > 0
    assert answer.fired == 3 and thought.fired == inside


def test_an_arm_that_stops_being_numbers_is_named_with_its_step(little: Session) -> None:
    found = result(little, "shift L0-1/* 3e38 --generated --max-tokens 4")
    assert found.arms[1].stopped == "nan" and found.arms[0].stopped == "length"
    assert any("its logits are not numbers from token 2 on" in note for note in found.notes)


# ---- many arms


def test_arms_are_what_each_line_says_alone(little: Session) -> None:
    lines = ["ablate top3", "amplify L1/N3 -9", "shift L1/N3 25 --generated", "set-to L0/N1 4 --prompt"]
    result(little, "set guard off")
    found = result(little, f"arms {' '.join(json.dumps(line) for line in lines)} untouched --max-tokens 5")
    assert [arm.name for arm in found.arms] == ["baseline", *lines, "untouched"]
    for line, arm in zip(lines, found.arms[1:], strict=False):
        alone = result(little, f"{line} --max-tokens 5").arms[1]
        assert (arm.ids, arm.fired, arm.read) == (alone.ids, alone.fired, alone.read), line
        assert arm.kl == pytest.approx(alone.kl, abs=1e-5)
    assert found.arms[-1].ids == found.arms[0].ids
    assert max(found.arms[0].kl) == 0 and max(found.arms[1].kl) > 0


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("arms top3", "the arm 'top3': there is no verb 'top3'", 'a line each: arms "ablate top10"'),
        (
            'arms "generate"',
            "the arm 'generate' is not an intervention",
            "one of: ablate, amplify, shift, set-to, untouched",
        ),
        ('arms "ablate top3" "ablate  top3"', "the arm 'ablate top3' is there twice", "give each arm once"),
        ('arms "ablate top3 --live"', "has an option of the whole comparison", "give --max-tokens after all arms"),
        ('arms "ablate top3 --max-tokens 3"', "has an option of the whole comparison", "after all arms"),
        ('arms "shift L9/N9 3"', "there is no layer 9", "layers are 0 to"),
        ("shift L1/N3 nan", "'nan' is not a gain", "5 or -0.5"),
        ("shift L1/N3", "", ""),
        ("ablate L1/N3 --over x.jsonl", "--over is for --mean and --resample", "leave it out"),
        ("ablate L1/N3 --mean --over missing.jsonl", "missing.jsonl", ""),
        ("ablate L1/N3 --thought", "does not say how a thought ends", '--marker "</think>"'),
        ('ablate L1/N3 --marker "x"', "--marker says where a thought ends", "--thought or --answer"),
        ("ablate L1/N3 --positions -99", "the prompt has no position -99", "positions are 0 to"),
        ("ablate L1/N3 --positions 5-3", "'5-3' is not a range of positions", "3-9, 12"),
    ],
)
def test_impossible_interventions_are_refused(little: Session, line: str, message: str, hint: str) -> None:
    with unharmed(little):
        failed = failure(little, line)
    assert message in failed.message and hint in failed.hint, failed


# ---- what stays in force


def test_a_multiplier_is_one_number_for_the_circuit_until_it_is_one_again(little: Session) -> None:
    before = result(little, "top 3").chances
    halved = result(little, "multiplier 0.5")
    assert [label for label, _ in halved.live] == ["multiplier ×0.5"]
    changed = result(little, "top 3").chances
    assert changed != before
    result(little, "multiplier 2")
    assert [treatment.multiplier for treatment in little.live] == [2.0]  # a new one takes the place of the first
    assert result(little, "multiplier").live == result(little, "suppress").live
    result(little, "multiplier 1")
    assert little.live == () and result(little, "top 3").chances == before
    assert "no multiplier is in force" in result(little, "multiplier 1").notes[0]
    first = little.found().neurons[0]
    result(little, f"shift L{first.layer}/N{first.index} 2 --live")
    assert failure(little, "multiplier 3").hint and len(little.live) == 1  # two things are not done to one neuron
    little.live, little.circuit = (), None
    assert failure(little, "multiplier 3").message == "there is no circuit yet"


def test_live_interventions_are_in_every_text_until_released(little: Session) -> None:
    clean = result(little, "top 3")
    shown = result(little, "shift L1/N3 25 --live --max-tokens 4")
    assert shown.notes[-1] == "it stays in force in every text until release"
    exact = next_token(little, Intervention((NEURON,), 1.0, (25.0,)))
    assert result(little, "top 3").chances[0].probability == pytest.approx(float(exact.max()), abs=1e-5)
    assert result(little, "generate --max-tokens 4").arm.ids == shown.arms[1].ids
    assert result(little, "ablate L0/N1 --max-tokens 4").arms[0].ids == shown.arms[1].ids
    assert little.state().live == ("shifted +25 L1/N3",)
    assert result(little, "release L1/N3").ended == 1 and little.live == ()
    assert result(little, "top 3").chances == clean.chances
    assert count_hooks(little.opened().model) == 0


def test_what_two_lines_say_of_one_neuron_is_refused_or_decided_and_said(little: Session) -> None:
    result(little, "shift L1/N3,L1/N4 25 --live --max-tokens 1")
    with unharmed(little):
        failed = failure(little, "ablate L1/N3 --live")
    assert "'shifted +25 L1/N3,L1/N4' and 'ablated L1/N3' both change L1/N3" in failed.message
    found = result(little, "ablate L1/N3 --max-tokens 1")  # the line is stronger than what is live
    exact = next_token(little, Intervention((NEURON,), 0.0), Intervention((Unit(1, 4),), 1.0, (25.0,)))
    assert changed(found) == pytest.approx({token: float(exact[token]) for token in changed(found)}, abs=1e-5)
    assert any("gives way to this line" in note for note in found.notes)


def test_a_suppressed_neuron_stays_at_zero_whatever_is_asked(little: Session) -> None:
    result(little, "shift L1/N3 25 --live --max-tokens 1")
    result(little, "suppress L1/N3")
    exact = next_token(little, Intervention((NEURON,), 0.0))
    assert result(little, "top 1").chances[0].probability == pytest.approx(float(exact.max()), abs=1e-5)
    found = result(little, "shift L1/N3,L1/N4 9 --max-tokens 1")
    exact = next_token(little, Intervention((NEURON,), 0.0), Intervention((Unit(1, 4),), 1.0, (9.0,)))
    assert changed(found) == pytest.approx({token: float(exact[token]) for token in changed(found)}, abs=1e-5)
    assert any("suppressed and stay at zero" in note for note in found.notes)
    with unharmed(little):
        assert "suppressed" in failure(little, "set-to L1/N3 4").message


def test_the_guard_is_on_where_a_constant_is_added(little: Session) -> None:
    assert result(little, "shift L1/N3 25 --max-tokens 8").arms[0].guarded is not None
    assert result(little, "ablate L1/N3 --mean --max-tokens 8").arms[0].guarded is None
    result(little, "set guard off")
    assert result(little, "shift L1/N3 25 --max-tokens 8").arms[0].guarded is None


def test_in_force_goes_with_the_model(little: Session) -> None:
    result(little, "shift L1/N3 25 --live --max-tokens 1")
    result(little, "suppress L0/N1")
    opened = little.opened()
    little.use_model(opened)
    assert little.suppressed and little.live
    little.use_model(replace(opened, info=structs.replace(opened.info, fingerprint="0" * 64)))
    assert not little.suppressed and not little.live


def test_where_says_in_words_where_it_is() -> None:
    assert str(EVERYWHERE) == "at all positions"
    assert str(TokenScope("answer", ((3, 3), (5, 7)), "x")) == "in the answer at positions 3, 5-7"
