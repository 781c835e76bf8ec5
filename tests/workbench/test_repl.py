"""The REPL: typed at, piped into, and interrupted."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.cells import cell_len, split_text
from rich.console import Console

from commands import run
from sessions.events import State
from sessions.session import Session
from workbench.lines import Lines
from workbench.repl import Repl, _History, _pointer, _Words, described, prompting
from workbench.source import Local

KEYS = {"ctrl-c": "\x03", "ctrl-d": "\x04", "tab": "\t", "up": "\x1b[A", "enter": "\r"}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path / "home")
    yield session
    session.close()


def typed(session: Session, *keys: str) -> tuple[str, Repl]:
    """What is shown when these keys are typed: text as it stands, keys by name."""
    out = io.StringIO()
    repl = Repl(Local(session), Lines(Console(file=out, width=80, markup=False)))
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text("".join(KEYS.get(key, key) for key in keys))
        repl.converse(prompting(Local(session)))
    return out.getvalue(), repl


def test_a_typed_line_is_run_and_not_repeated(own: Session) -> None:
    shown, repl = typed(own, "set top 50", "enter", "ctrl-d")
    assert shown == "top 50\n"
    assert not repl.failed


def test_quit_leaves(own: Session) -> None:
    shown, _ = typed(own, "quit", "enter", "set top 50", "enter")
    assert shown == ""


@pytest.mark.parametrize("line", ["exit", ":q"])
def test_leaving_has_other_names(own: Session, line: str) -> None:
    shown, _ = typed(own, line, "enter", "set top 50", "enter")
    assert shown == ""


class Screen(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_clear_clears_a_screen_and_writes_nothing_into_a_pipe(own: Session) -> None:
    shown, repl = typed(own, "clear", "enter", "ctrl-d")
    assert (shown, repl.failed) == ("", False)
    screen = Screen()
    lines = Lines(Console(file=screen, width=80, force_terminal=True, markup=False))
    Repl(Local(own), lines).run("clear", echo=False)
    assert screen.getvalue() == "\x1b[2J\x1b[H"


@pytest.mark.parametrize("line", ["help ablate", "ablate --help", "ablate -h", "ablate ?", "? ablate"])
def test_help_is_had_in_every_way_that_people_try(own: Session, line: str) -> None:
    shown, _ = typed(own, line, "enter", "ctrl-d")
    assert shown.startswith("ablate ") and "--live" in shown


def test_ctrl_c_at_the_prompt_gives_up_the_line_and_nothing_else(own: Session) -> None:
    shown, _ = typed(own, "set top 50", "ctrl-c", "set top 51", "enter", "ctrl-d")
    assert shown == "top 51\n"


def test_a_wrong_line_shows_the_place_the_reason_and_the_way_out(own: Session) -> None:
    shown, repl = typed(own, "set top 5", "enter", "  abalte top10", "enter", 'prompt "open', "enter", "ctrl-d")
    assert shown == (
        "top 5\n"
        "      ^\n"  # under the a, behind `wb> ` and two blanks
        "✗ there is no verb 'abalte'\n→ did you mean ablate?\n"
        "           ^\n"
        '✗ the quote at column 8 is not closed\n→ end it with "\n'
    )
    assert repl.failed


def test_blank_lines_and_comments_are_passed_over(own: Session) -> None:
    assert typed(own, "enter", "   ", "enter", "# remark", "enter", "ctrl-d")[0] == ""


def test_pasted_lines_are_run_one_by_one(own: Session) -> None:
    shown, _ = typed(own, "\x1b[200~set top 50\nset rows 7\n\x1b[201~", "enter", "ctrl-d")
    assert shown == "> set top 50\ntop 50\n\n> set rows 7\nrows 7\n"


def test_history_is_kept_for_the_next_session_and_for_the_owner_only(own: Session) -> None:
    typed(own, "set top 50", "enter", "ctrl-d")
    shown, _ = typed(Session(own.home), "up", "enter", "ctrl-d")
    assert shown == "top 50\n"
    assert stat.S_IMODE((own.home / "history").stat().st_mode) == 0o600


def test_history_lives_in_memory_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    history = _History(tmp_path / "history")
    history.append_string("set top 50")
    assert history.get_strings() == ["set top 50"]
    assert list(history.load_history_strings()) == []
    (tmp_path / "file").write_text("")
    _History(tmp_path / "file" / "history").append_string("x")


def test_completions_carry_what_they_mean(own: Session) -> None:
    line = "discover --v"
    found = list(_Words(Local(own)).get_completions(Document(line, len(line)), CompleteEvent()))
    assert [(c.text, c.start_position) for c in found] == [("--vs", -3)]
    assert "token" in found[0].display_meta_text


def test_the_state_is_one_safe_line() -> None:
    assert "no model" in described(State())
    held = State(model="smollm2", dtype="float32", device="cpu", prompt="a\n\x1b[2J", circuit="texas", circuit_size=200)
    assert described(held) == r'smollm2 float32 cpu │ circuit texas 200 │ "a\n\x1b[2J"'


@pytest.mark.parametrize("width", [20, 40, 80])
def test_the_pointer_stands_under_its_column_however_long_the_line(width: int) -> None:
    line = "generate " + "日本" * 30 + " --bogus"
    shown = _pointer(line, line.index("--bogus"), 4, width).split("\n")
    assert len(shown) == 2
    place = len(shown[1]) - 1
    assert split_text(shown[0], place)[1].startswith("--b")
    assert cell_len(shown[0]) <= width


# Piped


def piped(home: Path, text: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "workbench", "repl", "--home", str(home)]
    return subprocess.run(command, input=text, capture_output=True, timeout=60)


def test_piped_lines_are_run_whatever_fails(tmp_path: Path) -> None:
    done = piped(tmp_path, b"set top 50\nabalte\n\xff\xfe\nset rows 7")
    assert done.stdout.decode() == "> set top 50\ntop 50\n\n> abalte\n  ^\n\n> set rows 7\nrows 7\n"
    assert "no verb 'abalte'" in done.stderr.decode()
    assert "line 3 is not UTF-8" in done.stderr.decode()
    assert done.returncode == 1


def test_piped_lines_that_all_went_well_leave_with_0(tmp_path: Path) -> None:
    assert piped(tmp_path, b"set top 50\nquit\nabalte\n").returncode == 0
    assert piped(tmp_path, b"").returncode == 0


# In a terminal

SLOW = """
import sys, time
from commands import grammar
from commands.request import Request
from commands.verb import verb
from sessions.events import Progress, Steps
from sessions.results import Expected

@verb("wait", family="test", example="wait")
class Wait(Request, frozen=True):
    "Run for a long time, and stop when cancelled."

    def run(self, session) -> Steps[Expected]:
        yield from forever(session.cancel.look)

@verb("deaf", family="test", example="deaf")
class Deaf(Request, frozen=True):
    "Run for a long time, and never check for cancellation."

    def run(self, session) -> Steps[Expected]:
        yield from forever(lambda: None)

def forever(look):
    try:
        for step in range(1200):
            look()
            yield Progress("waiting", step, 1200, "naps")
            time.sleep(0.05)
    finally:
        print("unwound", flush=True)

from workbench.cli import main
main(prog_name="workbench")
"""


class Terminal:
    """A real terminal with the REPL in it."""

    def __init__(self, home: Path, code: str = SLOW) -> None:
        self.seen = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            termios.tcsetwinsize(0, (24, 80))
            os.environ["TERM"] = "xterm"
            os.execv(sys.executable, [sys.executable, "-c", code, "repl", "--home", str(home)])

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.master, text.encode())

    def until(self, pattern: str, seconds: float = 15) -> float:
        """Read until the pattern has been seen. Returns how long that took."""
        start = time.monotonic()
        while not re.search(pattern, self.seen):
            left = start + seconds - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"{pattern!r} was not shown; {self.seen[-2000:]!r} was")
            read = os.read(self.master, 65536).decode(errors="replace")
            if "\x1b[6n" in read:  # where is the cursor?
                os.write(self.master, b"\x1b[1;1R")
            self.seen += read
        return time.monotonic() - start

    def exit_code(self) -> int:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    os.read(self.master, 65536)
                except OSError:  # the other side has closed
                    time.sleep(0.05)
        raise AssertionError("the REPL does not end")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path)
    opened.until("wb>")
    yield opened
    opened.close()


def test_ctrl_c_stops_the_command_within_a_second_and_not_the_session(terminal: Terminal) -> None:
    terminal.type("wait\r")
    terminal.until("waiting")
    terminal.type("\x03")
    assert terminal.until("(?s)cancelled.*wb>") < 1
    assert "unwound" in terminal.seen
    terminal.type("set top 50\r")
    terminal.until(r"(?s)top 50\r\n.*wb>")
    terminal.type("\x04")
    assert terminal.exit_code() == 0


def test_a_second_ctrl_c_stops_a_command_that_does_not_look(terminal: Terminal) -> None:
    terminal.type("deaf\r")
    terminal.until("waiting")
    terminal.type("\x03")
    time.sleep(0.5)
    assert "cancelled" not in terminal.seen
    terminal.type("\x03")
    terminal.until("(?s)unwound.*cancelled.*wb>")
    terminal.type("set top 50\r")
    terminal.until(r"top 50\r\n")


def test_the_terminal_completes_and_shows_the_state(terminal: Terminal) -> None:
    terminal.until("no model")
    terminal.type("disc\t")
    terminal.until("over")
    terminal.type(" --t\t")
    terminal.until("arget-only")
    terminal.type("\x03")
    terminal.until("wb>")
    terminal.type("set top 50\r")
    terminal.until(r"(?s)top 50\r\n.*wb>")
    terminal.type("set t")
    terminal.until("op 50")  # in grey: the rest of the earlier line
    terminal.type("\x1b[C\r")
    terminal.until(r"top 50\r\n")


# With a model

TEXAS = ("prompt What is the capital of Texas?", "enter", "seed The capital of Texas is", "enter")
EVERYTHING = """
model
tokens
top 5
prob " Austin" " Dallas"
discover " Austin"
neurons top10
ablate top50 --max-tokens 8
amplify top10 3 --max-tokens 8
sweep top50 --max-tokens 4
save texas
list
load texas
keep top50
drop top5
generate --max-tokens 8
expect text contains Austin
export texas.csv
export texas.json
import texas.json
delete texas
info
set
help
help discover
"""


def test_everything_a_session_says_fits_the_terminal(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every width: what the lines said once is shown in terminals of several."""
    monkeypatch.chdir(tmp_path)
    lines = ["prompt What is the capital of Texas?", "seed The capital of Texas is", *EVERYTHING.split("\n")[1:-1]]
    said = {line: list(run(session, line)) for line in lines}
    for width in (80, 100, 160):
        out, source = io.StringIO(), Local(session)
        monkeypatch.setattr(source, "run", lambda line: (event for event in said[line]))
        repl = Repl(source, Lines(Console(file=out, width=width, markup=False)))
        repl.read(line.encode() for line in lines)
        assert not repl.failed, out.getvalue()
        too_long = [line for line in out.getvalue().splitlines() if cell_len(line) > width]
        assert too_long == []
        assert sum(line.startswith("> ") for line in out.getvalue().splitlines()) == len(lines)


def test_the_prompt_remembers_what_the_session_holds(session: Session) -> None:
    shown, _ = typed(session, *TEXAS, 'discover " Austin" --top 20', "enter", "ctrl-d")
    assert "20 of" in shown
    assert described(session.state()) == 'smollm2 float32 cpu │ circuit unnamed 20 │ "What is the capital of Texas?"'


def test_ctrl_c_stops_a_model_in_the_middle_of_a_text(home: Path) -> None:
    terminal = Terminal(home)
    try:
        terminal.until("wb>")
        terminal.type("model smollm2\r")
        terminal.until("(?s)135M|134.5 M.*wb>", seconds=120)
        terminal.type("prompt Tell me a very long story.\r")
        terminal.until("(?s)tokens.*wb>")
        terminal.type("generate --max-tokens 2000 --sample\r")
        terminal.until(r"(?s)generate.*2004l.*\w+ \w+ \w+ ", seconds=60)
        terminal.type("\x03")
        assert terminal.until("(?s)cancelled.*wb>") < 1.5
        terminal.type("top 3\r")
        terminal.until("(?s)rank.*wb>", seconds=60)
    finally:
        terminal.close()
