"""Heads and experts, from the line: wherever a verb takes neurons, it takes them, or says what it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.words import SelectionWord
from sessions.circuits.faithfulness import SHARES, areas
from sessions.model.opening import adopt
from sessions.model.units import Unit
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer
from tests.rounds import FAST, write_samples

EXPERTS = "prompt abcdef"


@pytest.fixture
def mixture(empty: Session) -> Session:
    """A session with a tiny mixture of experts."""
    empty.model = adopt(tiny("mixtral"), tiny_tokenizer(), name="mixture")
    result(empty, "set max_tokens 3")
    result(empty, EXPERTS)
    return empty


def test_heads_are_found_in_one_account_with_neurons(little: Session) -> None:
    found = result(little, "discover a --units neurons,heads --top 30 --keep-universal")
    kinds = [unit.kind for unit in found.circuit.neurons]
    assert set(kinds) == {"neuron", "head"} and found.circuit.conservation < 1e-5
    heads = result(little, "discover a --units heads --top 9").circuit
    assert {unit.kind for unit in heads.neurons} == {"head"} and heads.conservation < 1e-5
    same = {unit.place: unit.attribution for unit in found.circuit.neurons}
    for unit in heads.neurons:
        assert unit.place not in same or same[unit.place] == pytest.approx(unit.attribution, abs=1e-5)
    assert all(unit.effect is not None and unit.activation > 0 for unit in heads.neurons)


def test_a_discovery_says_what_frozen_patterns_hide(little: Session) -> None:
    found = result(little, "discover a --units heads --top 9")
    all_off = result(little, "ablate all --at circuit --max-tokens 1")
    before, after = (arm.target for arm in all_off.arms)
    assert found.patterns.free == pytest.approx(before - after, abs=1e-4)
    assert found.patterns.frozen != pytest.approx(found.patterns.free, abs=1e-6)
    assert result(little, "discover a --attention gradient --top 9").patterns is None
    assert result(little, "discover a --no-verify --top 9").patterns is None


@pytest.mark.parametrize("method", ["atp", "ig", "relp"])
def test_every_method_attributes_heads(little: Session, method: str) -> None:
    assert len(result(little, f"discover a --method {method} --units heads --top 5").circuit) == 5


def test_the_exact_method_needs_no_layers_for_heads(little: Session) -> None:
    found = result(little, "discover a --method exact --units heads --top 60").circuit
    assert 40 < len(found) <= 5 * 3 * 4  # positions but the first, layers, heads; some have no effect
    verified = result(little, "verify top5")
    for unit in verified.neurons:
        assert unit.effect == pytest.approx(unit.attribution, abs=1e-4)


def test_heads_are_selected_ablated_swept_and_suppressed(little: Session) -> None:
    assert result(little, "ablate L1/H2,L0/N3").unit == "unit"
    assert (ablated := result(little, "ablate L0-1/H*")).unit == "head" and ablated.neurons == 8
    assert result(little, "amplify L1/H2@-1 3").neurons == 1
    assert result(little, "ablate L1/H2 --mean").notes
    assert result(little, "sweep L1/H2 0 1 2").unit == "head"
    assert result(little, "suppress L1/H2,L2/H0").added == 2
    assert [str(unit) for unit in little.suppressed] == ["L1/H2", "L2/H0"]
    result(little, "release L1/H*")
    assert [str(unit) for unit in little.suppressed] == ["L2/H0"]
    assert result(little, "release all").unit == "head"


def test_what_is_suppressed_is_the_head_and_not_the_neuron_of_its_number(little: Session) -> None:
    whole = result(little, "top").chances
    result(little, "suppress L1/N2")
    neuron = result(little, "top").chances
    result(little, "release all")
    result(little, "suppress L1/H2")
    head = result(little, "top").chances
    result(little, "suppress L1/N2")
    assert len(little.suppressed) == 2
    assert len({tuple(row.probability for row in rows) for rows in (whole, neuron, head)}) == 3


def test_a_circuit_of_heads_is_kept_by_name_and_comes_back(little: Session) -> None:
    circuit = result(little, "discover a --units neurons,heads --top 30 --keep-universal").circuit
    result(little, "save mixed")
    result(little, "export out.json")
    assert {"head", "neuron"} == {unit["kind"] for unit in json.loads(Path("out.json").read_text())["neurons"]}
    assert result(little, "load mixed").circuit.neurons == circuit.neurons
    heads = result(little, "keep mixed & L0-2/H*").circuit
    assert {unit.kind for unit in heads.neurons} == {"head"}
    assert len(result(little, "drop top1").circuit) == len(heads) - 1
    result(little, "load mixed")
    assert len(result(little, "drop L0-2/H*").circuit) == len(circuit) - len(heads)
    assert result(little, "compare mixed mixed").comparison.distinct[0] == len(
        {unit.anywhere for unit in circuit.neurons}
    )


def test_faithfulness_of_heads_holds_the_other_heads(little: Session) -> None:
    result(little, "discover a --units heads --top 60")
    heads = result(little, "faithfulness --reference zero --sizes 3,60")
    assert heads.units == "heads" and heads.rows[-1].kept == pytest.approx(1, abs=1e-4)
    result(little, "discover a --units neurons,heads --top 40 --keep-universal")
    mixed = result(little, "faithfulness --reference zero --sizes 3")
    assert mixed.units == "neurons and heads" and mixed.none != pytest.approx(heads.none)


def test_edges_run_between_heads_and_neurons(little: Session) -> None:
    result(little, "discover a --units neurons,heads --top 30 --keep-universal")
    value = result(little, "edges")
    kinds = {(edge.source.kind, edge.target.kind) for edge in value.edges if edge.target is not None}
    assert ("head", "neuron") in kinds and ("neuron", "head") in kinds


def test_a_preset_holds_heads(little: Session) -> None:
    result(little, "amplify L1/H2,L0/N3 2 --live")
    result(little, "preset save loud")
    result(little, "release all")
    shown = result(little, "preset apply loud")
    assert [str(known.neuron) for known in shown.neurons] == ["L1/H2", "L0/N3"]
    assert {str(unit) for unit in little.live[0].neurons} == {"L1/H2", "L0/N3"}


def test_experts_are_units_of_a_mixture(mixture: Session) -> None:
    ablated = result(mixture, "ablate L1/E2")
    assert (ablated.unit, ablated.neurons) == ("expert", 1)
    assert result(mixture, "suppress L0/E*").added == 4
    result(mixture, "release all")
    assert result(mixture, "sweep L1/E0,L1/E1 0 1").unit == "expert"
    result(mixture, "discover a --top 5 --keep-universal")
    (expert,) = result(mixture, "verify L1/E2").neurons
    before, after = (arm.target for arm in result(mixture, "ablate L1/E2 --max-tokens 1").arms)
    assert expert.effect == pytest.approx(before - after, abs=1e-4)
    result(mixture, "discover a --units heads --top 5")


def test_a_crab_walk_recruits_heads(little: Session) -> None:
    write_samples()
    walk = result(little, f"crab samples.jsonl {FAST} --rounds 2 --top 4 --unit head --as heads")
    first, second = walk.trajectory.passages
    assert (first.suppressed, second.suppressed) == (0, 4)
    assert {unit.kind for unit in little.suppressed} == {"head"}
    shown = result(little, "recruits heads-1 --top 4")
    assert {row.neuron.kind for row in shown.rows} == {"head"}
    assert {row.neuron.anywhere for row in shown.rows} <= {unit.anywhere for unit in little.suppressed}
    assert "L" in str(little.select("recruits:heads-2").neurons[0])


def test_a_crab_walk_recruits_experts(mixture: Session) -> None:
    write_samples()
    why = failure(mixture, f"crab samples.jsonl {FAST} --rounds 2 --as none --no-control")
    assert "whose neurons are not measured one by one" in why.message and "--unit expert" in why.hint
    walk = result(mixture, f"crab samples.jsonl {FAST} --rounds 2 --top 1 --unit expert --as walk --no-control")
    assert walk.trajectory.passages[1].suppressed == 1
    assert {unit.kind for unit in mixture.suppressed} == {"expert"}


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("ablate L1/H9", "layer 1 has no head 9", "heads are 0 to 3"),
        ("ablate L1/E0", "layer 1 has no experts", "for example"),
        ("ablate L1/E*", "selects nothing: there are no experts", "for example"),
        ("suppress L1/X3", "is not a selection", "for example"),
        ("suppress L1/H2@3", "has a position, and suppression holds at all positions", "suppress L1/H2"),
        ("neuron L1/H2", "L1/H2 is a head, and neuron takes neurons only", "attention L1/H2"),
        ("rewrite L1/H2 --push a --when after:b", "neurons only", "L24/N1005"),
        ("discover a --units experts", "unknown units 'experts'", "one of"),
        ("crab samples.jsonl --unit expert", "this model has no experts", "--unit neuron"),
        ("train-round samples.jsonl --neurons L1/H2", "L1/H2 is a head, and --neurons takes neurons only", "L24/N1005"),
    ],
)
def test_what_is_no_unit_here_is_refused_in_a_sentence(little: Session, line: str, message: str, hint: str) -> None:
    write_samples()
    with unharmed(little):
        failed = failure(little, line)
    assert message in failed.message and hint in failed.hint


def test_heads_and_experts_are_offered_where_a_layer_is_typed(little: Session) -> None:
    offered = dict(SelectionWord().completions(little, "all, L1/"))
    assert offered["all,L1/H3"] == "head" and "all,L1/*" in offered
    assert SelectionWord().read("L1/H3@-1") == "L1/H3@-1"
    assert str(Unit.parse("l5/h3@-1")) == "L5/H3@-1"


PAIRS = "".join(
    f'{{"prompt": "{prompt}", "target": " a", "counterfactual": " b"}}\n' for prompt in ("the cat", "a dog")
)


@pytest.mark.parametrize("units", ["heads", "neurons,heads"])
def test_a_curve_goes_from_a_thousandth_to_all_units_of_the_model(little: Session, units: str) -> None:
    Path("pairs.jsonl").write_text(PAIRS)
    result(little, f"discover --prompts pairs.jsonl --units {units} --top 5 --keep-universal --reference zero")
    found = result(little, "faithfulness --curve --reference zero")
    every = {"heads": 12, "neurons,heads": 156}[units]
    assert found.areas.units == found.size == every
    assert [row.size for row in found.rows] == sorted({max(1, round(share * every)) for share in SHARES})
    assert found.rows[-1].kept == pytest.approx(1, abs=1e-4)
    shares = [row.size / every for row in found.rows]
    assert found.areas == areas(shares, [row.kept for row in found.rows], every)
    why = failure(little, "faithfulness --curve --sizes 3")
    assert "has sizes and an order of its own" in why.message


def test_a_curve_of_one_prompt_ranks_by_the_circuits_method(little: Session) -> None:
    result(little, "discover a --top 5 --keep-universal --units heads")
    assert result(little, "faithfulness --curve --reference zero").rows[-1].kept == pytest.approx(1, abs=1e-4)
    result(little, "discover a --method exact --units heads --top 5")
    assert "by the method of the circuit" in failure(little, "faithfulness --curve").message


def test_an_inventory_of_another_project_may_name_heads(little: Session) -> None:
    entries = [{"id": "L1/H2", "gain": 2.0, "mode": "multiply"}, {"id": "L1/N2", "gain": 3.0, "mode": "multiply"}]
    Path("known.json").write_text(json.dumps({"neurons": entries}))
    result(little, "import known.json --as preset:both")
    shown = result(little, "preset apply both")
    assert [(known.kind, str(known.neuron)) for known in shown.neurons] == [("head", "L1/H2"), ("neuron", "L1/N2")]
