"""The layer map: sums that add up, signs that are characters, a cursor that tells what it is on."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from rich.cells import cell_len
from textual.pilot import Pilot

from commands.grammar import parse
from sessions.circuits.circuit import Circuit
from sessions.model.units import Unit
from tests.workbench.app.alone import SIZES, Alone, alone, lines, press, rest
from tests.workbench.app.test_columns import CIRCUITS, TOKENS
from workbench.app.columns import CircuitColumns
from workbench.app.heat import LESS, MORE, HeatCell, HeatMap, axis, drawn_bar, laid_out, scrolled, shade
from workbench.app.panes.layers import LayersPane
from workbench.app.session_view import EVERYTHING, SessionView
from workbench.writing import quoted, signed


@pytest.fixture
def circuit(view: SessionView) -> Circuit:
    assert view.circuit is not None
    return view.circuit


def scattered(circuit: Circuit, count: int, layers: int, tokens: int) -> Circuit:
    """A circuit all over a long prompt."""
    chance = random.Random(1)
    neurons = [
        Unit(chance.randrange(layers), chance.randrange(9999), chance.randrange(tokens), chance.gauss(0, 1), 1.0)
        for _ in range(count)
    ]
    words = tuple([" the", "日本", "\u202e", "x" * 40, "\n"][number % 5] for number in range(tokens))
    ordered = tuple(sorted(neurons, key=lambda neuron: -abs(neuron.attribution or 0)))
    return structs.replace(circuit, neurons=ordered, tokens=words, ids=tuple(range(tokens)))


@settings(deadline=None)
@given(CIRCUITS, st.integers(1, 3))
def test_every_neuron_is_in_one_cell_and_the_sums_add_up(found: Circuit, span: int) -> None:
    heat = HeatMap(columns := CircuitColumns(found), columns.attributions)
    seen: list[int] = []
    for number in range(max(heat.layers) // span + 1):
        band = range(number * span, (number + 1) * span)
        for position, cell in zip(heat.positions, heat.cells(band, heat.positions), strict=True):
            rows = heat.rows(band, position)
            seen += rows
            neurons = [found.neurons[row] for row in rows]
            assert all(neuron.layer in band and neuron.position == position for neuron in neurons)
            assert rows == sorted(rows)
            assert cell.count == len(rows)
            known = [neuron.attribution for neuron in neurons if neuron.attribution is not None]
            assert cell.total == (sum(known) if known else None)
            assert cell.total is None or abs(cell.total) <= heat.largest(span)
        of_band = [neuron.attribution or 0.0 for neuron in found.neurons if neuron.layer in band]
        assert (heat.layer(band).total or 0.0) == sum(of_band)
    assert sorted(seen) == list(range(len(found)))


@settings(deadline=None)
@given(CIRCUITS, st.integers(1, 200), st.integers(1, 60), st.integers(-3, 8))
def test_a_map_fits_into_its_pane(found: Circuit, width: int, height: int, wider: int) -> None:
    heat = HeatMap(columns := CircuitColumns(found), columns.attributions)
    drawing = laid_out(heat, len(TOKENS), width, height, wider)
    assert drawing.rows + drawing.legend + 1 + drawing.below <= max(height, 2)
    assert drawing.across >= 1 and drawing.wide >= 1
    if width >= 30:
        assert drawing.label + drawing.across * drawing.wide + drawing.bar <= width
    assert {layer for band in drawing.bands for layer in band} >= set(heat.layers)
    assert set(drawing.positions) >= set(heat.positions)


@given(st.lists(st.sampled_from(["", "the", "日本", "x" * 30]), min_size=1), st.data())
def test_tokens_stand_where_their_columns_begin_and_that_of_the_cursor_always(
    tokens: list[str], data: st.DataObject
) -> None:
    at, wide = data.draw(st.integers(0, len(tokens) - 1)), data.draw(st.integers(1, 12))
    room = len(tokens) * wide + data.draw(st.integers(0, 20))
    drawn = axis(tokens, at, wide, room)
    assert cell_len(drawn) <= room
    assert cell_len(drawn[: drawn.index("▴")]) == at * wide


@given(st.integers(0, 200), st.integers(0, 199), st.integers(1, 50), st.integers(1, 200))
def test_the_cursor_is_in_sight_and_no_room_is_left_over(first: int, cursor: int, room: int, count: int) -> None:
    cursor = min(cursor, count - 1)
    found = scrolled(first, cursor, room, count)
    assert found <= cursor < found + room
    assert found == 0 or found + room <= count


def test_signs_are_characters() -> None:
    for total in (0.01, 0.1, 0.3, 1.0):
        assert shade(HeatCell(total, 1), 1.0) in MORE
        assert shade(HeatCell(-total, 1), 1.0) in LESS
        assert set(drawn_bar(-total, 1.0, 8)) == {"#"} and "#" not in drawn_bar(total, 1.0, 8)
    assert [shade(HeatCell(part, 1), 1.0) for part in (0.01, 0.1, 0.3, 1.0)] == list(MORE)
    assert shade(HeatCell(), 1.0) == " "
    assert shade(HeatCell(None, 3), 0.0) not in MORE + LESS + " "


@pytest.mark.parametrize("size", SIZES)
def test_each_layer_has_a_row_with_its_sum(view: SessionView, circuit: Circuit, size: tuple[int, int]) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        for layer in {neuron.layer for neuron in circuit.neurons}:
            row = next(line for line in lines(app) if re.match(rf"[ ▸]L{layer} ", line))
            total = sum(neuron.attribution or 0.0 for neuron in circuit.neurons if neuron.layer == layer)
            assert signed(total, 2) in row
            assert ("#" in row.split(signed(total, 2))[1]) == (total < 0)
        axis_ = next(line for line in lines(app) if "▴" in line)
        assert "Texas" in axis_ and "▴is" in axis_

    alone(LayersPane(), view, then, size)


def test_the_cursor_begins_at_the_largest_sum_and_tells_what_it_is_on(view: SessionView, circuit: Circuit) -> None:
    here = [neuron for neuron in circuit.neurons if neuron.layer == 29 and neuron.position == 41]
    total = sum(neuron.attribution or 0.0 for neuron in here)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        text = "\n".join(lines(app))
        assert f'L29 @41 " is"  {signed(total)} ({total / circuit.target.value:+.1%} of the target)' in text
        assert f"{len(here)} neurons:  L29/N{here[0].index} {signed(here[0].attribution)}" in text
        assert app.pane.chosen().startswith('L29 @41 " is"')
        await press(pilot, "down", "left")
        assert 'L28 @40 " Texas"  no neurons' in "\n".join(lines(app))
        await press(pilot, "o")
        assert 'L29 @41 " is"' in "\n".join(lines(app))

    alone(LayersPane(), view, then)


def test_a_letter_takes_the_neurons_under_the_cursor_and_enter_shows_them_in_the_table(
    view: SessionView, circuit: Circuit
) -> None:
    asked: list[str] = []

    class Listening(LayersPane):
        def on_layers_pane_narrowed(self, message: LayersPane.Narrowed) -> None:
            asked.append(message.filter)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "a", *["down"] * 5, "m")
        assert [parse(line).verb for line in app.typed] == ["ablate", "amplify"]
        assert app.typed[0] == "ablate all & L29/* --at circuit "
        neurons = [neuron for neuron in circuit.neurons if neuron.layer == 24]
        short = "amplify all & L24/* --at circuit "
        assert app.typed[1] in (short, f"amplify {','.join(map(str, neurons))} ")
        await press(pilot, "enter", "left", "a")
        assert asked == ["L24 @41"]
        assert len(app.typed) == 2  # there is no neuron

    alone(Listening(), view, then)


def test_low_panes_let_two_layers_share_a_row_and_say_so(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        assert lines(app)[0].startswith("▸L28-29 ")
        both = sum(neuron.attribution or 0.0 for neuron in circuit.neurons if neuron.layer in (28, 29))
        assert signed(both, 2) in lines(app)[0]
        assert "L28-29 @41" in lines(app)[7]

    alone(LayersPane(), view, then, (55, 10))


@pytest.mark.parametrize("size", [(80, 24), (55, 10), (30, 6)])
def test_a_long_prompt_scrolls_with_the_cursor_in_sight(
    view: SessionView, circuit: Circuit, size: tuple[int, int]
) -> None:
    view.circuit = scattered(circuit, 5000, 80, 2000)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        seen: set[str] = set()
        for keys in (["home"], ["right"] * 30, ["end"], ["left"] * 9, ["pagedown"] * 3, ["up"] * 20, ["+"], ["-"]):
            await pilot.press(*keys)
            assert any(line.startswith("▸L") for line in lines(app))
            assert any("▴" in line for line in lines(app))
            said = next(line for line in lines(app) if re.match(r"L[\d-]+ @\d", line))
            seen.add(said.split()[1])
        assert {"@0", "@1999"} <= seen
        assert all(cell_len(line) <= size[0] for line in lines(app))
        assert "\u202e" not in "".join(lines(app))

    alone(LayersPane(), view, then, size)


def test_a_million_neurons_are_added_up(view: SessionView, circuit: Circuit) -> None:
    view.circuit = found = scattered(circuit, 1_000_000, 30, 40)
    total = sum(neuron.attribution or 0.0 for neuron in found.neurons if neuron.layer == 29)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        row = next(line for line in lines(app) if re.match(r"[ ▸]L29 ", line))
        assert signed(total, 2) in row

    alone(LayersPane(), view, then, (160, 48))


def test_neurons_without_attribution_or_position_are_shown_as_such(view: SessionView, circuit: Circuit) -> None:
    neurons = (Unit(3, 1), Unit(3, 2, 41), Unit(4, 2, 1000))
    view.circuit = structs.replace(circuit, neurons=neurons)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        text = "\n".join(lines(app))
        assert "?" in text and "all" in text and "@1000" in text
        await press(pilot, "end", "down", "a")
        assert app.typed == ["ablate L3/N1 "]

    alone(LayersPane(), view, then)


def test_the_whole_map_is_text_for_an_editor(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        rows = app.pane.text().splitlines()
        assert quoted(circuit.tokens[41]) in rows[0]
        assert len(rows) == 1 + len({neuron.layer for neuron in circuit.neurons})
        assert len({cell_len(row) for row in rows}) == 1

    alone(LayersPane(), view, then)


def test_without_a_circuit_one_line_says_what_to_type_and_a_new_one_is_drawn(
    view: SessionView, circuit: Circuit
) -> None:
    view.circuit = None

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        assert "discover" in lines(app)[0]
        await press(pilot, "down", "right", "a", "enter", "o", "+", "pageup")
        assert not app.typed
        view.circuit = circuit
        app.pane.show(view, EVERYTHING)
        await rest(pilot)
        assert any("▸L29" in line for line in lines(app))

    alone(LayersPane(), view, then)


def test_no_size_is_too_small(view: SessionView) -> None:
    for size in ((1, 1), (2, 1), (1, 2), (3, 3), (7, 4), (40, 10), (250, 2)):

        async def then(app: Alone, pilot: Pilot[None]) -> None:
            await press(pilot, "down", "left", "pagedown", "end", "+", "home")
            await pilot.resize_terminal(80, 24)
            await rest(pilot)
            assert any("▸L" in line for line in lines(app))

        alone(LayersPane(), view, then, size)
