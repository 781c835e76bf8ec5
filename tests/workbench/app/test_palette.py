"""The palette: everything that can be done is found by a few letters, and done."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from commands import completing, grammar
from tests.workbench.app.alone import lines
from tests.workbench.app.still import Still, played, typed
from workbench.app.app import offered
from workbench.app.palette import Palette, saved, sifted, verbs
from workbench.app.themes import THEMES


@pytest.fixture
def app(tmp_path: Path) -> Still:
    return Still(tmp_path)


def palette(app: Still) -> Palette:
    assert isinstance(app.screen, Palette)
    return app.screen


def test_every_verb_and_everything_the_app_can_do_is_there(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        names = [thing.name for thing in palette(app).found]
        assert set(grammar.VERBS) <= set(names)
        assert {thing.name for thing in offered()} <= set(names)
        assert {f"theme {name}" for name in THEMES} <= set(names)
        assert any(name.startswith("run ") for name in names)  # the examples

    played(app, steps)


def test_a_verb_goes_to_the_command_line_with_its_example_in_grey(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        await typed(pilot, "abla")
        await pilot.press("enter")
        await pilot.pause()
        assert app.line.value == "ablate "
        assert app.line.has_focus
        assert app.line.ghost == grammar.VERBS["ablate"].example.removeprefix("ablate ")
        assert app.sent == []

    played(app, steps)


@pytest.mark.parametrize("line", ["info", "generate", "ablate top10 --max-tokens 8", 'discover " Austin"'])
def test_a_line_that_is_complete_runs(app: Still, line: str) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        await typed(pilot, line)
        await pilot.pause()
        assert any("▸ " + line in row for row in lines(app))
        await pilot.press("enter")
        await pilot.pause()
        assert app.sent == [line]

    played(app, steps)


def test_a_verb_that_takes_nothing_runs_when_it_is_chosen() -> None:
    bare = [thing for thing in verbs() if not grammar.VERBS[thing.name].params]
    assert bare
    assert all(thing.line == thing.name and not thing.typed for thing in bare)


def test_saved_circuits_and_command_files_run_at_once(
    app: Still, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "my texas.wb").write_text("info\n")
    monkeypatch.chdir(folder)
    found = {thing.name: thing.line for thing in saved(lambda line, cursor: [completing.Completion(5, "texas", "200")])}
    assert found["load texas"] == "load texas"
    assert found["run my texas.wb"] == 'run "my texas.wb"'
    assert found["run capital"].endswith("capital.wb")
    for line in found.values():
        grammar.parse(line)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        await typed(pilot, "mytex")
        for _ in range(100):
            if palette(app).found:
                break
            await pilot.pause(0.02)
        await pilot.press("enter")
        await pilot.pause()
        assert app.sent == ['run "my texas.wb"']

    played(app, steps)


def test_the_best_match_stands_first() -> None:
    things = list(verbs())
    assert sifted(things, "swe")[0].name == "sweep"
    assert sifted(things, "gen")[0].name == "generate"
    assert [thing.name for thing in sifted(things, "")] == list(grammar.VERBS)
    assert sifted(things, "zzzz") == []


def test_an_action_of_the_app_is_done(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        await typed(pilot, "theme light")
        await pilot.press("enter")
        await pilot.pause()
        assert app.theme == "light"
        await pilot.press("ctrl+p")
        await typed(pilot, "zoom")
        await pilot.press("enter")
        await pilot.pause()
        assert app.workspace.zoomed

    played(app, steps)


def test_arrows_move_and_escape_closes_with_nothing_done(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p", "down", "down", "up", "pagedown")
        shown = palette(app)._choices
        assert shown.at == 11
        await pilot.press("escape")
        assert not isinstance(app.screen, Palette)
        assert (app.sent, app.line.value) == ([], "")
        assert app.line.has_focus

    played(app, steps)


@pytest.mark.parametrize("size", [(160, 48), (80, 24), (40, 10), (20, 5), (3, 2)])
def test_the_palette_fits_every_screen(app: Still, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        await typed(pilot, "info")
        await pilot.pause()
        if size[1] >= 10:
            assert any("info" in row for row in lines(app))
        await pilot.press("enter")
        await pilot.pause()
        assert app.sent == ["info"]

    played(app, steps, size)
