"""Whose prompt a position is of, where a circuit meets another prompt than its own."""

from __future__ import annotations

from typing import Any

import pytest

from sessions.model.units import Place
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed

LONGER = "prompt the cat sat on a hat"  # the circuit's is "the cat"


@pytest.fixture
def elsewhere(little: Session) -> Session:
    """The session whose circuit of six tokens meets a longer prompt."""
    result(little, LONGER)
    assert len(little.encoded().ids) > len(little.found().ids)
    return little


def places(value: Any) -> list[Place]:
    return [neuron.place for neuron in value.neurons]


def test_verify_reads_the_circuits_prompt_and_counts_positions_on_it(elsewhere: Session) -> None:
    last = len(elsewhere.found().ids) - 1
    there = result(elsewhere, "verify L1/N3@-1")
    assert places(there) == [Place(1, 3, last)]
    assert there.notes == (f"on the circuit's own prompt, 'the cat', of {last + 1} tokens",)
    result(elsewhere, "prompt the cat")
    at_home = result(elsewhere, "verify L1/N3@-1")
    assert there.neurons[0].effect == pytest.approx(at_home.neurons[0].effect, abs=1e-6)
    assert at_home.notes == ()


@pytest.mark.parametrize("reference", ["mean", '"the dog"'])
def test_a_reference_is_taken_on_the_same_prompt(elsewhere: Session, reference: str) -> None:
    far = result(elsewhere, f"verify L1/N3@-1 --reference {reference}").neurons[0].effect
    result(elsewhere, "prompt the cat")
    assert far == pytest.approx(
        result(elsewhere, f"verify L1/N3@-1 --reference {reference}").neurons[0].effect, abs=1e-6
    )


@pytest.mark.parametrize(
    "line", ["verify L1/N3@9", "neuron L1/N3@9", "neurons L1/N3@9", "keep L1/N3@9", "edges L1/N3@9"]
)
def test_a_position_that_only_the_other_prompt_has_is_refused(elsewhere: Session, line: str) -> None:
    with unharmed(elsewhere):
        failed = failure(elsewhere, line)
    assert failed.message == "the prompt has no position 9"
    assert failed.hint == "positions are 0 to 5, or -1 for the last"


def test_a_neurons_card_is_about_the_circuits_prompt(elsewhere: Session) -> None:
    card = result(elsewhere, "neuron L1/N3@-1 --no-verify")
    assert card.neuron.position == 5 and len(card.tokens) == 6
    assert card.notes[0] == "on the circuit's own prompt, 'the cat', of 6 tokens"


def test_an_intervention_reads_the_sessions_prompt_and_counts_positions_on_it(elsewhere: Session) -> None:
    last = len(elsewhere.encoded().ids) - 1
    counted = result(elsewhere, "amplify L1/N3@-1 50")
    written = result(elsewhere, f"amplify L1/N3@{last} 50")
    assert [arm.target for arm in counted.arms] == [arm.target for arm in written.arms]


def test_places_of_another_prompt_are_said(elsewhere: Session) -> None:
    said = "neurons are changed at their positions in another prompt, 'the cat'"
    assert said in result(elsewhere, "ablate top5 --at circuit").notes
    assert said not in result(elsewhere, "ablate top5").notes
    result(elsewhere, "prompt the cat")
    assert said not in result(elsewhere, "ablate top5 --at circuit").notes


def test_places_that_a_shorter_prompt_does_not_have_are_refused(little: Session) -> None:
    result(little, "prompt a")
    for line in ("ablate all --at circuit", "sweep all 0 1 --at circuit"):
        with unharmed(little):
            failed = failure(little, line)
        assert "is not in this prompt, which has 2 tokens" in failed.message and "--at circuit" in failed.hint


def test_a_position_from_the_end_is_of_each_prompt_of_a_sweep(little: Session, tmp_path: Any) -> None:
    prompts = tmp_path / "two.jsonl"
    prompts.write_text('{"prompt": "the cat", "target": " a"}\n{"prompt": "the cat sat on", "target": " a"}\n')
    swept = result(little, f"sweep L1/N3@-1 0 1 --prompts {prompts} --max-tokens 1")
    effects = {cell.prompt: cell for cell in swept.cells if cell.multiplier == 0}
    for number, text in enumerate(("the cat", "the cat sat on")):
        result(little, f"prompt {text}")
        alone = result(little, "amplify L1/N3@-1 0 --max-tokens 1").arms[-1]
        assert effects[number].target_probability is not None and list(effects[number].ids) == list(alone.ids)
        assert effects[number].fired == alone.fired == 1
