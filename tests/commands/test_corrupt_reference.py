"""`--reference corrupt`: units are compared with, or held at, what they are in the corrupt prompt of each pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessions.session import Session
from tests.commands.driving import failure, result, unharmed

PAIRS = (
    {"prompt": "the cat", "corrupt": "the fat", "target": " a", "counterfactual": " b"},
    {"prompt": "in the hat", "corrupt": "in the tat", "target": " a", "counterfactual": " c"},
)
DISCOVER = "discover --prompts pairs.jsonl --top 20 --keep-universal --aggregate mean"


@pytest.fixture
def paired(little: Session) -> Session:
    """The session, with a file of pairs."""
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    return little


def test_attributions_against_corrupt_prompts_are_those_against_each_one_by_one(paired: Session) -> None:
    together = result(paired, f"{DISCOVER} --reference corrupt --method atp --no-verify").circuit
    sums: dict[str, float] = {}
    for pair in PAIRS:
        result(paired, f"prompt {pair['prompt']}")
        line = f'discover "{pair["target"]}" --vs "{pair["counterfactual"]}" --reference "{pair["corrupt"]}"'
        alone = result(paired, f"{line} --method atp --top 10000 --keep-universal --no-verify").circuit
        for unit in alone.neurons:
            sums[str(unit.bare)] = sums.get(str(unit.bare), 0.0) + unit.attribution / len(PAIRS)
    assert together.method == "atp against corrupt" and len(together.neurons) == 20
    assert {str(unit): unit.attribution for unit in together.neurons} == pytest.approx(
        {str(unit): sums[str(unit)] for unit in together.neurons}, abs=1e-4
    )


@pytest.mark.parametrize("units", ["neurons", "heads"])
def test_an_effect_is_the_target_lost_by_patching_the_unit_from_the_corrupt_prompt(paired: Session, units: str) -> None:
    result(paired, f"{DISCOVER} --units {units}" if units == "heads" else DISCOVER)
    verified = result(paired, "verify top5 --reference corrupt")
    assert verified.held == "corrupt"
    names = ",".join(str(unit) for unit in verified.neurons)
    patched = result(paired, f"patch --prompts pairs.jsonl --units {names} --direction noise")
    lost = {cell.unit: cell.value * (patched.clean - patched.corrupt) for cell in patched.strongest}
    assert {str(unit): unit.effect for unit in verified.neurons} == pytest.approx(lost, abs=1e-4)
    assert paired.circuit is not None and paired.circuit.prompts[0].corrupt == "the fat"


def test_discover_verifies_against_the_reference_that_it_attributes_against(paired: Session) -> None:
    found = result(paired, f"{DISCOVER} --reference corrupt").circuit
    again = result(paired, "verify --reference corrupt")
    assert [unit.effect for unit in found.neurons] == pytest.approx([unit.effect for unit in again.neurons], abs=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('discover " a" --reference corrupt', "is for the prompts of a file"),
        ("verify top5 --reference corrupt", "is for the prompts of a file"),
        ("discover --prompts alone.jsonl --reference corrupt", "alone.jsonl, line 2: the prompt has no corrupt prompt"),
    ],
)
def test_prompts_without_a_corrupt_one_are_refused(paired: Session, line: str, message: str) -> None:
    Path("alone.jsonl").write_text(json.dumps(PAIRS[0]) + '\n{"prompt": "the cat"}\n')
    with unharmed(paired):
        failed = failure(paired, line)
        assert message in failed.message and failed.hint


def test_a_circuit_of_pairs_is_saved_and_read_back_with_them(paired: Session) -> None:
    result(paired, f"{DISCOVER} --no-verify")
    result(paired, "save paired")
    result(paired, "load paired")
    assert paired.circuit is not None
    assert [record.corrupt for record in paired.circuit.prompts] == ["the fat", "in the tat"]


def test_faithfulness_holds_the_others_at_their_corrupt_values(paired: Session) -> None:
    """Where all neurons are held, the target is that of patching them all; with none held, the clean one."""
    result(paired, f"{DISCOVER} --no-verify")
    shown = result(paired, "faithfulness --reference corrupt --sizes 5 --controls 0")
    every = "L0/*,L1/*,L2/*"
    patched = result(paired, f"patch --prompts pairs.jsonl --units {every} --direction noise")
    moved = patched.together * (patched.corrupt - patched.clean)
    assert shown.whole == pytest.approx(patched.clean, abs=1e-4)
    assert shown.none == pytest.approx(patched.clean + moved, abs=1e-4)
    five = ",".join(str(unit) for unit in paired.circuit.neurons[:5]) if paired.circuit is not None else ""
    without = result(paired, f"patch --prompts pairs.jsonl --units {five} --direction noise")
    left = patched.clean + without.together * (without.corrupt - without.clean)
    assert shown.rows[0].left == pytest.approx((left - shown.none) / (shown.whole - shown.none), abs=1e-3)
    assert "corrupt prompt" in shown.held
    failed = failure(paired, "faithfulness alone.jsonl --reference corrupt")
    assert "alone.jsonl" in failed.message


def test_ablating_to_a_corrupt_prompt_is_patching_with_the_text_that_comes_of_it(paired: Session) -> None:
    units = "L0/*,L1/*,L1/H2"
    shown = result(paired, f'ablate {units} --corrupt "the fat" --max-tokens 1')
    held = paired.last_output.logits
    assert held is not None
    patched = result(paired, f'patch a --vs b --corrupt "the fat" --units {units} --direction noise')
    target, other = patched.target.tokens[0].id, patched.target.counterfactual.id
    moved = patched.together * (patched.corrupt - patched.clean)
    assert float(held[target] - held[other]) == pytest.approx(patched.clean + moved, abs=1e-4)
    assert shown.arms[1].name == "ablated to the corrupt prompt"
    assert any("1 token differs" in note for note in shown.notes)
    with unharmed(paired):
        assert "and its corrupt prompt 8" in failure(paired, 'ablate top5 --corrupt "the fattt"').message
        assert "--corrupt does not go with" in failure(paired, 'ablate top5 --mean --corrupt "the fat"').message
