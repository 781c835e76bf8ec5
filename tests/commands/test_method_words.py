"""`discover --method` knows the methods that the registry has, whatever they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.completing import complete
from sessions.circuits.methods import METHODS
from sessions.model import homes
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed
from tests.sessions.circuits.test_registry import Opposite
from tests.sessions.model.test_homes import on_disk


@pytest.fixture(autouse=True)
def opposite(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(METHODS, Opposite.name, Opposite())
    yield


def test_a_method_of_one_class_is_completed_with_its_summary() -> None:
    (found,) = complete("discover --method op")
    assert (found.text, found.description) == (Opposite.name, Opposite.summary)


def test_a_method_of_one_class_is_discovered_by(little: Session) -> None:
    theirs = result(little, "discover --method atp --keep-universal").circuit
    found = result(little, "discover --method opposite --keep-universal")
    assert found.circuit.method == "opposite" and found.circuit.attention == "gradient"
    assert found.agreement is not None
    pairs = {neuron.place: neuron.attribution for neuron in theirs.neurons}
    assert all(neuron.attribution == -(pairs[neuron.place] or 0.0) for neuron in found.circuit.neurons)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--attention frozen", "--method opposite does not take --attention frozen"),
        ("--steps 4", "--steps is for --method ig, not for opposite"),
        ("--reference mean", "--method opposite does not take a mean as --reference"),
        ("--prompts p.txt", "--method opposite is for one prompt"),
    ],
)
def test_what_a_method_does_not_take_is_refused_by_name(options: str, said: str, little: Session) -> None:
    Path("p.txt").write_text("the cat\n", encoding="utf-8")
    with unharmed(little):
        assert said in failure(little, f"discover --method opposite {options}").message


def test_the_line_that_is_recommended_where_gradients_have_no_room_works(
    little: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little.use_model(on_disk("llama", tmp_path, "model.layers.1"))
    monkeypatch.setattr(homes, "free_memory", lambda _: 1000)
    hint = failure(little, "discover --keep-universal").hint
    line = hint.partition(" needs none")[0].replace("FIRST-LAST", "1-1")
    assert line == "discover --method exact --layers 1-1 --keep-universal"
    assert len(result(little, f"{line} --top 5").circuit) == 5
