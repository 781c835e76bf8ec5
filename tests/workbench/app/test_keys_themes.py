"""What a user chooses: keys, themes, the mouse. Whatever is wrong in the file is told, and the rest applies."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from rich.color import ColorType
from rich.style import Style
from textual.pilot import Pilot

from tests.workbench.app.alone import lines
from tests.workbench.app.still import Still, played, typed
from workbench.app import preferences
from workbench.app.app import WorkbenchApp
from workbench.app.bindings import bindings_of, by_id, pressed, split
from workbench.app.host_listener import Heard
from workbench.app.keys import KeyScreen
from workbench.app.palette import Palette
from workbench.app.themes import DARK, LIGHT, NONE, SIXTEEN, THEMES, suited

IDS = by_id(WorkbenchApp.keyed().values())


def written(home: Path, text: str) -> Path:
    home.mkdir(exist_ok=True)
    (home / "app.toml").write_text(text)
    return home


# The keys there are


def test_every_key_can_be_changed_and_none_is_one_that_terminals_cannot_tell() -> None:
    for kind in WorkbenchApp.keyed().values():
        for base in kind.__mro__:
            if base.__module__.startswith("workbench"):
                for binding in base.__dict__.get("BINDINGS", ()):
                    assert binding.id, binding
    bad = {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+enter", "shift+enter", "f10"}
    for name, keys in IDS.items():
        assert not bad & {key.strip() for key in keys.split(",")}, name


def test_no_two_things_of_one_place_share_a_key() -> None:
    for kind in WorkbenchApp.keyed().values():
        keys = [key for binding in bindings_of(kind) for key in split(binding.key)]
        assert len(keys) == len(set(keys)), kind


def test_no_pane_takes_a_key_of_the_app() -> None:
    everywhere = {key for binding in bindings_of(WorkbenchApp) for key in split(binding.key)}
    everywhere -= {"escape"}  # a pane may have something of its own to close
    for title, kind in WorkbenchApp.keyed().items():
        if title not in ("Everywhere", "Command line", "Neuron card"):
            keys = {key for binding in bindings_of(kind) for key in split(binding.key)}
            assert not keys & everywhere, title


def test_help_shows_every_key_that_holds_now_and_every_verb(tmp_path: Path) -> None:
    from commands.grammar import VERBS

    app = Still(written(tmp_path, '[keys]\n"app.zoom" = "alt+z"\n'))

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f1")
        await pilot.pause()
        assert isinstance(app.screen, KeyScreen)
        text = app.screen._list.text()
        assert set(IDS) <= set(text.split())
        assert set(" ".join(VERBS).split()) <= set(text.split())
        assert "alt-z" in text and "^t" not in text
        before = lines(app)
        await pilot.press("pagedown")
        await pilot.pause()
        assert lines(app) != before
        await pilot.press("escape")
        assert not isinstance(app.screen, KeyScreen)

    played(app, steps)


def test_typing_narrows_the_list_of_keys_and_verbs(tmp_path: Path) -> None:
    app = Still(tmp_path)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f1")
        await pilot.pause()
        await typed(pilot, "filter")
        await pilot.pause()
        assert isinstance(app.screen, KeyScreen)
        text = app.screen._list.text()
        assert "neurons.filter" in text and "app.zoom" not in text
        assert any("neurons.filter" in row for row in lines(app))
        await pilot.press("ctrl+u")
        await typed(pilot, "turn off")  # words of two verbs that neither shows
        assert {"ablate", "suppress"} <= set(app.screen._list.text().split())
        await pilot.press("ctrl+u")
        await typed(pilot, "ptach")
        await pilot.pause()
        assert any("no match" in row for row in lines(app))
        await pilot.press("q", "question_mark", "down")
        assert isinstance(app.screen, KeyScreen)
        await pilot.press("escape")
        assert not isinstance(app.screen, KeyScreen)
        assert app.line.value == ""

    played(app, steps)


@pytest.mark.parametrize(
    ("keys", "shown"), [("ctrl+p", "^p"), ("f2", "F2"), ("escape,q", "esc q"), ("space", "space"), ("alt+x", "alt-x")]
)
def test_keys_are_written_short(keys: str, shown: str) -> None:
    assert pressed(keys) == shown


# The file


def test_the_file_of_a_user_applies(tmp_path: Path) -> None:
    home = written(tmp_path, 'theme = "light"\nmouse = false\n[keys]\n"app.palette" = "ctrl+g"\n"paper.up" = "x"\n')
    app = Still(home, theme="")
    assert (app.theme, app.mouse, app.preferences.wrong) == ("light", False, ())

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        assert not isinstance(app.screen, Palette)
        await pilot.press("ctrl+g")
        assert isinstance(app.screen, Palette)
        await pilot.press("escape")
        await pilot.pause()
        assert any("^g verbs" in row for row in lines(app))

    played(app, steps)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theme = ", "Invalid value"),
        ('theme = "pink"', "unknown theme 'pink'; themes: dark, light, 16-colour, no-colour"),
        ("mouse = 3", "mouse must be true or false"),
        ("keys = 3", "a table of ids and keys"),
        ("colour = 1", "unknown entry colour"),
        ('[keys]\n"app.pallete" = "f1"', "did you mean 'app.palette'?"),
        ('[keys]\n"app.palette" = 3', "app.palette needs keys in quotes"),
        ('[keys]\n"app.palette" = ""', "app.palette needs keys in quotes"),
        ('[keys]\n"app.palette" = "ctrl+m"', "ctrl+m is the same as enter to a terminal"),
        ('[keys]\n"app.palette" = "bogus"', "unknown key 'bogus'"),
        ('[keys]\n"app.palette" = "ctrl+t"', "ctrl+t is the key of app.zoom"),
    ],
)
def test_a_wrong_entry_of_app_toml_is_reported_with_a_hint_and_the_others_apply(
    tmp_path: Path, text: str, said: str
) -> None:
    home = written(tmp_path, text)
    found = preferences.read(home, IDS)
    assert len(found.wrong) == 1
    assert said in found.wrong[0]
    assert str(home / "app.toml") in found.wrong[0]
    assert found.keys == {}
    if "[keys]" in text:
        (home / "app.toml").write_text(f'theme = "light"\n{text}\n"app.jump" = "ctrl+g"\n')
        found = preferences.read(home, IDS)
        assert (found.theme, found.keys) == ("light", {"app.jump": "ctrl+g"})


def test_bytes_that_are_no_text_and_a_folder_in_its_place_are_told(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_bytes(b"\xff\xfe")
    assert len(preferences.read(tmp_path, IDS).wrong) == 1
    (tmp_path / "app.toml").unlink()
    (tmp_path / "app.toml").mkdir()
    assert len(preferences.read(tmp_path, IDS).wrong) == 1


def test_the_app_says_what_is_wrong(tmp_path: Path) -> None:
    app = Still(written(tmp_path, 'theme = "pink"\nmouse = 3\n'))

    async def steps(pilot: Pilot[str]) -> None:
        assert any("pink" in row for row in lines(app))
        assert any("(and 1 more)" in row for row in lines(app))

    played(app, steps)


def test_keys_can_be_swapped(tmp_path: Path) -> None:
    home = written(tmp_path, '[keys]\n"app.palette" = "ctrl+t"\n"app.zoom" = "ctrl+p"\n')
    found = preferences.read(home, IDS)
    assert found.wrong == ()
    app = Still(home)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("ctrl+p")
        assert app.workspace.zoomed
        await pilot.press("ctrl+t")
        assert isinstance(app.screen, Palette)

    played(app, steps)


# Themes


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"TERM": "xterm-256color"}, DARK),
        ({"TERM": "screen", "COLORTERM": "truecolor"}, DARK),
        ({"TERM": "linux"}, SIXTEEN),
        ({"TERM": "xterm-16color"}, SIXTEEN),
        ({"TERM": "xterm"}, SIXTEEN),
        ({}, SIXTEEN),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, NONE),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, DARK),
    ],
)
def test_a_terminal_gets_what_it_can_show(environment: dict[str, str], name: str) -> None:
    assert suited(environment) == name


def styles(app: WorkbenchApp) -> list[Style]:
    """Every style on the screen."""
    rows = app.screen._compositor.render_strips()
    return [segment.style for row in rows for segment in row if segment.style is not None]


KINDS = {
    SIXTEEN: {ColorType.DEFAULT, ColorType.STANDARD},
    NONE: set[ColorType](),
    DARK: {ColorType.TRUECOLOR},
    LIGHT: {ColorType.TRUECOLOR},
}


@pytest.mark.parametrize("name", THEMES)
@pytest.mark.parametrize("keys", [("f3",), ("ctrl+p",), ("f1",), ("ctrl+o",), ("f6", "ctrl+t")], ids="+".join)
def test_a_theme_has_its_colours_and_no_others(
    tmp_path: Path, recorded: list[Heard], name: str, keys: tuple[str, ...]
) -> None:
    app = Still(tmp_path, recorded, theme=name)

    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "abalte t")
        await pilot.press(*keys)
        await pilot.pause(0.2)
        found = {colour.type for style in styles(app) for colour in (style.color, style.bgcolor) if colour is not None}
        assert found <= KINDS[name]
        assert not any(style.blink or style.blink2 for style in styles(app))

    played(app, steps)


def test_the_focus_is_visible_without_colour(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded, theme=NONE)

    async def steps(pilot: Pilot[str]) -> None:
        assert not any("[3 Neurons]" in row for row in lines(app))
        assert any(style.reverse for style in styles(app))  # the cursor of the command line
        await pilot.press("f4")
        await pilot.pause()
        assert any("[3 Neurons]" in row for row in lines(app))

    played(app, steps)


def test_a_theme_is_kept_with_everything_else_in_the_file(tmp_path: Path) -> None:
    text = '# mine\ntheme = "dark" # the best\nmouse = false\n\n[keys]\n# a theme = "x"\n"app.jump" = "ctrl+g"\n'
    home = written(tmp_path, text)
    preferences.keep_theme(home, "no-colour")
    kept = (home / "app.toml").read_text()
    assert tomllib.loads(kept) == tomllib.loads(text) | {"theme": "no-colour"}
    assert "# mine" in kept and '# a theme = "x"' in kept


@pytest.mark.parametrize("text", ["", "mouse = false\n", '[keys]\n"app.jump" = "ctrl+g"\n'])
def test_a_theme_is_kept_in_a_file_that_had_none(tmp_path: Path, text: str) -> None:
    if text:
        written(tmp_path, text)
    preferences.keep_theme(tmp_path, "light")
    kept = tomllib.loads((tmp_path / "app.toml").read_text())
    assert kept == tomllib.loads(text) | {"theme": "light"}


def test_the_theme_chosen_in_the_palette_is_there_the_next_time(tmp_path: Path) -> None:
    app = Still(tmp_path)

    async def steps(pilot: Pilot[str]) -> None:
        await app.run_action("theme('16-colour')")
        await pilot.pause()
        assert app.theme == SIXTEEN

    played(app, steps)
    assert Still(tmp_path, theme="").theme == SIXTEEN


def test_a_theme_that_cannot_be_kept_holds_for_now_and_that_is_told(tmp_path: Path) -> None:
    app = Still(tmp_path)
    (tmp_path / "app.toml").mkdir()

    async def steps(pilot: Pilot[str]) -> None:
        await app.run_action("theme('light')")
        await pilot.pause()
        assert app.theme == LIGHT
        assert app.workspace.message_line.remark.wrong

    played(app, steps)
