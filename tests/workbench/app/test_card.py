"""The card of a neuron: all that is known of it, and what is not known is asked for once."""

from __future__ import annotations

import pytest
from msgspec import structs
from textual.pilot import Pilot

from commands.grammar import parse
from sessions import results
from sessions.atlas.findings import Peak
from sessions.circuits.circuit import Circuit
from sessions.circuits.findings import Moment
from sessions.directions.findings import Reads
from sessions.model.units import Unit
from sessions.results import NeuronRow
from tests.workbench.app.alone import SIZES, Alone, alone, lines, press, rest
from workbench.app.panes.card import NeuronCardScreen
from workbench.app.panes.neurons import NeuronsPane
from workbench.app.session_view import Facet, HistoryEntry, SessionView
from workbench.writing import aim, quoted, signed


@pytest.fixture
def circuit(view: SessionView) -> Circuit:
    assert view.circuit is not None
    return view.circuit


def card(app: Alone) -> NeuronCardScreen:
    assert isinstance(app.screen, NeuronCardScreen)
    return app.screen


@pytest.mark.parametrize("size", SIZES)
def test_a_card_says_everything_about_a_neuron(view: SessionView, circuit: Circuit, size: tuple[int, int]) -> None:
    neuron = circuit.neurons[0]
    row = view.rows[neuron.place]

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        text = "\n".join(lines(app))
        for said in (
            f"─ {neuron} ─",
            f"─ 1 of {len(circuit)} ─",
            f"▸{quoted(circuit.tokens[41])}◂",
            f"{quoted(circuit.tokens[40])} ▸",
            f"{signed(neuron.attribution)} of {signed(circuit.target.value)}",
            aim(circuit.target),
            signed(neuron.activation),
            " ".join(map(quoted, row.up)),
            " ".join(map(quoted, row.down)),
            f"{sum(other.layer == 24 for other in circuit.neurons)} neurons of the circuit",
            f"{sum(other.position == 41 for other in circuit.neurons)} neurons of the circuit",
        ):
            assert said in text
        assert not app.sent

    alone(NeuronsPane(), view, then, size)


def test_unknown_tokens_are_asked_for_once_and_fill_in_when_they_come(view: SessionView, circuit: Circuit) -> None:
    neuron = circuit.neurons[100]

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        app.pane.go(100)  # type: ignore[attr-defined]
        await press(pilot, "enter")
        assert app.sent == [f"neurons {neuron} --tokens 10"]
        parse(app.sent[0])
        assert "fetching" in card(app).text()
        card(app).show(view, Facet.JOBS)
        assert len(app.sent) == 1
        view.rows[neuron.place] = NeuronRow(neuron=neuron, token="", share=None, up=("[bold]",), down=("\x1b",))
        card(app).show(view, Facet.CIRCUIT)
        await rest(pilot)
        text = "\n".join(lines(app))
        assert '"[bold]"' in text and '"\\x1b"' in text

    alone(NeuronsPane(), view, then)


@pytest.mark.parametrize("hindrance", ["busy", "no model", "no host"])
def test_the_card_fetches_nothing_while_a_line_runs_or_waits(
    view: SessionView, circuit: Circuit, hindrance: str
) -> None:
    if hindrance == "busy":
        view.running = HistoryEntry("sweep", "me", "1")
    elif hindrance == "no model":
        view.state = structs.replace(view.state, model="")
    else:
        view.host = "the host ended suddenly"

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        app.pane.go(100)  # type: ignore[attr-defined]
        await press(pilot, "enter")
        assert not app.sent
        view.running = None
        card(app).show(view, Facet.JOBS)
        await rest(pilot)
        assert len(app.sent) == (hindrance == "busy")

    alone(NeuronsPane(), view, then)


def test_one_goes_from_card_to_card_in_the_order_of_the_table(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "/", *"L24", "enter", "enter")
        wanted = [neuron for neuron in circuit.neurons if neuron.layer == 24]
        seen = [card(app).neuron]
        for _ in wanted[1:]:
            await press(pilot, "right")
            seen.append(card(app).neuron)
        assert seen == wanted
        await press(pilot, "right", "left")
        assert card(app).neuron == wanted[-2]
        await press(pilot, "escape")
        assert app.pane.cursor == len(wanted) - 2  # type: ignore[attr-defined]

    alone(NeuronsPane(), view, then)


def test_letters_and_copying_work_on_the_card(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter", "y")
        assert app.copied == [card(app).text()]
        assert str(circuit.neurons[0]) in app.copied[0]
        await press(pilot, "m")
        assert app.typed == [f"amplify {circuit.neurons[0]} "]
        assert not isinstance(app.screen, NeuronCardScreen)

    alone(NeuronsPane(), view, then)


@pytest.mark.parametrize("key", ["escape", "enter", "q"])
def test_a_card_closes(view: SessionView, key: str) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter", key)
        assert not isinstance(app.screen, NeuronCardScreen)

    alone(NeuronsPane(), view, then)


def test_a_card_closes_when_its_circuit_is_gone(view: SessionView, circuit: Circuit) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        view.circuit = circuit.with_neurons(circuit.neurons[1:], "rest")
        card(app).show(view, Facet.CIRCUIT)
        await rest(pilot)
        assert not isinstance(app.screen, NeuronCardScreen)

    alone(NeuronsPane(), view, then)


def test_the_same_neuron_at_other_positions_is_named(view: SessionView, circuit: Circuit) -> None:
    neurons = (Unit(3, 5, 41, 1.0), Unit(3, 5, 40, -0.25), Unit(3, 5, None, 0.5), Unit(2, 5, 41, 2.0))
    view.circuit = structs.replace(circuit, neurons=neurons)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        text = card(app).text()
        assert "L3/N5@40 -0.250 · L3/N5 +0.500" in text
        assert "3 neurons of the circuit, +1.250 in all" in text
        assert "2 neurons of the circuit, +3.000 in all" in text
        await press(pilot, "right", "right")
        assert "at all positions" in card(app).text()

    alone(NeuronsPane(), view, then)


def test_a_card_fits_into_forty_by_ten_and_its_text_scrolls(view: SessionView) -> None:
    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        assert any("token" in line for line in lines(app))
        await press(pilot, *["down"] * 30)
        assert any("esc" in line for line in lines(app))

    alone(NeuronsPane(), view, then, (40, 10))


def test_n_asks_for_all_there_is_to_know_and_shows_it(view: SessionView, circuit: Circuit) -> None:
    neuron = circuit.neurons[0]
    told = results.NeuronCard(
        neuron=neuron,
        target=circuit.target,
        moments=(Moment(40, " Tex[b]as", 0.25, -0.5, None), Moment(41, " is", -37.5, 1.5, 2.5)),
        everywhere=2.75,
        rank=1,
        circuit_size=len(circuit),
        up=(" capital",),
        down=("omia",),
        column_norm=5.5,
        reads=(
            Reads(
                name="gate",
                norm=4.5,
                along_output=-0.25,
                embeddings=((" town",), (" ols",)),
                stream=((" minneapolis",), (" olls",)),
            ),
        ),
        universal=False,
    )

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter", "n")
        assert app.sent == [f"neuron {neuron}"]
        parse(app.sent[0])
        view.cards[neuron.place] = told
        card(app).show(view, Facet.CIRCUIT)
        await rest(pilot)
        text = card(app).text()
        for said in (" Tex[b]as", "-37.50", "+2.500", "+2.750", " town", " minneapolis", " capital", "norm 4.5"):
            assert said in text
        assert '" Tex[b]as"' in "\n".join(lines(app))

    alone(NeuronsPane(), view, then)


def test_a_card_says_what_woke_the_neuron_over_a_corpus(view: SessionView, circuit: Circuit) -> None:
    neuron = circuit.neurons[0]
    peak = Peak(value=-28.0, document=6, position=26, token=" i[b]s", before=(" of", " Texas"), after=(" Austin",))
    view.rows[neuron.place] = structs.replace(view.rows[neuron.place], peak=peak, rate=0.005)

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        text = "\n".join(lines(app))
        assert "peak -28.00 · fires at 0.5%" in text and " of Texas▸ i[b]s◂ Austin" in text

    alone(NeuronsPane(), view, then)
