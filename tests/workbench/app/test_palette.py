"""The palette: everything that can be done is found by a few letters, and done."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from commands import completing, grammar
from sessions.events import State
from tests.workbench.app.alone import lines
from tests.workbench.app.still import Still, played, typed
from workbench.app.app import offered
from workbench.app.palette import Palette, options, saved, verbs
from workbench.app.palette_items import PaletteItem, sifted
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
    assert {thing.name for thing in sifted(things, "")} == set(grammar.VERBS)
    assert sifted(things, "zzzz") == []


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("transplant", ["inject"]),
        ("activation patching", ["patch"]),
        ("causal tracing", ["trace"]),
        ("chart", ["sweep", "rounds"]),
        ("finetune", ["train-round"]),
        ("fine t", ["train-round"]),
        ("cancel", ["stop the running line"]),
        ("turn off", ["ablate", "suppress"]),
        ("attention", ["attention", "attention", "discover --attention"]),  # the verb, and the setting
        ("logit lens", ["neurons"]),
        ("steer", ["vector", "shift"]),
        ("detach", ["leave"]),
    ],
)
def test_what_people_call_it_finds_it(query: str, names: list[str]) -> None:
    things = [*verbs(), *options(), *offered()]
    assert [thing.name for thing in sifted(things, query)][: len(names)] == names


def test_a_match_by_another_word_says_which() -> None:
    assert sifted(list(verbs()), "transplant")[0].about.startswith("transplant: ")
    assert not sifted(list(verbs()), "inject")[0].about.startswith("inject: ")


def test_a_synonym_of_no_verb_is_a_verb_or_what_another_is_called_only_once() -> None:
    for verb in grammar.VERBS.values():
        assert len(set(verb.synonyms)) == len(verb.synonyms), verb.name
        for synonym in (*verb.synonyms, *verb.also):
            assert synonym == synonym.casefold() and synonym not in grammar.VERBS, (verb.name, synonym)


def test_the_verbs_stand_under_the_headings_of_help_and_the_most_used_before_them(app: Still) -> None:
    for line in ("ablate top10", "discover", ":ablate top3", "atlas", "quit", "no verb", "ablate"):
        app.line._history.add(line)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        shown = palette(app)._choices.choices
        headings = [choice.name for choice in shown if choice.heading]
        families = list(dict.fromkeys(verb.family for verb in grammar.VERBS.values()))
        assert headings[: len(families) + 1] == ["Most used", *families]
        assert headings[len(families) + 1 :][:2] == ["The app", "Themes"]
        assert [choice.name for choice in shown[1:4]] == ["ablate", "discover", "atlas list"]
        assert len([choice for choice in shown if choice.name == "ablate"]) == 2
        assert palette(app)._choices.at == 1
        await pilot.press("enter")
        await pilot.pause()
        assert app.line.value == "ablate "

    played(app, steps)


def test_a_verb_says_what_it_misses(app: Still) -> None:
    about = {thing.name: thing.described for thing in verbs(State())}
    assert about["ablate"].startswith("no model · Ablate")
    assert about["info"] == grammar.VERBS["info"].summary
    about = {thing.name: thing.described for thing in verbs(State(model="smollm2", prompt="The"))}
    assert about["ablate"].startswith("no circuit · ")
    assert about["atlas top"].startswith("no atlas · ")
    assert about["discover"] == grammar.VERBS["discover"].summary

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        await typed(pilot, "ablate")
        await pilot.pause()
        assert any("no model · Ablate" in row for row in lines(app))

    played(app, steps)


def test_nothing_found_is_said_and_cannot_be_chosen(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        await typed(pilot, "zzqqx")
        await pilot.pause()
        assert any("no match" in row for row in lines(app))
        await pilot.press("down", "enter")
        assert isinstance(app.screen, Palette)

    played(app, steps)


def test_the_cursor_stays_where_it_is_when_saved_things_arrive(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p", "down", "down")
        shown = palette(app)._choices
        at = shown.at
        palette(app)._add([PaletteItem("load texas", "saved circuit", line="load texas", group="Saved circuits")])
        assert shown.at == at > 1

    played(app, steps)


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
        assert shown.choices[0].heading and shown.at == 13  # two headings lie between
        await pilot.press("up", *["pageup"] * 3)
        assert shown.at == 1
        await pilot.press("up")
        assert shown.at == len(shown.choices) - 1
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
