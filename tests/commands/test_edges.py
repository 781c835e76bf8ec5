"""`edges`: what it says of a circuit, what it writes, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from msgspec import structs
from rich.cells import cell_len
from rich.console import Console

from commands import run
from sessions.circuits.circuit import Circuit
from sessions.events import Progress, Result, from_json, to_json
from sessions.model.info import Token
from sessions.model.opening import adopt
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.results import Edges
from sessions.session import Session
from sessions.texts.prompt_files import PromptRecord
from tests.commands.driving import events_of, failure, failure_in, result, unharmed
from tests.families import tiny, tiny_tokenizer
from workbench.rendering.outcomes import present


def found(session: Session) -> Circuit:
    assert session.circuit is not None
    return session.circuit


def lines(value: Edges, width: int) -> list[str]:
    """What is printed, a string a line."""
    console = Console(width=width, file=io.StringIO())
    for part in present(value, width):
        console.print(part)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_edges_run_between_the_neurons_of_the_circuit(little: Session) -> None:
    with unharmed(little):
        value = result(little, "edges --targets 8")
    places = {neuron.place for neuron in found(little).neurons}
    assert {neuron.place for neuron in value.neurons} == places
    assert value.total == len(value.edges) > 0
    assert {edge.source for edge in value.edges} | {edge.target for edge in value.edges} <= places
    assert len({edge.target for edge in value.edges}) <= value.targets == 8
    assert [abs(edge.weight) for edge in value.edges] == sorted((abs(e.weight) for e in value.edges), reverse=True)
    assert value.target == found(little).target
    assert value.notes == ()


def test_what_flows_into_a_neuron_is_its_attribution(little: Session) -> None:
    value = result(little, "edges")
    attributions = {neuron.place: neuron.attribution for neuron in found(little).neurons}
    for inflow in value.inflows[1:]:
        assert inflow.attribution == pytest.approx(attributions[inflow.place], rel=1e-4)
        into = sum(edge.weight for edge in value.edges if edge.target == inflow.place)
        assert inflow.chosen == pytest.approx(into, abs=1e-5)
    output = value.inflows[0]
    assert output.place is None and output.attribution == pytest.approx(value.target.value, rel=1e-4)
    assert sum(edge.weight for edge in value.outputs) == pytest.approx(output.chosen, rel=1e-4)


def test_a_selection_takes_part_alone(little: Session) -> None:
    whole, part = result(little, "edges all"), result(little, "edges top10")
    assert len(part.neurons) == part.targets == 10
    chosen = {neuron.place for neuron in part.neurons}
    within = [edge for edge in whole.edges if {edge.source, edge.target} <= chosen]
    assert [edge.weight for edge in part.edges] == pytest.approx([edge.weight for edge in within], rel=1e-3)


def test_a_neuron_without_its_position_is_taken_wherever_the_circuit_has_it(little: Session) -> None:
    neuron = found(little).neurons[0]
    value = result(little, f"edges L{neuron.layer}/N{neuron.index}")
    assert neuron.place in {each.place for each in value.neurons}
    assert {each.site for each in value.neurons} == {neuron.site}


def test_the_strongest_hundred_take_part_unless_all_are_asked_for(little: Session) -> None:
    result(little, "discover a --top 120 --keep-universal --no-verify")
    value = result(little, "edges")
    assert len(value.neurons) == 100
    assert value.notes == ("the 100 strongest of 120 neurons take part; edges all takes them all",)
    everything = result(little, "edges all --targets 3")
    assert (len(everything.neurons), everything.notes) == (120, ())


def test_a_circuit_found_in_another_way_is_said_to_be(little: Session) -> None:
    result(little, "discover a --method atp --top 20 --keep-universal --no-verify")
    (note,) = result(little, "edges").notes
    assert note == "edges are by relp, frozen attention; the circuit's attributions are by atp, gradient attention"


def test_a_sequence_has_edges_as_well(little: Session) -> None:
    result(little, 'discover " a b" --sequence --top 20 --keep-universal --no-verify')
    value = result(little, "edges")
    assert value.edges and value.target.sequence
    assert len(value.tokens) == len(found(little).ids) == 7


def test_the_circuit_brings_its_own_prompt(little: Session) -> None:
    before = result(little, "edges")
    result(little, "prompt another dog sat")
    after = result(little, "edges")
    assert (after.edges, after.tokens) == (before.edges, before.tokens)


@pytest.mark.parametrize("family", ["mixtral", "gpt2", "gemma4"])
def test_inflows_sum_to_the_target_on_other_families(empty: Session, family: str) -> None:
    empty.model = adopt(tiny(family), tiny_tokenizer(), name=family)
    result(empty, "prompt the cat")
    result(empty, "discover a --top 20 --keep-universal --no-verify")
    with unharmed(empty):
        value = result(empty, "edges")
    assert value.edges and value.inflows[0].attribution == pytest.approx(found(empty).target.value, rel=1e-3)


def test_the_result_travels_as_json_and_progress_is_told(little: Session) -> None:
    events = events_of(little, "edges")
    labels = [event.label for event in events if isinstance(event, Progress)]
    assert labels[0] == "attributing" and set(labels[1:]) == {"tracing edges"}
    (done,) = [event for event in events if isinstance(event, Result)]
    assert from_json(to_json(done)) == done


# ---- the graph


def test_the_graph_is_written_and_not_replaced_unasked(little: Session) -> None:
    value = result(little, "edges --graphviz flow.dot")
    assert value.path == str(Path("flow.dot").absolute())
    text = Path("flow.dot").read_text(encoding="utf-8")
    assert text.startswith("digraph edges {") and text.count("->") >= len(value.outputs)
    for neuron in value.neurons[:3]:
        assert f'"{neuron}" [label="{neuron}\\n' in text
    with unharmed(little):
        refused = failure(little, "edges top5 --graphviz flow.dot")
    assert (refused.error, refused.message) == ("artifact", "'flow.dot' exists already")
    assert "--force" in refused.hint
    assert Path("flow.dot").read_text(encoding="utf-8") == text
    result(little, "edges top5 --graphviz flow.dot --force")
    assert len(Path("flow.dot").read_text(encoding="utf-8")) < len(text)


# ---- what is refused


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("edges L0/N99", "layer 0 has no neuron 99", "0 to 47"),
        ("edges top0", "'top0' selects no unit", "top10"),
        ("edges --targets 0", "'0' is not a whole number of at least 1 and at most 200", "10"),
        ("edges --top many", "'many' is not a whole number", "10"),
        ("edges --graphviz .", "'.' is a folder", "edges.dot"),
        ('edges --graphviz ""', "the file name is empty", "results.dot"),
        ("edges texas", "no saved circuit is called 'texas'", "top10"),
    ],
)
def test_a_line_that_cannot_be_done(little: Session, line: str, message: str, hint: str) -> None:
    with unharmed(little):
        failed = failure(little, line)
    assert (failed.error, message in failed.message, hint in failed.hint) == ("usage", True, True), failed


def test_a_selection_outside_the_circuit_says_so(little: Session) -> None:
    taken = {neuron.site for neuron in found(little).neurons}
    other = next(Unit(0, index) for index in range(48) if (0, index) not in taken)
    with unharmed(little):
        failed = failure(little, f"edges {other}")
    assert failed.message == f"'{other}' has none of the circuit's 20 neurons"
    assert "edges top30" in failed.hint


def test_without_a_circuit_the_way_to_find_one_is_named(empty: Session) -> None:
    empty.model = adopt(tiny("llama"), tiny_tokenizer(), name="tiny")
    result(empty, "prompt the cat")
    assert failure(empty, "edges").message == "there is no circuit yet"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": (PromptRecord(prompt="a"), PromptRecord(prompt="b"))}, "the circuit was found on 2 prompts"),
        ({"neurons": (Unit(0, 1), Unit(1, 2))}, "the circuit's neurons have no positions"),
        ({"neurons": (Unit(0, 1, 40), Unit(1, 2, 41))}, "L0/N1@40 is not in the prompt"),
        ({"target": Target(tokens=(Token(-1, " a"),))}, "the circuit does not say which tokens it explains"),
    ],
)
def test_a_circuit_without_one_prompt_and_target_is_refused(
    little: Session, change: dict[str, object], message: str
) -> None:
    little.circuit = structs.replace(found(little), **change)
    with unharmed(little):
        failed = failure(little, "edges")
    assert failed.error == "usage" and message in failed.message and failed.hint


def test_a_family_out_of_reach_of_the_rules_says_why(little: Session) -> None:
    little.model = adopt(tiny("gemma3n"), tiny_tokenizer(), name="gemma3n")
    with unharmed(little):
        failed = failure(little, "edges")
    assert failed.error == "model" and "AltUp" in failed.message


def test_edges_stops_when_it_is_cancelled(little: Session) -> None:
    with unharmed(little):
        events = []
        for event in run(little, "edges"):
            events.append(event)
            if isinstance(event, Progress) and event.label == "tracing edges":
                little.cancel.request()
        assert failure_in(events).error == "cancelled"
    little.cancel.clear()


# ---- what is shown


def test_edges_the_tree_and_the_summaries_are_shown(little: Session) -> None:
    value = result(little, "edges --top 3")
    text = lines(value, 80)
    assert text[0].startswith(f"20 neurons · {value.total} edges")
    strongest = value.edges[0]
    row = next(line for line in text if line.startswith(f"{strongest.weight:+.3f}"))
    assert str(Unit(*strongest.source)) in row
    assert any(line == "the 3 strongest edges" for line in text)
    assert sum(line.startswith(("├", "└")) for line in text) == 6
    for name in ("into the output", "hubs", "bottlenecks", "super-weight", "Σ|edge| from layer to layer"):
        assert any(line.startswith(name) for line in text), name


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(little: Session, width: int) -> None:
    value = result(little, "edges --graphviz long.dot")
    odd = structs.replace(value, tokens=('"\\', "\n", "\u202e", "語語語語語語語語", "[/INST]", "x" * 200))
    for line in (*lines(value, width), *lines(odd, width)):
        assert cell_len(line) <= width and "\u202e" not in line


def test_neurons_of_one_layer_have_edges_to_the_output_alone(little: Session) -> None:
    value = result(little, "edges L2/*")
    assert not value.edges and value.outputs
    text = lines(value, 80)
    assert "no edges between them" in "\n".join(text[:2])
    assert not any(line.startswith("hubs") for line in text)
