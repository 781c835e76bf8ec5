"""`neuron`: one neuron, from a circuit or from nothing but a prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from sessions.results import NeuronCard
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed


def test_a_card_of_the_circuits_strongest(little: Session) -> None:
    strongest = little.found().neurons[0]
    found = result(little, "neuron top1")
    assert isinstance(found, NeuronCard) and found.rank == 1 and found.circuit_size == 20
    assert found.neuron.place == strongest.place
    assert found.neuron.attribution == pytest.approx(strongest.attribution, rel=1e-4)
    assert found.neuron.effect == pytest.approx(strongest.effect, abs=1e-4)
    assert [moment.position for moment in found.moments] == list(range(len(little.encoded().ids)))


def test_without_a_position_a_card_sums_over_all(little: Session) -> None:
    layer, index = little.found().neurons[0].site
    found = result(little, f"neuron L{layer}/N{index}")
    assert found.neuron.attribution == pytest.approx(sum(moment.attribution for moment in found.moments), abs=1e-5)
    assert found.neuron.effect == found.everywhere


def test_a_card_needs_no_circuit(little: Session) -> None:
    little.circuit = None
    found = result(little, "neuron L1/N3@-1 --no-verify --tokens 2")
    assert found.rank == 0 and found.everywhere is None and len(found.up) == 2
    assert found.target.counterfactual is not None


def test_a_circuit_attributed_in_another_way_is_said_to_be(little: Session) -> None:
    little.circuit = structs.replace(little.found(), method="relp against mean")
    assert "relp against mean" in result(little, "neuron top1").notes[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("neuron top5", "'top5' is 5 neurons"),
        ("neuron L1/*", "and a card shows one"),
        ("neuron L9/N1", "there is no layer 9"),
        ("neuron L1/N999", "layer 1 has no neuron 999"),
        ("neuron L1/N1@99", "no position 99"),
        ("neuron L1/N1 --tokens 0", "not a whole number"),
    ],
)
def test_what_is_no_neuron_is_refused(little: Session, line: str, said: str) -> None:
    with unharmed(little):
        assert said in failure(little, line).message


def test_a_card_has_the_edges_that_edges_finds(little: Session) -> None:
    found, drawn = result(little, "neuron top1"), result(little, "edges all --targets 20")
    place = found.neuron.place
    known = {(edge.source, edge.target): edge.weight for edge in (*drawn.edges, *drawn.outputs)}
    assert {edge.source for edge in found.outgoing} | {edge.target for edge in found.incoming} == {place}
    for edge in (*found.incoming, *found.outgoing):
        assert edge.weight == pytest.approx(known[edge.source, edge.target], abs=1e-5)


def test_without_positions_there_are_no_edges_and_the_card_says_so(little: Session) -> None:
    circuit = little.found()
    little.circuit = circuit.with_neurons(tuple(structs.replace(n, position=None) for n in circuit.neurons), "all")
    found = result(little, "neuron L1/N3")
    assert not found.incoming and not found.outgoing
    assert any("no edges" in note for note in found.notes)


def test_the_table_says_what_the_latest_atlas_knows_of_its_neurons(little: Session) -> None:
    assert {(row.peak, row.rate) for row in result(little, "neurons all").rows} == {(None, None)}
    Path("texts.txt").write_text("the cat sat on the mat\n\nin the end there was a hen")
    result(little, "atlas build small --corpus texts.txt --layers 1")
    table = result(little, "neurons L1/N3,L1/N5,L2/N5")
    assert (table.atlas, table.corpus) == ("small", "texts.txt")
    for row in table.rows[:2]:
        profile = result(little, f"atlas show {row.neuron}").profile
        strongest = max((profile.high[0], profile.low[0]), key=lambda peak: abs(peak.value))
        assert (row.peak, row.rate) == (strongest, profile.rate)
    assert (table.rows[2].peak, table.rows[2].rate) == (None, None)  # of a layer that the atlas lacks
    assert result(little, "neurons L0/N1").atlas == ""


def test_an_atlas_that_cannot_be_read_leaves_the_table_without_it(little: Session) -> None:
    Path("texts.txt").write_text("the cat sat on the mat")
    result(little, "atlas build small --corpus texts.txt")
    path = little.store.path("atlas", "small")
    path.write_bytes(path.read_bytes()[:-8])
    assert result(little, "neurons L1/N3").rows[0].peak is None


def test_the_session_says_which_atlas_is_in_use_and_looks_into_a_file_once(
    little: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert little.state().atlas == ""
    Path("texts.txt").write_text("the cat sat on the mat")
    for name in ("first", "second"):
        result(little, f"atlas build {name} --corpus texts.txt")
        assert little.state().atlas == name
    monkeypatch.setattr(Path, "open", None)
    assert little.state().atlas == "second"
    monkeypatch.undo()
    result(little, "delete atlas:second")
    assert little.state().atlas == "first"
    little.model = None
    assert little.state().atlas == ""
