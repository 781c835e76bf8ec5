"""What arrives is seen, and the mouse does what people expect of it."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs
from textual.pilot import Pilot

from sessions.events import Event, Result, Started
from sessions.results import Deleted, Loaded
from tests.workbench.app.alone import lines
from tests.workbench.app.still import Still, played, until
from tests.workbench.app.telling import about
from workbench.app.host_listener import Heard
from workbench.app.layout import LINE
from workbench.app.pane import Pane
from workbench.app.panes.card import NeuronCardScreen

# Nothing unseen


def heard_of(app: Still, *events: Event) -> None:
    """Let the app hear a line with these events."""
    for told in about("late", *events, end=True):
        app.show_view(app.view.feed(told))


DONE = (Started("", "delete old"), Result(Deleted(name="old", restore="")))


def test_on_a_small_screen_what_ends_is_shown_unless_the_user_is_elsewhere(
    tmp_path: Path, recorded: list[Heard]
) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", "escape")
        assert "[3 Neurons]" in lines(app)[1]
        heard_of(app, *DONE)
        await pilot.pause()
        assert "[2 Result]" in lines(app)[1] and "deleted old" in "\n".join(lines(app))
        assert app.workspace.focused == LINE
        await pilot.press("f4")
        heard_of(app, *DONE)
        await pilot.pause()
        assert "[3 Neurons]" in lines(app)[1] and "2 Result•" in lines(app)[1]
        await pilot.press("f3")
        await pilot.pause()
        assert "•" not in lines(app)[1]

    played(app, steps, (80, 24))


def test_a_notice_goes_with_the_next_key(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", "y")
        await pilot.pause()
        assert "copied" in "\n".join(lines(app))
        await pilot.press("down")
        await pilot.pause()
        assert "copied" not in "\n".join(lines(app))

    played(app, steps)


def test_what_visible_neurons_push_is_fetched_by_itself_and_not_listed(tmp_path: Path, recorded: list[Heard]) -> None:
    sent: list[Pane.Sent] = []

    class Listening(Still):
        def on_pane_sent(self, message: Pane.Sent) -> None:
            sent.append(message)

    app = Listening(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        app.view.rows = {}
        await pilot.press("f4", "end")
        await until(pilot, lambda: sent)
        await pilot.pause(1.0)
        (message,) = sent
        assert message.quiet and message.line.startswith("neurons L")
        assert str(app.view.circuit.neurons[-1]) in message.line  # type: ignore[union-attr]

    played(app, steps)


def test_another_circuit_ends_the_filter_and_that_is_said(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", "slash", *"L24", "enter")
        await app.workers.wait_for_complete()
        circuit = app.view.circuit
        assert circuit is not None
        other = structs.replace(circuit, neurons=circuit.neurons[:50])
        heard_of(app, Started("", "load other"), Result(Loaded(name="other", circuit=other)))
        await pilot.pause()
        await app.workers.wait_for_complete()
        assert "another circuit: the filter L24 is gone" in "\n".join(lines(app))
        assert app.workspace.panes[3].facts.startswith("1/50")

    played(app, steps)


# The mouse


def test_a_click_on_a_key_below_presses_it(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.click(offset=(lines(app)[-1].index("zoom"), 39))
        await pilot.pause()
        assert app.workspace.zoomed

    played(app, steps)


def test_a_double_click_opens_the_card_of_a_neuron(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        rows = lines(app)
        place = next(number for number, row in enumerate(rows) if "22  916" in row)
        await pilot.click(offset=(rows[place].index("916"), place), times=2)
        await pilot.pause()
        assert isinstance(app.screen, NeuronCardScreen)

    played(app, steps)


def test_dragging_selects_text_that_y_copies(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        heard_of(app, *DONE)
        await pilot.pause()
        row = next(number for number, text in enumerate(lines(app)) if "│deleted old" in text)
        left = lines(app)[row].index("│deleted old") + 1
        await pilot.mouse_down(offset=(left, row))
        await pilot.hover(offset=(left + 6, row))
        await pilot.mouse_up(offset=(left + 7, row))
        await pilot.pause()
        assert (app.screen.get_selected_text() or "").strip() == "deleted"
        await pilot.press("f3", "y")
        await pilot.pause()
        assert app.clipboard.strip() == "deleted"

    played(app, steps)
