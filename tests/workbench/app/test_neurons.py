"""The neuron table: a circuit of any size, sorted, filtered, marked, and put into a line by a letter."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from msgspec import structs
from textual.pilot import Pilot

from commands.grammar import parse
from sessions.atlas.findings import Peak
from sessions.circuits.circuit import Circuit
from sessions.model.units import Unit
from sessions.results import NeuronRow
from tests.workbench.app.alone import SIZES, Alone, alone, lines, press, rest
from workbench.app.panes.neurons import NeuronsPane
from workbench.app.session_view import EVERYTHING, Facet, SessionView
from workbench.app.unit_filter import SYNTAX
from workbench.writing import quoted, signed

MILLION = 1_000_000


@pytest.fixture
def circuit(view: SessionView) -> Circuit:
    assert view.circuit is not None
    return view.circuit


@pytest.fixture(scope="module")
def many() -> tuple[Unit, ...]:
    """A million neurons, strongest first."""
    chance = random.Random(0)
    return tuple(
        Unit(chance.randrange(48), chance.randrange(16384), chance.randrange(42), (-1) ** row / (1 + row), 1.0)
        for row in range(MILLION)
    )


def named(app: Alone) -> Iterator[str]:
    """The neurons on the screen, top to bottom."""
    for line in lines(app)[1:]:
        words = line.strip("▸* ").split()
        if len(words) > 2 and words[0].isdigit():
            yield f"L{words[0]}/N{words[1]}@{words[2]}"


def pane(app: Alone) -> NeuronsPane:
    assert isinstance(app.pane, NeuronsPane)
    return app.pane


@pytest.mark.parametrize("size", SIZES)
def test_a_row_says_where_a_neuron_is_and_what_it_does(
    view: SessionView, circuit: Circuit, size: tuple[int, int]
) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        first, row = circuit.neurons[0], lines(app)[1]
        assert row.startswith("▸")
        assert row.strip("▸ ").split()[:3] == [str(first.layer), str(first.index), str(first.position)]
        assert quoted(circuit.tokens[first.position or 0]) in row
        assert signed(first.attribution) in row
        assert quoted(view.rows[first.place].up[0]) in row
        assert list(named(app)) == [str(neuron) for neuron in circuit.neurons[: size[1] - 1]]

    alone(NeuronsPane(), view, then, size)


def test_a_narrow_table_leaves_columns_out_and_never_cuts_a_number(view: SessionView, circuit: Circuit) -> None:
    for width in range(1, 90):

        async def then(app: Alone, pilot: Pilot[None], width: int = width) -> None:
            heading, first = lines(app)[:2]
            assert ("pushes" in heading) <= ("share" in heading) <= ("token" in heading) <= (" L" in heading)
            assert ("attr" in heading) == (signed(circuit.neurons[0].attribution) in first) or width < 20

        alone(NeuronsPane(), view, then, (width, 3 + width % 5))


def test_the_order_is_that_of_the_column_chosen_and_the_heading_says_which(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        assert "attr▾" in lines(app)[0]
        await press(pilot, *[">"] * 5)
        assert "attr▾" in lines(app)[0]
        await press(pilot, "home")
        strongest = sorted(circuit.neurons, key=lambda neuron: -(neuron.attribution or 0))
        assert list(named(app)) == [str(neuron) for neuron in strongest[:23]]
        await press(pilot, "o", "home")
        assert "attr▴" in lines(app)[0]
        assert next(named(app)) == str(strongest[-1])
        await press(pilot, "O", "home")
        assert next(named(app)) == str(circuit.neurons[0])

    alone(NeuronsPane(), view, then)


def test_the_cursor_stays_on_its_neuron_while_the_order_changes(view: SessionView) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, *["down"] * 7)
        name = next(line for line in lines(app) if line.startswith("▸")).split()[1:4]
        for keys in ([">"], ["o"], ["/", *"L20-29", "enter"], ["escape"]):
            await press(pilot, *keys)
            assert next(line for line in lines(app) if line.startswith("▸")).split()[1:4] == name

    alone(NeuronsPane(), view, then)


def test_a_filter_takes_effect_with_every_letter_and_is_kept_or_dropped(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "/", *"L24 @-1")
        wanted = [n for n in circuit.neurons if n.layer == 24 and n.position == len(circuit.tokens) - 1]
        assert list(named(app)) == [str(neuron) for neuron in wanted[:22]]
        assert lines(app)[-1] == f"filter: L24 @-1▏  {len(wanted)} of {len(circuit)}"
        await press(pilot, "backspace", "backspace", "backspace", "backspace", "2", "space")
        assert pane(app).count() == 0
        await press(pilot, *["backspace"] * 3, "9", "enter")
        assert {name.split("/")[0] for name in named(app)} == {"L29"}
        assert "▏" not in lines(app)[-1]
        await press(pilot, "j", "escape")
        assert pane(app).count() == len(circuit)
        assert not lines(app)[-1].startswith("filter")

    alone(NeuronsPane(), view, then)


def test_the_filter_says_what_can_be_typed_and_what_is_wrong(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "/")
        assert lines(app)[-1] == f"filter: ▏  {SYNTAX}"
        await press(pilot, *"attr>")
        assert pane(app).count() == len(circuit)
        await press(pilot, "x")
        assert lines(app)[-1] == "filter: attr>x▏  ✗ 'x' is not a number"
        assert pane(app).count() == len(circuit)
        await press(pilot, "backspace", *"0.4")
        wanted = [n for n in circuit.neurons if n.attribution is not None and n.attribution > 0.4]
        assert pane(app).count() == len(wanted) > 0
        assert f"{len(wanted)} of {len(circuit)}" in lines(app)[-1]

    alone(NeuronsPane(), view, then)


def test_letters_go_into_the_filter_while_it_is_typed_and_are_commands_after_that(view: SessionView) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "/", *"am *", "enter")
        assert pane(app).filter == "am *"
        assert not app.typed and not pane(app).marks
        await press(pilot, "escape", "a")
        assert len(app.typed) == 1

    alone(NeuronsPane(), view, then)


def test_a_letter_writes_a_line_with_the_marked_neurons_or_the_one_under_the_cursor(
    view: SessionView, circuit: Circuit
) -> None:
    first, second, third = circuit.neurons[:3]

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "a")
        await press(pilot, "space", "down", "space", "m")
        assert app.typed == [f"ablate {first} ", f"amplify {first},{third} "]
        assert lines(app)[1].startswith(" *") and lines(app)[3].startswith(" *")
        assert not lines(app)[2].startswith(" *")
        await press(pilot, "*", "a", "*", "a")
        assert app.typed[2] == "ablate all --at circuit "
        assert not pane(app).marks
        for line in app.typed:
            parse(line)

    alone(NeuronsPane(), view, then)
    assert second not in (first, third)


def test_keys_typed_ahead_act_on_the_rows_that_were_asked_for(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        for key in ("/", *"L21", "enter", "*", "a"):
            await pilot.press(key)
        await rest(pilot)
        wanted = [neuron for neuron in circuit.neurons if neuron.layer == 21]
        assert app.typed == [f"ablate {','.join(map(str, wanted))} "]

    alone(NeuronsPane(), view, then)


def test_marks_and_cursor_outlive_news_of_the_same_circuit_but_not_another_one(
    view: SessionView, circuit: Circuit
) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "down", "space")
        neuron = circuit.neurons[25]
        view.rows[neuron.place] = NeuronRow(neuron=neuron, token="x", share=None, up=("new",), down=())
        app.pane.show(view, Facet.CIRCUIT)
        await rest(pilot)
        assert pane(app).marks == {1} and pane(app).cursor == 2
        view.circuit = circuit.with_neurons(circuit.neurons[:50], "top 50")
        app.pane.show(view, EVERYTHING)
        await rest(pilot)
        assert not pane(app).marks and pane(app).cursor == 0
        assert pane(app).count() == 50

    alone(NeuronsPane(), view, then)


def test_the_tokens_that_neurons_in_sight_push_are_asked_for(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "n")
        unknown = [neuron for neuron in circuit.neurons[:23] if neuron.place not in view.rows]
        assert app.sent == [f"neurons {','.join(map(str, unknown))} --rows {len(unknown)}"]
        parse(app.sent[0])

    alone(NeuronsPane(), view, then)


def mapped(view: SessionView, circuit: Circuit) -> SessionView:
    """A view that knows of the first ten neurons, all but the third, what woke them most over a corpus."""
    view.state = structs.replace(view.state, atlas="demo")
    for number, neuron in enumerate(circuit.neurons[:10]):
        peak = Peak(value=number - 4.5, document=1, position=2, token=f" to[b]{number}")
        row = NeuronRow(neuron=neuron, token="x", share=None, up=(" up",), down=(" down",))
        view.rows[neuron.place] = row if number == 2 else structs.replace(row, peak=peak, rate=number / 10)
    return view


def test_what_an_atlas_says_has_its_columns_where_there_is_one(view: SessionView, circuit: Circuit) -> None:
    async def before(app: Alone, pilot: Pilot[None]) -> None:
        assert not {"peak", "fires"} & set(lines(app)[0].split())

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        assert " ".join(lines(app)[0].split()).endswith("act peak woken by fires pushes up pushes down")
        first, third = (lines(app)[row].split('" up"')[0] for row in (1, 3))
        assert first.split()[-4:] == ["-4.50", '"', 'to[b]0"', "0.0%"]
        assert "to[b]" not in third and third.split()[-2:] == ["–", "–"]

    alone(NeuronsPane(), view, before, (160, 20))
    alone(NeuronsPane(), mapped(view, circuit), then, (160, 20))


def test_neurons_are_sorted_and_found_by_what_woke_them(view: SessionView, circuit: Circuit) -> None:
    wanted = [str(neuron) for neuron in (circuit.neurons[9], circuit.neurons[8])]

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        pane(app).headed("peak")
        await rest(pilot)
        assert list(named(app))[:2] == wanted and "peak▾" in lines(app)[0]
        await press(pilot, "/", *"to[b]9", "enter")
        assert list(named(app)) == wanted[:1]

    alone(NeuronsPane(), mapped(view, circuit), then, (160, 20))


def test_a_narrow_table_loses_what_the_atlas_says_before_what_the_circuit_does(
    view: SessionView, circuit: Circuit
) -> None:
    mapped(view, circuit)
    for width in range(20, 160, 3):

        async def then(app: Alone, pilot: Pilot[None], width: int = width) -> None:
            heading, first = lines(app)[:2]
            assert ("fires" in heading) <= ("woken" in heading) <= ("peak" in heading) <= ("act" in heading)
            assert ("peak" in heading) == ("-4.50" in first)

        alone(NeuronsPane(), view, then, (width, 5))


def test_what_the_atlas_says_is_asked_for_where_it_is_not_known(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "n")
        assert app.sent == [f"neurons {circuit.neurons[2]} --rows 1"]

    alone(NeuronsPane(), mapped(view, circuit), then, (160, 11))


def test_copying_takes_the_row_and_editing_the_whole_table(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "down")
        assert pane(app).chosen() == lines(app)[2].lstrip("▸ ")
        assert len(pane(app).text().splitlines()) == 1 + len(circuit)

    alone(NeuronsPane(), view, then)


@pytest.mark.parametrize(("model", "word"), [("", "model smollm2"), ("smollm2", "discover")])
def test_without_a_circuit_one_line_says_what_to_type(view: SessionView, model: str, word: str) -> None:
    view.circuit = None
    view.state = structs.replace(view.state, model=model)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        assert word in lines(app)[0]
        assert not any(lines(app)[1:])
        await press(pilot, "down", "space", "*", "a", "n", ">", "/", "enter", "pagedown", "end")
        assert not app.typed and not app.sent

    alone(NeuronsPane(), view, then)


def test_what_a_token_is_never_disturbs_the_table(view: SessionView, circuit: Circuit) -> None:
    tokens = ["\x1b[2J", "[/INST]", "\u202eabc", "日本語日本語", "\udc80", "a\u0301\u200d", "\n", "\0"]
    names = tuple(tokens[number % len(tokens)] for number in range(len(circuit.tokens)))
    neurons = tuple(structs.replace(neuron, position=row % 8) for row, neuron in enumerate(circuit.neurons))
    view.circuit = structs.replace(circuit, tokens=names, neurons=neurons)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        text = "\n".join(lines(app))
        assert all(quoted(token) in text for token in tokens)
        assert not any(character in text for character in "\x1b\u202e\0\udc80")
        columns = {line.rindex("%") for line in lines(app)[1:] if "日" not in line and "\u0301" not in line}
        assert len(columns) == 1

    alone(NeuronsPane(), view, then, (80, 10))


def test_only_visible_rows_of_a_million_neurons_are_read(
    view: SessionView, circuit: Circuit, many: tuple[Unit, ...]
) -> None:
    view.circuit = structs.replace(circuit, neurons=many)
    view.rows = {}
    looked: set[int] = set()

    class Watched(NeuronsPane):
        def cells(self, number: int):  # type: ignore[no-untyped-def]
            looked.add(number)
            return super().cells(number)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        assert list(named(app)) == [str(neuron) for neuron in many[:23]]
        assert len(looked) < 1000
        await press(pilot, "pagedown")
        assert list(named(app)) == [str(neuron) for neuron in many[23:46]]
        await press(pilot, "end")
        assert list(named(app)) == [str(neuron) for neuron in many[-23:]]
        assert len(looked) < 1000

    alone(Watched(), view, then)


def test_a_million_neurons_are_sorted_filtered_and_marked(
    view: SessionView, circuit: Circuit, many: tuple[Unit, ...]
) -> None:
    view.circuit = structs.replace(circuit, neurons=many)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "<", *["<"] * 4, "home")  # from the last column back to the attribution
        if pane(app).sort.key != "attribution":
            pane(app).headed("attribution")
            await rest(pilot)
            await press(pilot, "home")
        assert list(named(app)) == [str(neuron) for neuron in many[0:46:2]]
        await press(pilot, "O", "/", *"L7 @3", "enter", "home")
        wanted = [neuron for neuron in many if neuron.layer == 7 and neuron.position == 3]
        assert pane(app).count() == len(wanted)
        assert list(named(app)) == [str(neuron) for neuron in wanted[:22]]
        await press(pilot, "*", "a")
        assert len(pane(app).marks) == len(wanted)
        assert app.typed == ["ablate all & L7/*@3 --at circuit "]

    alone(NeuronsPane(), view, then)


def test_no_size_is_too_small(view: SessionView) -> None:
    for size in ((1, 1), (2, 1), (1, 2), (3, 3), (40, 10), (250, 2)):

        async def then(app: Alone, pilot: Pilot[None]) -> None:
            await press(pilot, "down", "pagedown", "/", "x", "escape", "space", "end")
            await pilot.resize_terminal(80, 24)
            await rest(pilot)
            assert pane(app).cursor == 199

        alone(NeuronsPane(), view, then, size)
