"""The keys that turn what is in force: a line a press, several of them one line, and characters where one types."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from commands.grammar import parse
from tests.workbench.app.alone import lines
from tests.workbench.app.still import Still, played, until
from workbench.app.dial import Dial
from workbench.app.host_listener import Heard
from workbench.app.session_view import HistoryEntry

DOWN, UP = "left_square_bracket", "right_square_bracket"


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (DOWN, "strength -0.1"),
        (UP, "strength +0.1"),
        ("left_curly_bracket", "strength -0.1 --of alpha"),
        ("right_curly_bracket", "strength +0.1 --of alpha"),
        ("left_parenthesis", "strength -0.1 --of beta"),
        ("right_parenthesis", "strength +0.1 --of beta"),
    ],
)
def test_a_key_is_a_line_that_could_have_been_typed(tmp_path: Path, recorded: list[Heard], key: str, line: str) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", key)
        assert any(line in row for row in lines(app)[-4:])  # said at once
        await until(pilot, lambda: app.sent)
        assert app.sent == [line] and parse(line).verb == "strength"

    played(app, steps)


def test_presses_are_gathered_while_a_line_of_theirs_waits(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4")
        waiting = HistoryEntry("strength +0.1", "me", "t-1")
        app.view.waiting = [waiting]
        await pilot.press(*([UP] * 9), DOWN, DOWN)
        await pilot.pause(0.4)
        assert app.sent == []
        app.view.waiting = []
        await until(pilot, lambda: app.sent)
        assert app.sent == ["strength +0.7"]
        await pilot.press(UP, DOWN)
        await pilot.pause(0.4)
        assert app.sent == ["strength +0.7"]  # up and down again is nothing to send

    played(app, steps)


def test_in_the_command_line_the_strength_keys_are_characters(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press(DOWN, UP, "left_curly_bracket", "right_parenthesis")
        await pilot.pause(0.4)
        assert app.line.value == "[]{)" and app.sent == []

    played(app, steps)


def test_over_another_screen_they_turn_nothing(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", "f1")
        await pilot.press(UP)
        await pilot.pause(0.4)
        assert app.sent == []

    played(app, steps)


def test_another_key_can_be_put_in_their_place(tmp_path: Path, recorded: list[Heard]) -> None:
    (tmp_path / "app.toml").write_text('[keys]\n"app.strength_up" = "alt+up"\n')
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", UP, "alt+up")
        await until(pilot, lambda: app.sent)
        assert app.sent == ["strength +0.1"]

    played(app, steps)


def test_steps_of_two_kinds_are_two_lines() -> None:
    sent: list[str] = []
    dial = Dial(sent.append)
    assert dial.turn("", 1) == "strength +0.1" and dial.turn("", 1) == "strength +0.2"
    dial.turn("alpha", -1)
    dial.flush()
    assert sent == ["strength +0.2", "strength -0.1 --of alpha"] and not dial.waiting
