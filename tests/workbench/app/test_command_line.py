"""The command line: history, completion, errors before anything is sent, and what is pasted."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from commands.grammar import VERBS
from tests.workbench.app.alone import lines
from tests.workbench.app.still import Still, played, typed, until
from workbench.app.bars import Remark
from workbench.app.line_input import LONGEST
from workbench.history import History


@pytest.fixture
def app(tmp_path: Path) -> Still:
    return Still(tmp_path)


# What is sent


def test_a_line_is_sent_and_the_line_is_empty_again(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "set top 50")
        await pilot.press("enter")
        assert app.sent == ["set top 50"]
        assert app.line.value == ""

    played(app, steps)


@pytest.mark.parametrize(
    ("line", "said", "column"),
    [
        ("abalte top10", "there is no verb 'abalte'", 0),
        ('prompt "open', "the quote at column 8 is not closed", 7),
        ("generate --bogus", "generate has no option --bogus", 9),
    ],
)
def test_a_line_that_is_wrong_is_not_sent_and_stays(app: Still, line: str, said: str, column: int) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        app.line.put(line)
        await pilot.press("enter")
        await pilot.pause()
        assert app.sent == []
        assert app.line.value == line
        assert app.workspace.message_line.remark.text == said
        below = lines(app)[app.workspace.plan.line.y + 1 :]
        assert next(row for row in below if "^" in row).index("^") == len("wb> ") + column
        assert any(said in row for row in below) and any("→" in row for row in below)

    played(app, steps)


def test_a_wrong_word_is_told_when_it_is_finished_and_not_before(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "abalte")
        await pilot.pause(0.3)
        assert app.workspace.message_line.remark == Remark()
        await typed(pilot, " t")
        await until(pilot, lambda: "no verb" in app.workspace.message_line.remark.text)
        await pilot.press("backspace")
        await pilot.pause()
        assert app.workspace.message_line.remark == Remark()

    played(app, steps)


def test_a_quote_that_is_being_typed_is_no_error(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        app.line.put('prompt "What is the ')
        await pilot.pause(0.3)
        assert app.workspace.message_line.remark == Remark()

    played(app, steps)


@pytest.mark.parametrize("line", ["", "   ", "# remark"])
def test_blank_lines_and_remarks_are_not_sent(app: Still, line: str) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        app.line.put(line)
        await pilot.press("enter")
        assert app.sent == []

    played(app, steps)


# Where an error stands


@pytest.mark.parametrize("width", [10, 20, 40, 80, 200])
@pytest.mark.parametrize("pointer", [None, 0, 7, 30, 150])
def test_what_is_said_fits_in_four_rows_and_points_at_its_column(width: int, pointer: int | None) -> None:
    remark = Remark("there is no verb 'abalte'", "did you mean ablate?", 3, wrong=True)
    rows = remark.rows(width, pointer)
    assert 1 <= len(rows) <= 4
    if pointer is not None and pointer < width:
        assert sum(row.count("^") for row in rows) == 1
        assert next(row for row in rows if "^" in row).index("^") == pointer


# Completion


def test_tab_completes_what_only_one_thing_can_become(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "disc")
        await pilot.press("tab")
        await until(pilot, lambda: app.line.value == "discover ")
        assert not app.workspace.choices.display

    played(app, steps)


def test_tab_offers_what_a_word_can_become_with_what_it_means(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "se")
        await pilot.press("tab")
        await until(pilot, lambda: app.workspace.choices.display)
        await pilot.pause()
        names = [choice.name for choice in app.workspace.choices.choices]
        assert names == ["seed", "set", "set-to"]
        row = next(row for row in lines(app) if "▸ seed" in row)
        assert app.workspace.choices.choices[0].about[:10] in row
        await pilot.press("down", "enter")
        assert app.line.value == "set "
        await pilot.pause()
        assert not app.workspace.choices.display
        assert app.sent == []

    played(app, steps)


def test_escape_closes_the_list_and_keeps_the_line(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "se")
        await pilot.press("tab")
        await until(pilot, lambda: app.workspace.choices.display)
        await pilot.press("escape")
        await pilot.pause()
        assert not app.workspace.choices.display
        assert app.line.value == "se"

    played(app, steps)


def test_typing_on_narrows_the_list_and_enter_runs_what_is_typed(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "se")
        await pilot.press("tab")
        await until(pilot, lambda: app.workspace.choices.display)
        await typed(pilot, "t")
        await until(pilot, lambda: [each.name for each in app.workspace.choices.choices] == ["set", "set-to"])
        await pilot.press("enter")
        await pilot.pause()
        assert app.sent == ["set"]
        assert not app.workspace.choices.display

    played(app, steps)


@pytest.mark.parametrize("size", [(40, 10), (20, 5), (8, 2)])
def test_the_list_never_leaves_a_small_screen(app: Still, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("tab")
        await until(pilot, lambda: app.workspace.choices.display)
        await pilot.pause()
        assert app.workspace.region.contains_region(app.workspace.choices.region)

    played(app, steps, size)


def test_the_example_of_a_verb_stands_in_grey_and_is_taken_with_a_key(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "ablate ")
        example = VERBS["ablate"].example
        assert any(f"wb> {example}" in row for row in lines(app))
        await pilot.press("right")
        assert app.line.value == example

    played(app, steps)


# History


def test_lines_typed_before_come_back_by_what_is_typed_of_them(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    for line in ("set top 50", "discover ' Austin'", "set rows 7"):
        history.add(line)
    app = Still(tmp_path)

    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "set ")
        assert app.line.ghost == "rows 7"
        await pilot.press("up")
        assert app.line.value == "set rows 7"
        await pilot.press("up")
        assert app.line.value == "set top 50"
        await pilot.press("up", "down")
        assert app.line.value == "set rows 7"
        await pilot.press("down")
        assert app.line.value == "set "

    played(app, steps)


def test_a_search_finds_what_stands_anywhere_in_a_line(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    for line in ("set top 50", "discover ' Austin'", "set rows 7"):
        history.add(line)
    app = Still(tmp_path)

    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "Aus")
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert [each.name for each in app.workspace.choices.choices] == ["discover ' Austin'"]
        await pilot.press("enter")
        assert app.line.value.strip() == "discover ' Austin'"

    played(app, steps)


def test_history_is_one_with_that_of_the_line_repl(tmp_path: Path) -> None:
    from prompt_toolkit.history import FileHistory

    path = tmp_path / "history"
    FileHistory(str(path)).store_string("typed in the repl")
    history = History(path)
    assert history.lines == ["typed in the repl"]
    history.add("typed in the app")
    assert list(FileHistory(str(path)).load_history_strings()) == ["typed in the app", "typed in the repl"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_history_that_cannot_be_written_lives_in_memory(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    history = History(tmp_path / "history")
    history.add("set top 50")
    assert history.lines == ["set top 50"]


def test_a_long_history_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("".join(f"\n# time\n+set top {number}\n" for number in range(100_000)))
    found = History(path).lines
    assert found[-1] == "set top 99999"
    assert 1000 < len(found) < 100_000
    assert all(line.startswith("set top ") for line in found)


# What is pasted


def paste(app: Still, text: str) -> None:
    app.post_message(events.Paste(text))


def test_several_lines_wait_for_enter_and_run_in_order(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        paste(app, "set top 50\nset rows 7\r\n# a remark\n\nset seed 1\n")
        await pilot.pause()
        assert "3 lines pasted" in app.workspace.message_line.remark.text
        assert app.sent == []
        await pilot.press("enter")
        assert app.sent == ["set top 50", "set rows 7", "set seed 1"]

    played(app, steps)


def test_escape_forgets_what_was_pasted_and_brings_back_what_was_typed(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "set ")
        paste(app, "top 50\nset rows 7\n")
        await pilot.pause()
        await pilot.press("escape")
        assert app.line.value == "set "
        await pilot.press("enter")
        assert app.sent == ["set"]

    played(app, steps)


def test_one_line_goes_to_where_the_cursor_is(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        app.line.put("ablate  --rows 3")
        app.line.cursor_position = len("ablate ")
        paste(app, "L24/N1005\n")
        await pilot.pause()
        assert app.line.value == "ablate L24/N1005 --rows 3"
        assert app.line.cursor_position == len("ablate L24/N1005")

    played(app, steps)


def test_a_line_that_is_too_long_is_refused_and_nothing_is_lost(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "prompt ")
        paste(app, "x" * 2**20)
        await pilot.pause()
        assert f"{2**20 + len('prompt '):,} characters" in app.workspace.message_line.remark.text
        assert app.line.value == "prompt "
        paste(app, "x" * (LONGEST - len("prompt ")))
        await pilot.pause()
        assert len(app.line.value) == LONGEST

    played(app, steps)


def test_a_megabyte_of_lines_is_taken_in_at_once(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        paste(app, "set top 50\n" * 100_000)
        await pilot.pause()
        assert "100,000 lines pasted" in app.workspace.message_line.remark.text
        assert loop.time() - start < 1

    played(app, steps)


def test_nothing_pasted_or_typed_moves_the_cursor_of_the_terminal(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        paste(app, "prompt \x1b[2J\x07 \u202e\u200b end")
        await pilot.pause()
        row = next(row for row in lines(app) if row.startswith("wb> "))
        assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(row)
        assert r"\u202e" in row
        assert "\u202e" in app.line.value

    played(app, steps)


@pytest.mark.parametrize("text", ["日本語" * 40, "a" * 300, "\u202e" * 50, "é́" * 60])
def test_the_cursor_is_always_in_sight(app: Still, text: str) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        app.line.put(f"prompt {text}")
        for key in ("home", "end", *["left"] * 5, "home", *["right"] * 5):
            await pilot.press(key)
            assert 0 <= app.line.cell(app.line.cursor_position) < app.line.size.width

    played(app, steps, (60, 20))


def test_keys_of_a_shell_work(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        app.line.put("ablate top10 3")
        await pilot.press("ctrl+w")
        assert app.line.value == "ablate top10 "
        await pilot.press("ctrl+a", "x", "ctrl+e", "y")
        assert app.line.value == "xablate top10 y"
        await pilot.press("ctrl+u")
        assert app.line.value == ""
        app.line.put("abc")
        await pilot.press("ctrl+b", "ctrl+b", "ctrl+k")
        assert app.line.value == "a"
        await pilot.press("ctrl+c")
        assert app.line.value == ""

    played(app, steps)


def test_ctrl_d_on_an_empty_line_leaves(app: Still) -> None:
    async def steps(pilot: Pilot[str]) -> None:
        app.line.put("ab")
        app.line.cursor_position = 0
        await pilot.press("ctrl+d")
        assert app.line.value == "b"
        await pilot.press("backspace", "right", "backspace", "ctrl+d")
        await pilot.pause()
        assert app.return_value == "" or app._exit

    played(app, steps)
