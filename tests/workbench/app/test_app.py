"""The app as a whole: where everything stands, where the focus goes, and what it does with a host that is real."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import Region
from textual.pilot import Pilot

from benchmarks.terminal import Terminal, workbench
from tests.workbench.app.alone import lines
from tests.workbench.app.still import Still, played, typed, until
from tests.workbench.host.conftest import (  # the fixtures among them are used by name
    client,  # noqa: F401
    done,
    kept,  # noqa: F401
    lasting,  # noqa: F401
    own_home,  # noqa: F401
    ready,  # noqa: F401
    tiny_folder,  # noqa: F401
)
from workbench.app import copying
from workbench.app.app import WorkbenchApp
from workbench.app.host_listener import Heard
from workbench.app.layout import GRID, JOBS, LETTERS, LINE, PROMPT, planned
from workbench.app.session_view import SessionView
from workbench.app.shell import PANES
from workbench.host.client import Client
from workbench.host.places import HostPaths
from workbench.host.starting import kill

# Where everything stands


@given(st.integers(0, 260), st.integers(0, 90), st.sampled_from([None, *PANES]), st.integers(0, 4))
def test_nothing_overlaps_and_nothing_leaves_the_screen(width: int, height: int, alone: int | None, said: int) -> None:
    plan = planned(width, height, alone, said)
    single = [plan.status, plan.tabs, plan.line, plan.message, plan.keys, *plan.panes.values()]
    regions = [region for region in single if region is not None]
    whole = Region(0, 0, width, height)
    for number, region in enumerate(regions):
        assert region in whole
        assert not any(region.overlaps(other) for other in regions[:number])
    if width and height:
        assert plan.line.height == 1 and plan.line.width >= 1
    rows = [plan.rule(row) for row in range(height)]
    assert all(len(row) == width for row in rows if row is not None)
    if width >= GRID[0] and height >= GRID[1] and alone is None:
        assert set(plan.panes) == set(PANES)
        assert all(region.width >= 18 and region.height >= 4 for at, region in plan.panes.items() if at != JOBS)


@pytest.mark.parametrize("size", [(160, 48), (100, 30)])
def test_a_large_screen_has_all_panes_each_with_its_number(
    tmp_path: Path, recorded: list[Heard], size: tuple[int, int]
) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        shown = "\n".join(lines(app))
        for number, kind in PANES.items():
            assert f" {number} {kind.heading} " in shown
            assert app.workspace.panes[number].display

    played(app, steps, size)


def test_a_small_screen_has_one_pane_under_tabs(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        for number, kind in PANES.items():
            await pilot.press(f"f{number + 1}")
            await pilot.pause()
            assert f"[{number} {kind.heading}]" in lines(app)[1]
            assert {at for at, pane in app.workspace.panes.items() if pane.display} == {number, JOBS}
            assert app.workspace.panes[number].has_focus_within

    played(app, steps, (80, 24))


@pytest.mark.parametrize("size", [(40, 10), (20, 5), (10, 3), (1, 1), (300, 2), (2, 90)])
def test_no_screen_is_too_small_to_type_in(tmp_path: Path, recorded: list[Heard], size: tuple[int, int]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        for number in PANES:
            await pilot.press(f"f{number + 1}", "down", "pagedown", "end")
        await pilot.press("ctrl+o", "w", "ctrl+t", "f1", "escape")
        await typed(pilot, "abalte x")
        await pilot.press("enter", "ctrl+u")
        await typed(pilot, "info")
        await pilot.press("enter")
        assert app.sent == ["info"]

    played(app, steps, size)


def test_a_change_of_size_keeps_what_is_typed_and_where_one_is(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await typed(pilot, "ablate top")
        await pilot.press("left", "f4", "down", "down")
        await pilot.pause()
        chosen = app.workspace.panes[3].chosen().split()[:2]
        for size in ((80, 24), (40, 10), (160, 48), (20, 5), (100, 30), (99, 30), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert app.workspace.panes[3].has_focus_within
            assert app.workspace.panes[3].chosen().split()[:2] == chosen
            assert (app.line.value, app.line.cursor_position) == ("ablate top", 9)
            assert any(PROMPT + "ablate top" in row for row in lines(app)) or size[0] < 40

    played(app, steps)


# Where the focus goes


def test_a_letter_jumps_to_every_place(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        for place, letter in LETTERS.items():
            await pilot.press("ctrl+o")
            await pilot.pause()
            assert all(f"({each})" in "\n".join(lines(app)) for each in LETTERS.values())
            await pilot.press(letter)
            await pilot.pause()
            assert app.workspace.focused == place
            assert f"({letter})" not in "\n".join(lines(app))
        assert app.line.value == ""

    played(app, steps)


def test_a_jump_that_leads_nowhere_leaves_the_focus_where_it_was(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        for key in ("escape", "z"):
            await pilot.press("f4", "ctrl+o", key)
            await pilot.pause()
            assert app.workspace.focused == 3
            assert "(t)" not in "\n".join(lines(app))
        await pilot.press("ctrl+o", "f5")
        await pilot.pause()
        assert app.workspace.focused == 4
        assert "(t)" not in "\n".join(lines(app))

    played(app, steps)


def test_escape_and_a_colon_lead_back_to_the_command_line(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        for key in ("escape", "colon"):
            for number in PANES:
                await pilot.press(f"f{number + 1}", key)
                assert app.workspace.focused == LINE
        assert app.line.value == ""

    played(app, steps)


def test_tab_goes_round_the_panes(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f2")
        seen = []
        for _ in PANES:
            seen.append(app.workspace.focused)
            await pilot.press("tab")
        assert set(seen) == set(PANES)
        assert app.workspace.focused == LINE
        await pilot.press("shift+tab")
        assert app.workspace.focused != LINE

    played(app, steps)


def test_zoom_gives_a_pane_the_screen_and_gives_it_back(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f6")
        await pilot.pause()
        before = lines(app)
        await pilot.press("ctrl+t")
        await pilot.pause()
        assert app.workspace.panes[5].size.width == app.size.width
        assert "[5 Layer map]" in lines(app)[1]
        await pilot.press("ctrl+t")
        await pilot.pause()
        assert lines(app) == before

    played(app, steps)


def test_a_click_on_a_heading_is_as_good_as_its_key(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        for size in ((120, 40), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            rows = lines(app)
            row = next(at for at, text in enumerate(rows) if "4 Next token" in text)
            await pilot.click(offset=(rows[row].index("4 Next token"), row))
            await pilot.pause()
            assert app.workspace.focused == 4
            await pilot.press("f2")

    played(app, steps)


# What a pane asks for


def test_marks_become_a_line_to_go_on_with(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", "space", "space", "a")
        await pilot.pause()
        assert app.line.value.startswith("ablate L")
        assert app.line.has_focus
        assert app.sent == []

    played(app, steps)


def test_copying_fills_the_clipboard_and_a_file_of_the_owner_alone(tmp_path: Path, recorded: list[Heard]) -> None:
    app = Still(tmp_path, recorded)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", "y")
        await pilot.pause()
        text = app.workspace.panes[3].chosen()
        assert text and app.clipboard == text
        file = tmp_path / "copied.txt"
        assert file.read_text() == text
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert f"copied {len(text):,} characters" in app.workspace.message_line.remark.text
        await pilot.press("enter", "y")
        await pilot.pause()
        assert file.read_text() == app.clipboard != text

    played(app, steps)


def test_where_the_copy_cannot_be_written_that_is_told_and_the_clipboard_has_it(
    tmp_path: Path, recorded: list[Heard]
) -> None:
    app = Still(tmp_path, recorded)
    (tmp_path / "copied.txt").mkdir()

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f4", "y")
        await pilot.pause()
        assert app.clipboard
        assert app.workspace.message_line.remark.wrong

    played(app, steps)


@pytest.mark.parametrize("key", ["e", "f9"])
def test_where_there_is_no_other_program_to_go_to_that_is_told(tmp_path: Path, key: str) -> None:
    app = Still(tmp_path)

    async def steps(pilot: Pilot[str]) -> None:
        await pilot.press("f2", key)
        await pilot.pause()
        assert "browser" in app.workspace.message_line.remark.text

    played(app, steps)


def test_the_editor_is_the_users_or_one_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sessions.errors import WorkbenchError

    assert copying.editor({"VISUAL": "code --wait", "EDITOR": "vi"}) == ["code", "--wait"]
    assert copying.editor({"EDITOR": "vi"}) == ["vi"]
    monkeypatch.setenv("PATH", str(tmp_path))
    for environment in ({}, {"EDITOR": "'"}):
        with pytest.raises(WorkbenchError, match=r"editor|EDITOR"):
            copying.editor(environment)
    with pytest.raises(WorkbenchError, match="does not start"):
        copying.edit("text", ["no-such-editor"])


# With a host


def told(app: WorkbenchApp) -> list[tuple[str, object]]:
    """What the view has, as far as two of them can be compared."""
    return [(entry.line, entry.outcome) for entry in app.view.entries]


def idle(app: WorkbenchApp) -> bool:
    return not app.view.host and app.view.running is None and not app.view.waiting and app.sender.idle


async def entered(pilot: Pilot[str], app: WorkbenchApp, line: str) -> None:
    """Enter a line and wait for its end."""
    count = len(app.view.entries)
    app.line.put(line)
    await pilot.press("enter")
    await until(pilot, lambda: len(app.view.entries) > count and idle(app), 60)


def test_who_comes_late_sees_what_who_was_there_sees(own_home: Path, tiny_folder: Path) -> None:  # noqa: F811
    early = WorkbenchApp("one", own_home, str(tiny_folder), theme="dark")
    shown: list[list[str]] = []
    boards: list[SessionView] = []

    async def all_of_it(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: early.view.state.model and idle(early), 60)
        await entered(pilot, early, "prompt --raw the hen in the")
        await entered(pilot, early, "generate --max-tokens 8")
        await entered(pilot, early, "discover --top 20")
        await entered(pilot, early, "neurons top5")
        await entered(pilot, early, "ablate top5 --max-tokens 4")
        await entered(pilot, early, "load nowhere")
        await entered(pilot, early, "top 5")
        assert all(entry.outcome is not None for entry in early.view.entries)
        await pilot.press("escape")
        await pilot.pause(0.2)
        shown.append(lines(early))
        boards.append(early.view)

    played(early, all_of_it, (160, 48))
    late = WorkbenchApp("one", own_home, str(tiny_folder), theme="dark")

    async def the_end(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: idle(late) and len(late.view.entries) == len(early.view.entries), 60)
        await pilot.pause(0.2)
        shown.append(lines(late))

    played(late, the_end, (160, 48))
    assert told(early) == told(late)
    assert early.view.state == late.view.state
    assert early.view.circuit == late.view.circuit
    for number in PANES:
        assert early.workspace.panes[number].text() == late.workspace.panes[number].text()
    assert [row[:56] for row in shown[0][1:-4]] == [row[:56] for row in shown[1][1:-4]]


def test_another_model_is_not_replaced_unasked(kept: Client) -> None:  # noqa: F811
    app = WorkbenchApp("one", kept.home, "smollm2", theme="dark")

    async def steps(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: app.line.value)
        assert app.line.value == "model smollm2"
        assert f"one has {app.view.state.model} open" in app.workspace.message_line.remark.text
        assert "--host" in app.workspace.message_line.remark.hint
        assert not any("smollm2" in entry.line for entry in app.view.entries)

    played(app, steps)


def test_escape_stops_the_line_that_runs(kept: Client) -> None:  # noqa: F811
    app = WorkbenchApp("one", kept.home, theme="dark")

    async def steps(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: idle(app))
        app.line.put("generate --max-tokens 100000")
        await pilot.press("enter")
        await until(pilot, lambda: app.view.running is not None and app.view.running.texts)
        await pilot.press("escape")
        await until(pilot, lambda: app.view.running is None, 5)
        outcome = app.view.entries[-1].outcome
        assert outcome is not None and outcome.error == "cancelled"  # type: ignore[union-attr]
        await pilot.pause(1.6)
        assert app.workspace.message_line.remark.text == ""

    played(app, steps)


def test_a_line_for_a_host_that_is_gone_is_sent_when_it_is_back(ready: Client) -> None:  # noqa: F811
    app = WorkbenchApp("one", ready.home, theme="dark")

    async def steps(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: idle(app))
        kill("one", ready.home)
        await until(pilot, lambda: app.view.host and app.listener.client is None)
        app.line.put("set top 7")
        await pilot.press("enter")
        await until(pilot, lambda: idle(app) and app.view.entries and app.view.entries[-1].line == "set top 7", 60)
        assert app.view.state.model

    played(app, steps)


def test_the_host_can_be_ended_from_the_palette_and_comes_back_as_it_was(ready: Client) -> None:  # noqa: F811
    done(ready, "discover --top 20")
    app, place = WorkbenchApp("one", ready.home, theme="dark"), HostPaths(ready.home, "one")

    async def steps(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: idle(app) and app.view.circuit is not None)
        before = app.view.state
        await pilot.press("ctrl+p")
        await typed(pilot, "end the host")
        await pilot.press("enter")
        await until(pilot, lambda: (holder := place.holder()) is not None and holder.pid not in (0, ready.pid), 60)
        await until(pilot, lambda: idle(app) and app.view.state == before, 60)
        assert app.view.circuit is not None

    played(app, steps)


def test_many_lines_are_sent_in_order_up_to_the_first_that_is_wrong(kept: Client) -> None:  # noqa: F811
    app = WorkbenchApp("one", kept.home, theme="dark")

    async def steps(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: idle(app))
        app.line.pasted = ["set top 5", "set rows 6", "abalte", "set top 8"]
        await pilot.press("enter")
        await until(pilot, lambda: "line 3 of 4" in app.workspace.message_line.remark.text)
        await until(pilot, lambda: [entry.line for entry in app.view.entries[-2:]] == ["set top 5", "set rows 6"])
        assert app.line.pasted == ["abalte", "set top 8"]

    played(app, steps)


# In a terminal


def test_other_programs_get_the_terminal_and_give_it_back(kept: Client, tmp_path: Path) -> None:  # noqa: F811
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, shutil, sys\n"
        f"shutil.copy(sys.argv[1], {str(tmp_path / 'seen.txt')!r})\n"
        f"pathlib.Path({str(tmp_path / 'where.txt')!r}).write_text(sys.argv[1])\n"
        "print('EDITING', flush=True)\n"
    )
    more = {"EDITOR": f"{sys.executable} {editor}", "VISUAL": ""}
    with Terminal(workbench("--host", "one", "--home", kept.home), more=more) as terminal:
        terminal.until("float32 cpu")
        terminal.press("f8", "e")
        where = tmp_path / "where.txt"
        terminal.until(lambda: where.exists() and where.read_text() and not Path(where.read_text()).exists())
        assert "tiny" in (tmp_path / "seen.txt").read_text()
        terminal.until("7 Shelf")
        terminal.press("f9")
        terminal.until("ctrl-d leaves")
        terminal.enter("set top 9")
        terminal.until("top 9")
        terminal.still()
        terminal.press("f9")
        terminal.until(lambda: "7 Shelf" in terminal.shown and "set top 9" in terminal.shown)
        terminal.press("ctrl+q")
        assert terminal.exit_code() == 0
        assert "host one keeps running · workbench attach one attaches again" in terminal.raw().decode()


def test_bytes_that_are_no_text_are_refused_and_what_comes_with_them_does_not_run(kept: Client) -> None:  # noqa: F811
    with Terminal(workbench("--host", "one", "--home", kept.home)) as terminal:
        terminal.until("float32 cpu")
        os.write(terminal._master, b"\x1b[200~set rows 41\ncaf\xe9\nset rows 42\r\x1b[201~")
        terminal.until("not valid UTF-8")
        terminal.enter("set rows 43")
        terminal.until("rows 43")
        assert "rows 41" not in terminal.shown and "rows 42" not in terminal.shown
        terminal.press("ctrl+q")
        assert terminal.exit_code() == 0
