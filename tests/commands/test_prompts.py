"""`discover --prompts`, `contrast` and `discover --method exact`: what lines leave behind, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sessions import saved_state
from sessions.circuits.circuit import Circuit
from sessions.events import Progress, Result, from_json, to_json
from sessions.model.opening import OpenModel
from sessions.session import Session
from tests.commands.driving import events_of, failure, result, unharmed
from workbench.rendering.outcomes import present

LINES = (
    {"prompt": "the cat", "target": " a", "counterfactual": " b"},
    {"prompt": "in the end of it", "target": " c", "counterfactual": " d"},
    {"prompt": "hello", "target": " e", "counterfactual": " f", "seed": " there"},
)


def written(name: str, lines: Any) -> str:
    Path(name).write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return name


@pytest.fixture
def keys(little: Session) -> str:
    """A file of three prompts, of different lengths and targets."""
    return written("keys.jsonl", LINES)


def said(value: Any, width: int = 100) -> str:
    from rich.console import Console

    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(*present(value, width), sep="\n")
    return capture.get()


# ---- discover --prompts


def test_many_prompts_become_the_sessions_circuit(little: Session, keys: str) -> None:
    found = result(little, f"discover --prompts {keys} --top 7 --keep-universal")
    circuit = found.circuit
    assert circuit is little.circuit and len(circuit) == 7
    assert [each.prompt for each in circuit.prompts] == [line["prompt"] for line in LINES]
    assert {neuron.position for neuron in circuit.neurons} == {None}
    assert found.candidates == 3 * 48
    assert circuit.held == "zero" and all(neuron.effect is not None for neuron in circuit.neurons)
    assert found.agreement is not None and found.agreement.count == 7
    shown = said(found)
    assert "7 of 144 neurons · mean target of 3 prompts = " in shown and "relp, frozen attention" in shown
    assert "attribution and exact effect" in shown


def test_such_a_circuit_works_on_the_sessions_prompt(little: Session, keys: str) -> None:
    result(little, f"discover --prompts {keys} --top 7 --keep-universal --no-verify")
    assert [row.token for row in result(little, "neurons top3").rows] == ["", "", ""]
    ablated = result(little, "ablate top3 --max-tokens 2")
    assert ablated.neurons == 3 and ablated.target is None and not ablated.notes
    result(little, "prompt a dog")
    (note,) = result(little, "amplify all 2 --max-tokens 2").notes
    assert note == "the circuit was found on 3 prompts, and this is none of them"
    assert len(result(little, "keep top5").circuit) == 5
    assert little.state().circuit_size == 5
    verified = result(little, "verify top2")
    assert len(verified.neurons) == 2 and "mean target of 3 prompts" in said(verified)
    assert result(little, "expect circuit.target > -100")


def test_positions_of_a_circuit_of_many_prompts_can_be_counted_from_the_end(little: Session, keys: str) -> None:
    circuit = result(little, f"discover --prompts {keys} --align end --top 9 --keep-universal --at -1").circuit
    assert {neuron.position for neuron in circuit.neurons} == {-1}
    first = circuit.neurons[0]
    last = len(little.encoded().ids) - 1
    there = result(little, "ablate top9 --at circuit --max-tokens 2")
    by_hand = result(
        little, f"ablate {','.join(f'L{n.layer}/N{n.index}@{last}' for n in circuit.neurons)} --max-tokens 2"
    )
    assert there.shifts == by_hand.shifts and there.neurons == 9
    assert len(result(little, f"verify {first}").neurons) == 1
    assert result(little, f"keep {first}").circuit.neurons[0].place == first.place
    assert result(little, f"neuron {first} --no-verify").neuron.position == last


def test_a_circuit_of_many_prompts_is_saved_loaded_exported_and_restored(
    little: Session, keys: str, tiny_llama: OpenModel
) -> None:
    circuit = result(little, f"discover --prompts {keys} --top 7 --keep-universal").circuit
    result(little, "save keys")
    prompt = little.prompt
    loaded = result(little, "load keys").circuit
    assert (loaded.prompts, loaded.target, loaded.neurons) == (circuit.prompts, circuit.target, circuit.neurons)
    assert little.prompt is prompt
    assert any(row.target == "mean target of 3 prompts" for row in result(little, "list").rows)
    result(little, "export keys.json")
    assert result(little, "import keys.json").circuit.prompts == circuit.prompts
    result(little, "export keys.csv")
    state = saved_state.kept(little)
    assert state.circuit is not None and state.circuit.prompts == circuit.prompts
    (event,) = [event for event in events_of(little, "neurons") if isinstance(event, Result)]
    assert from_json(to_json(event)) == event


def test_effects_held_elsewhere_than_attributions_compare_are_told(little: Session, keys: str) -> None:
    found = result(little, f"discover --prompts {keys} --top 4 --keep-universal --reference mean")
    assert found.circuit.held == "mean" and found.circuit.way == "relp against mean, frozen attention"
    assert "compared with each unit's mean over these prompts, by position" in found.notes
    note = "the circuit's attributions are against mean, these effects at zero"
    assert note in result(little, "verify").notes
    assert note not in result(little, "verify --reference mean").notes


def test_from_ten_prompts_on_they_are_compared_with_their_mean(little: Session) -> None:
    lines = [json.dumps({"prompt": f"the {letter} cat", "target": "a"}) for letter in "abcdefghij"]
    for count, held in ((9, "zero"), (10, "mean")):
        Path("many.jsonl").write_text("\n".join(lines[:count]), encoding="utf-8")
        assert result(little, "discover --prompts many.jsonl --top 3 --keep-universal").circuit.held == held


def test_a_file_of_text_takes_what_the_model_says(little: Session) -> None:
    Path("keys.txt").write_text("the cat\n\nin the end\n", encoding="utf-8")
    found = result(little, "discover --prompts keys.txt --raw --top 3 --keep-universal")
    assert [(each.prompt, each.raw) for each in found.circuit.prompts] == [("the cat", True), ("in the end", True)]
    assert not found.notes


def test_targets_that_are_not_predicted_are_told(little: Session) -> None:
    from sessions.circuits.cases import resolve_targets
    from sessions.events import finished
    from sessions.texts.prompt_files import PromptRecord

    vocabulary = [f" {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    asked = [PromptRecord(prompt="the cat", target=text, raw=True) for text in vocabulary]
    ranked = sorted(finished(resolve_targets(little.opened(), asked)), key=lambda case: case.rank)
    likely, unlikely = ranked[0].asked.target, ranked[-1].asked.target
    lines = [{"prompt": "the cat", "target": text, "raw": True} for text in (likely, unlikely, unlikely)]
    Path("odd.jsonl").write_text("\n\n" + "\n".join(map(json.dumps, lines)), encoding="utf-8")
    (note,) = result(little, "discover --prompts odd.jsonl --keep-universal --no-verify").notes
    assert note.startswith("2 of 3 targets are not among the 10 likeliest tokens of their prompt: the first is ")
    assert note.endswith(f"{unlikely!r} in line 4, which ranks {ranked[-1].rank}")


def test_shares_of_prompts_are_told(little: Session, keys: str) -> None:
    line = f"discover --prompts {keys} --aggregate share --threshold 5 --top 4 --keep-universal --no-verify"
    found = result(little, line)
    assert found.circuit.chosen == "top 4, by share of prompts, from 5 % of a prompt's target on"
    assert "the first neuron reaches the threshold in 3 of 3 prompts" in found.notes[-1]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ('" a"', "a target does not go with --prompts", "say it in the file"),
        ('--vs " a"', "--vs does not go with --prompts", "say it in the file"),
        ("--sequence", "--sequence does not go with --prompts", "say it in the file"),
        ("--target-only", "--target-only does not go with --prompts", "say it in the file"),
        ('--reference "the dog"', "a prompt as --reference works for one prompt", "zero, mean"),
        ("--reference-seed x", "--reference-seed needs a prompt", "--reference"),
        ("--method exact --layers 1", "--method exact is for one prompt", "leave out --prompts"),
        ("--aggregate share --percentage 5", "--aggregate share ranks by number of prompts", "--threshold"),
        ("--aggregate meen", "unknown aggregate 'meen'", "did you mean mean?"),
        ("--threshold 101", "'101' is not a number above 0 and at most 100", "0.5"),
        ("--layers 1-3", "there is no layer 3", "layers are 0 to 2"),
        ("--steps 3", "--steps is for --method ig", "leave one of them out"),
        ("--keep-universal --percentage 1e9", "no unit is left", "--top 200"),
    ],
)
def test_options_that_do_not_go_with_many_prompts_are_refused(
    little: Session, keys: str, options: str, message: str, hint: str
) -> None:
    with unharmed(little):
        failed = failure(little, f"discover --prompts {keys} {options}")
    assert message in failed.message and hint in failed.hint


@pytest.mark.parametrize("option", ["--raw", "--aggregate max", "--align none", "--threshold 2"])
def test_what_is_for_many_prompts_is_refused_for_one(little: Session, option: str) -> None:
    with unharmed(little):
        failed = failure(little, f"discover {option}")
    assert f"{option.split()[0]} is for many prompts" in failed.message and "--prompts" in failed.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "bad.jsonl has no prompt in it"),
        ('{"prompt": "the"}\n{"prompt": \n', "bad.jsonl, line 2 is malformed"),
        ('{"prompt": "the", "targt": " a"}', "bad.jsonl, line 1 has an unknown field 'targt'"),
        ('{"prompt": "the cat", "target": " a", "counterfactual": " a"}', "of 'the cat' begin with the same token"),
    ],
)
def test_a_bad_file_of_prompts_changes_nothing(little: Session, content: str, message: str) -> None:
    Path("bad.jsonl").write_text(content, encoding="utf-8")
    with unharmed(little):
        assert message in failure(little, "discover --prompts bad.jsonl").message


def test_a_file_that_is_not_there(little: Session) -> None:
    with unharmed(little):
        failed = failure(little, "discover --prompts gone.jsonl")
    assert failed.error == "artifact" and "gone.jsonl" in failed.message


# ---- contrast


def test_a_contrast_is_a_circuit_without_a_target(little: Session) -> None:
    found = result(little, 'contrast "the cat" "the dog" --top 5 --layers 1-2')
    assert found.circuit is little.circuit and found.circuit.method == "contrast"
    assert (len(found.circuit), found.candidates, found.agreement) == (5, 96, None)
    shown = said(found)
    assert "5 of 96 neurons · top 5, 1 prompt against 1 · contrast" in shown and "target" not in shown
    assert result(little, "neurons").rows[0].share is None
    assert result(little, "ablate all --max-tokens 2").neurons == 5
    result(little, "save tone")
    assert any(row.target == "no target" for row in result(little, "list").rows)
    with unharmed(little):
        assert "does not say which tokens it explains" in failure(little, "verify").message


def test_a_side_is_a_file_where_there_is_one(little: Session, keys: str) -> None:
    Path("low.txt").write_text("a dog\nno\n", encoding="utf-8")
    assert "3 prompts against 2" in result(little, f"contrast {keys} low.txt").circuit.chosen
    with unharmed(little):
        assert "there is no file lo.txt" in failure(little, f"contrast {keys} lo.txt").message
        assert "there is no layer 7" in failure(little, f"contrast {keys} low.txt --layers 7").message
        assert "the same to these layers" in failure(little, f"contrast {keys} {keys}").message


def test_a_mixture_of_experts_has_no_contrast(little: Session, tiny_chat: OpenModel) -> None:
    little.use_model(tiny_chat)
    with unharmed(little):
        assert "not available on a mixture of experts" in failure(little, 'contrast "the cat" "a dog"').message


# ---- discover --method exact


def test_the_exact_way_measures_every_neuron_of_a_layer(little: Session) -> None:
    events = events_of(little, "discover a --method exact --layers 1 --at -1 --top 6 --keep-universal")
    assert any(isinstance(event, Progress) and event.label == "verifying" for event in events)
    found = next(event.value for event in events if isinstance(event, Result))
    circuit: Circuit = found.circuit
    assert (found.candidates, found.agreement, circuit.held) == (48, None, "zero")
    assert {(n.layer, n.position) for n in circuit.neurons} == {(1, len(circuit.ids) - 1)}
    assert all(neuron.attribution == neuron.effect for neuron in circuit.neurons)
    assert "exact" in said(found) and "agree" not in said(found)
    again = result(little, "verify top3")
    for before, after in zip(circuit.top(3), again.neurons, strict=True):
        assert after.effect == pytest.approx(before.effect, abs=1e-4)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("discover a --method exact", "would ablate 720 neurons, a forward pass each", "--layers 1 --at -1"),
        ("discover a --method exact --at -1", "would ablate 144 neurons", "--layers 1"),
        ("discover a --method exact --layers 1 --attention frozen", "--attention is for estimates", "leave"),
        ("discover a --method exact --layers 1 --steps 4", "--steps is for --method ig", "leave"),
        ("discover a --at 6", "the prompt has no position 6", "positions are 0 to 5"),
        ("discover a --at -7", "the prompt has no position -7", "positions are 0 to 5"),
        ("discover a --at 3-1", "'3-1' is not a range of positions", "3-9"),
        ("discover a --at x", "'x' is not a range of positions", "3-9"),
    ],
)
def test_what_the_exact_way_and_positions_need(little: Session, line: str, message: str, hint: str) -> None:
    with unharmed(little):
        failed = failure(little, line)
    assert message in failed.message and hint in failed.hint


def test_positions_asked_for_are_the_only_ones_and_the_first_may_be_among_them(little: Session) -> None:
    found = result(little, "discover a --at 0-2 --keep-universal --no-verify --top 500").circuit
    assert {neuron.position for neuron in found.neurons} == {0, 1, 2}
    found = result(little, "discover a --at -2--1 --keep-universal --no-verify --top 500").circuit
    assert {neuron.position for neuron in found.neurons} == {4, 5}
