"""Selections mean what they say, and what they do not say is an error with an example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.circuits.selection import Surroundings, resolve, terms
from sessions.errors import UsageError
from sessions.model.units import Unit
from tests.circuits import circuit_of

WIDTHS = (8, 8, 8)
CIRCUIT = circuit_of(
    (
        Unit(2, 5, 3, 1.5, 2.0),
        Unit(1, 7, 3, -0.9, 1.0),
        Unit(1, 7, 1, 0.4, 1.0),
        Unit(0, 1, 2, 0.1, 1.0),
    )
)
SAVED = {
    "texas": CIRCUIT.with_neurons(CIRCUIT.neurons[:1], ""),
    "texas-2": CIRCUIT.with_neurons(CIRCUIT.neurons[1:], ""),
}
AROUND = Surroundings(CIRCUIT, WIDTHS, 4, tuple(SAVED), SAVED.__getitem__)


def places(text: str) -> list[str]:
    return [str(neuron) for neuron in resolve(text, AROUND).neurons]


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("top2", ["L2/N5@3", "L1/N7@3"]),
        ("all", ["L2/N5@3", "L1/N7@3", "L1/N7@1", "L0/N1@2"]),
        ("L0/N4", ["L0/N4"]),
        ("L0#4", ["L0/N4"]),
        ("l0/n4@-1", ["L0/N4@3"]),
        ("L2/*", [f"L2/N{i}" for i in range(8)]),
        ("L1/*@0 & L1/N3", ["L1/N3@0"]),
        ("all - L1/*", ["L2/N5@3", "L0/N1@2"]),
        ("all-L1/*", ["L2/N5@3", "L0/N1@2"]),
        ("all - L1/N7@1", ["L2/N5@3", "L1/N7@3", "L0/N1@2"]),
        ("all & L0-1/*", ["L1/N7@3", "L1/N7@1", "L0/N1@2"]),
        ("texas", ["L2/N5@3"]),
        ("texas-2", ["L1/N7@3", "L1/N7@1", "L0/N1@2"]),
        ("all-texas-2", ["L2/N5@3"]),
        ("top1, L0/N4 + top2", ["L2/N5@3", "L0/N4", "L1/N7@3"]),
        ("(top1)", ["L2/N5@3"]),
        ("(top1, L0/N4) & (L0/*, L1/*)", ["L0/N4"]),
        ("top1, L0/N4 & (L0/*)", ["L0/N4"]),
        ("top1, (L0/N4 & L0/*)", ["L2/N5@3", "L0/N4"]),
        ("all - (L1/* - L1/N7@1)", ["L2/N5@3", "L1/N7@3", "L1/N7@1", "L0/N1@2"]),
        ("( texas-2 - (all - L0/*) )", ["L0/N1@2"]),
        ("(L0/N4 & L1/*), top1", ["L2/N5@3"]),
    ],
)
def test_selections(text: str, means: list[str]) -> None:
    assert places(text) == means


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "selection is empty"),
        ("top10 +", "ends after"),
        ("L3/N0", "no layer 3"),
        ("L0/N8", "layer 0 has no neuron 8"),
        ("L0/N1@4", "no position 4"),
        ("L0/N1@-5", "no position -5"),
        ("L2-1/*", "names no layers"),
        ("L1-9/*", "names no layers"),
        ("texsa", "no saved circuit is called 'texsa'"),
        ("all & L2/N1", "selects no unit"),
        ("top0", "selects no unit"),
        ("top10 top20", "left over"),
        ("(top10", "a parenthesis is not closed"),
        ("(top10 top20)", "left over"),
        ("top10)", "left over"),
        ("()", "not a selection"),
        ("(" * 30 + "all" + ")" * 30, "more than 20 parentheses"),
        ("§", "not a selection"),
    ],
)
def test_what_is_no_selection_is_said_with_what_to_type_instead(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        resolve(text, AROUND)
    assert caught.value.hint


def test_the_nearest_saved_name_is_offered() -> None:
    with pytest.raises(UsageError, match="did you mean texas"):
        resolve("texsa", AROUND)


def test_without_a_circuit_its_words_say_where_to_get_one() -> None:
    with pytest.raises(UsageError, match=r"no circuit yet.*discover"):
        resolve("top10", Surroundings(None, WIDTHS, 4, (), SAVED.__getitem__))


def test_positions_found_are_dropped_at_scope_all_and_positions_written_are_kept() -> None:
    selection = resolve("top2, L0/N4@2", AROUND)
    assert [str(n) for n in selection.spread("all")] == ["L2/N5", "L1/N7", "L0/N4@2"]
    assert [str(n) for n in selection.spread("circuit")] == ["L2/N5@3", "L1/N7@3", "L0/N4@2"]
    assert resolve("(top2, (L0/N4@2))", AROUND).spread("all") == selection.spread("all")


def test_a_named_neuron_carries_its_attribution_where_the_circuit_has_it() -> None:
    (neuron,) = resolve("L2/N5@3", AROUND).neurons
    assert neuron.attribution == 1.5


@given(st.text(max_size=30))
def test_any_text_is_a_selection_or_a_usage_error(text: str) -> None:
    try:
        resolve(text, AROUND)
        terms(text)
    except UsageError as error:
        assert error.message


@given(st.integers(0, 99), st.integers(0, 9999), st.none() | st.integers(-50, 50))
def test_a_neuron_reads_back_as_it_is_written(layer: int, index: int, position: int | None) -> None:
    neuron = Unit(layer, index, position)
    assert Unit.parse(str(neuron)) == neuron
