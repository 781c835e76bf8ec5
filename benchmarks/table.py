"""The neuron table with a million rows, in a terminal.

`python -m benchmarks.table` is the measured app: the pane alone, which shows a circuit of a million neurons when ctrl+g
is pressed. Building the circuit is not measured: in the app it would have been read before.
"""

from __future__ import annotations

import random
import sys
import time
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType

from benchmarks.measuring import Figure
from benchmarks.terminal import FRAME_END, Terminal
from sessions.circuits.circuit import Circuit
from sessions.model.info import Token
from sessions.model.target import Target
from sessions.model.units import Unit
from tests.circuits import circuit_of
from workbench.app.panes.neurons import NeuronsPane
from workbench.app.session_view import EVERYTHING, SessionView

ROWS, LAYERS, POSITIONS, WIDE = 1_000_000, 30, 40, 1536
#: A value that only the first row has.
FIRST = 98_765_432.0
PAGES = 100


def table() -> list[Figure]:
    """Seconds until the table is shown, and seconds per page."""
    with Terminal([sys.executable, "-m", "benchmarks.table"]) as terminal:
        terminal.until("made", seconds=120)
        terminal.still(1)
        start = terminal.press("ctrl+g")
        ready = terminal.when(b"98765432", start) - start
        terminal.still()
        taken = []
        for number in range(PAGES):
            at = terminal.press("pagedown" if number < PAGES * 3 // 4 else "pageup")
            taken.append(terminal.when(FRAME_END, at) - at)
            time.sleep(random.uniform(0.02, 0.08))
    taken.sort()
    return [
        Figure(f"table of {ROWS:,} rows, ready, s", ready, 0.3, {}),
        Figure("page down in it, p95, s", taken[PAGES * 95 // 100], 0.05, {"median": taken[PAGES // 2]}),
    ]


class Million(App[None]):
    """An app with the neuron table alone."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+g", "fill", priority=True)]

    def __init__(self) -> None:
        super().__init__()
        self._board = SessionView()
        self._board.circuit = circuit()

    def compose(self) -> ComposeResult:
        yield NeuronsPane()

    def on_mount(self) -> None:
        self.query_one(NeuronsPane).focus()
        self.notify("made", timeout=0.3)

    def action_fill(self) -> None:
        self.query_one(NeuronsPane).show(self._board, EVERYTHING)


def circuit() -> Circuit:
    """A million neurons of thirty layers and forty positions, strongest first."""
    chance = random.Random(0)
    values = sorted((chance.gauss(0, 1) ** 3 for _ in range(ROWS - 1)), key=abs, reverse=True)
    neurons = (
        Unit(chance.randrange(LAYERS), chance.randrange(WIDE), chance.randrange(POSITIONS), value, value / 2)
        for value in (FIRST, *values)
    )
    return circuit_of(
        neurons,
        [f" token{number}" for number in range(POSITIONS)],
        target=Target(tokens=(Token(id=1, text=" Austin"),), value=10.0),
    )


if __name__ == "__main__":
    Million().run()
