"""`clear` and the empty screen."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from sessions.events import Started
from tests.workbench.app.alone import lines
from tests.workbench.app.still import Still, played
from workbench.app.app import WorkbenchApp
from workbench.app.first_steps import FIRST
from workbench.app.host_listener import Heard, Told
from workbench.app.session_view import EVERYTHING


def test_clear_takes_ended_lines_out_of_sight_and_keeps_everything_else(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        assert app.view.entries and any("✓" in row for row in lines(app))
        circuit, state = app.view.circuit, app.view.state
        WorkbenchApp.run_lines(app, ["clear"])
        await pilot.pause()
        assert not app.view.entries and app.view.latest is None
        assert (app.view.circuit, app.view.state) == (circuit, state)
        assert not any("✓" in row or "Nothing has been run" in row for row in lines(app))
        app.view.feed(Told("next", "me", Started("info", "info")))
        app.show_view(EVERYTHING)
        WorkbenchApp.run_lines(app, ["clear"])
        await pilot.pause()
        assert [entry.line for entry in app.view.entries] == ["info"]  # it runs

    played(app, steps)


def test_an_empty_screen_shows_the_first_steps(tmp_path: Path) -> None:
    app = Still(tmp_path)

    async def steps(pilot: Pilot[str]) -> None:
        app.view.host = ""
        app.show_view(EVERYTHING)
        await pilot.pause()
        for line, _ in FIRST:
            assert any(line in row for row in lines(app))

    played(app, steps)
