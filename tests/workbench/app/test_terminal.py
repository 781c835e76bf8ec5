"""The app from end to end, in a real terminal, on a host with a tiny model: what happens to it, and what survives."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.terminal import FRAME, Terminal, workbench
from sessions import journal
from sessions.events import Result
from tests.workbench.host.conftest import (  # the fixtures among them are used by name
    client,  # noqa: F401
    done,
    idle,
    kept,  # noqa: F401
    lasting,  # noqa: F401
    own_home,  # noqa: F401
    ready,  # noqa: F401
    tiny_folder,  # noqa: F401
    until,
)
from workbench.host.client import Client
from workbench.host.starting import find, find_or_start

#: What must not be in a process that only shows things.
HEAVY = re.compile(r"libtorch|_multiarray_umath")
LONG = "generate --max-tokens {tokens}"
#: Modes that a terminal has to be out of when the app is: the second screen, the mouse, focus, pasting.
OFF = {1049, 1000, 1002, 1003, 1004, 1006, 1015, 1016, 2004, 2048}
#: A colour, in the parameters of an SGR sequence.
COLOURS = re.compile(r"(?:^|;)(3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;|$)")

Opened = Callable[..., Terminal]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens the app on a home's host `one`; what it opened ends with the test."""
    terminals = []

    def open_(home: Path, columns: int = 120, rows: int = 40, prefix: tuple[str, ...] = (), **more: str) -> Terminal:
        command = [*prefix, *workbench("--host", "one", "--home", home)]
        terminals.append(Terminal(command, columns, rows, more))
        return terminals[-1]

    yield open_
    for terminal in terminals:
        terminal.close()


def attached(terminal: Terminal) -> Terminal:
    """Once it shows what the host holds."""
    terminal.until("tiny")
    terminal.still()
    return terminal


def maps(terminal: Terminal) -> str:
    return Path(f"/proc/{terminal.pid}/maps").read_text()


def records(host: Client, line: str) -> list[journal.Record]:
    found, warnings = journal.read(host.place.folder / "journal.jsonl")
    assert warnings == []
    return [record for record in found if record.line == line]


def runs(host: Client, line: str) -> bool:
    busy = host.welcome().busy
    return busy is not None and busy.line == line


def is_restored(terminal: Terminal) -> bool:
    """Whether the terminal is again as a shell expects it."""
    raw = terminal.raw()
    keyboard = len(re.findall(rb"\x1b\[>\d+u", raw)) - raw.count(b"\x1b[<u")
    return not terminal.modes & OFF and 25 in terminal.modes and not keyboard and terminal.is_as_before


# The first things


def test_the_app_is_there_before_torch_and_never_imports_it(ready: Client, opened: Opened) -> None:  # noqa: F811
    terminal = opened(ready.home)
    terminal.until("History")
    assert not HEAVY.search(maps(terminal))
    attached(terminal)
    terminal.enter(LONG.format(tokens=20))
    until(lambda: records(ready, LONG.format(tokens=20)) != [])
    terminal.enter("discover --top 5")
    terminal.until("discover --top 5")
    idle(ready)
    terminal.still()
    assert "libtorch" not in maps(terminal)


def test_the_app_starts_the_host_where_there_is_none(own_home: Path, opened: Opened) -> None:  # noqa: F811
    terminal = opened(own_home)
    terminal.until("History")
    until(lambda: find("one", own_home) is not None)
    terminal.enter("set rows 7")
    terminal.until("rows 7")


def test_an_idle_app_writes_nothing(kept: Client, opened: Opened) -> None:  # noqa: F811
    terminal = attached(opened(kept.home))
    terminal.still(1)
    since = time.monotonic()
    time.sleep(5)
    assert terminal.raw(since) == b""


# The line drops


@pytest.mark.parametrize("ending", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL, None], ids=str)
def test_a_line_goes_on_when_its_terminal_dies(
    kept: Client,  # noqa: F811
    opened: Opened,
    ending: signal.Signals | None,
) -> None:
    line = LONG.format(tokens=300 + (ending or 0))
    terminal = attached(opened(kept.home))
    terminal.enter(line)
    until(lambda: runs(kept, line))
    if ending is None:
        terminal.hang_up()
    else:
        terminal.kill(ending)
    terminal.exit_code()
    assert ending is signal.SIGKILL or ending is None or is_restored(terminal)
    idle(kept)
    assert [record.outcome for record in records(kept, line)] == ["result"]
    again = attached(opened(kept.home))
    again.until(line)
    again.enter("set rows 9")
    again.until("rows 9")


def test_two_terminals_show_the_same_and_who_typed_it(kept: Client, opened: Opened) -> None:  # noqa: F811
    one, two = attached(opened(kept.home)), attached(opened(kept.home))
    one.enter("set rows 11")
    two.until("set rows 11")
    two.until("pts/")
    two.enter("set rows 12")
    one.until("set rows 12")


# The terminal is given back


def test_leaving_gives_the_terminal_back(kept: Client, opened: Opened) -> None:  # noqa: F811
    for leave in ("quit\r", "\x11"):  # ctrl+q
        terminal = attached(opened(kept.home))
        terminal.type(leave)
        assert terminal.exit_code() == 0
        assert is_restored(terminal)
    assert kept.welcome().busy is None


def test_a_defect_gives_the_terminal_back_and_says_what_it_was(kept: Client, opened: Opened) -> None:  # noqa: F811
    code = """
from workbench.app.panes.jobs import JobsPane
def show(*_):
    raise RuntimeError("a defect of the jobs")
JobsPane.show = show
from workbench.cli import main
main(prog_name="workbench")
"""
    with Terminal([sys.executable, "-P", "-c", code, "--host", "one", "--home", str(kept.home)]) as terminal:
        assert terminal.exit_code() not in (0, -signal.SIGKILL)
        assert is_restored(terminal)
        assert b"a defect of the jobs" in terminal.raw()
    assert kept.welcome().busy is None


def test_without_colour_no_colour_is_written(kept: Client, opened: Opened) -> None:  # noqa: F811
    terminal = attached(opened(kept.home, NO_COLOR="1"))
    terminal.enter("abalte")
    terminal.enter("generate --max-tokens 10")
    idle(kept)
    for number in range(2, 9):
        terminal.press(f"f{number}")
    terminal.still()
    codes = re.findall(r"\x1b\[([\d;]*)m", terminal.raw().decode(errors="replace"))
    assert codes
    assert [code for code in codes if COLOURS.search(code)] == []


# Bad treatment


def test_keys_that_come_all_at_once_are_taken_in_their_order(kept: Client, opened: Opened) -> None:  # noqa: F811
    """As they do over a slow line, or where somebody types before the app is there."""
    terminal = attached(opened(kept.home))
    terminal.type("nonsense\x15set rows 31\rset rows 32\rxyz\x01\x0bset rows 33\r")
    terminal.until("rows 33")
    idle(kept)
    assert [len(records(kept, f"set rows {number}")) for number in (31, 32, 33)] == [1, 1, 1]


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (80, 24), (20, 4), (1, 1)])
def test_a_small_terminal_is_enough_to_type_in(
    kept: Client,  # noqa: F811
    opened: Opened,
    columns: int,
    rows: int,
) -> None:
    terminal = opened(kept.home, columns, rows)
    terminal.until(lambda: 1049 in terminal.modes, 60)  # before the app has the screen, keys are the terminal's
    terminal.still(1)
    line = f"set rows {20 + columns}"
    terminal.enter(line)
    until(lambda: records(kept, line) != [])
    if columns >= 40:
        terminal.until(f"rows {20 + columns}")
    terminal.resize(120, 40)
    terminal.until("Layer map")


def test_a_storm_of_sizes_while_text_streams(kept: Client, opened: Opened) -> None:  # noqa: F811
    terminal = attached(opened(kept.home))
    line = LONG.format(tokens=400)
    terminal.enter(line)
    until(lambda: runs(kept, line))
    for number in range(50):
        terminal.resize((120, 40, 83, 21, 1, 160)[number % 6], (40, 10, 24, 3, 1, 48)[number % 6])
        time.sleep(0.04)
    terminal.resize(120, 40)
    idle(kept)
    terminal.until("Layer map")
    terminal.enter("set rows 13")
    terminal.until("rows 13")
    assert [record.outcome for record in records(kept, line)] == ["result"]


def test_a_megabyte_is_pasted(kept: Client, opened: Opened) -> None:  # noqa: F811
    terminal = attached(opened(kept.home))
    start = time.monotonic()
    terminal.paste("prompt " + "the hen, ½ 日本 " * 60_000)
    terminal.until("840,007 characters")
    assert time.monotonic() - start < 5
    terminal.paste("one\ntwo\n" * 100_000)
    terminal.still(1, most=60)
    terminal.press("escape")
    terminal.still()
    terminal.enter("set rows 14")
    terminal.until("rows 14")


def test_fast_text_is_drawn_fifteen_times_a_second_at_most(kept: Client, opened: Opened) -> None:  # noqa: F811
    terminal = attached(opened(kept.home))
    since = time.monotonic()
    done(kept, LONG.format(tokens=600))
    terminal.still(0.5)
    frames = [chunk.at for chunk in terminal.written(since) for _ in range(chunk.data.count(FRAME))]
    assert max(sum(at <= other < at + 1 for other in frames) for at in frames) <= 15


# Bad hosts


def test_a_host_that_is_killed_is_told_and_comes_back_as_it_was(ready: Client, opened: Opened) -> None:  # noqa: F811
    terminal = attached(opened(ready.home))
    line = LONG.format(tokens=100_000)
    terminal.enter(line)
    until(lambda: runs(ready, line))
    os.kill(ready.pid, signal.SIGKILL)
    terminal.until("host ended")
    terminal.enter("tokens")  # what is typed now waits for the host
    until(lambda: (found := find("one", ready.home)) is not None and found.pid != ready.pid)
    found = find_or_start("one", ready.home)
    until(lambda: found.welcome().state.model != "" and records(found, "tokens") != [])
    assert found.welcome().state.prompt == ready.state().prompt or found.welcome().state.prompt
    terminal.until("tokens")
    terminal.until("tiny")


def test_the_socket_of_a_dead_host_is_no_hindrance(ready: Client, opened: Opened) -> None:  # noqa: F811
    os.kill(ready.pid, signal.SIGKILL)
    until(lambda: ready.place.holder() is None)
    terminal = attached(opened(ready.home))
    terminal.enter("set rows 15")
    terminal.until("rows 15")


def test_a_model_that_does_not_open_leaves_the_old_one(kept: Client, opened: Opened) -> None:  # noqa: F811
    before = kept.welcome().state.model
    terminal = attached(opened(kept.home))
    terminal.enter("model /nowhere/at/all")
    terminal.until("✗")
    idle(kept)
    assert kept.welcome().state.model == before
    done(kept, "generate --max-tokens 3")


def test_a_full_disk_is_told_and_nothing_ends(own_home: Path, opened: Opened) -> None:  # noqa: F811
    """Files may have 40 blocks, which is what a full disk looks like to the journal and the state."""
    terminal = opened(own_home, prefix=("sh", "-c", 'ulimit -f 40; exec "$0" "$@"'))
    until(lambda: find("one", own_home) is not None)
    found = find_or_start("one", own_home)
    for number in range(60):
        (result,) = [event for event in found.run(f"help discover # {number}") if isinstance(event, Result)]
        if result.value.notes:
            break
    else:
        raise AssertionError("the disk did not become full")
    terminal.until("cannot write the journal")
    terminal.enter("set rows 16")
    terminal.until("rows 16")
    assert found.welcome().busy is None


@pytest.mark.parametrize(
    "locale",
    [{"PYTHONIOENCODING": "iso-8859-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["latin-1", "C"],
)
def test_lines_are_drawn_whatever_the_locale_says(kept: Client, opened: Opened, locale: dict[str, str]) -> None:  # noqa: F811
    terminal = attached(opened(kept.home, **locale))
    screen = "\n".join(terminal.lines)
    assert "\\u25" not in screen
    assert "│" in screen
