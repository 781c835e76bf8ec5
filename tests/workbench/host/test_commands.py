"""`workbench hosts`, `exec`, `attach` and `kill`, as they are typed."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

from click.testing import CliRunner, Result
from rich.console import Console

from sessions.events import Failed, Started, from_json
from sessions.events import Result as Finished
from tests.workbench.host.conftest import done, idle, setting
from tests.workbench.host.test_host import ENDLESS, LONG, in_background, records, running
from workbench.cli import main
from workbench.host.client import Client
from workbench.host.starting import find_or_start
from workbench.lines import Lines
from workbench.resuming import replay


def typed(client: Client, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--home", str(client.home)], prog_name="workbench")


def test_exec_runs_one_line_in_the_session(forking: None, client: Client) -> None:
    result = typed(client, "exec", "set top 9", "--host", "one")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "> set top 9\ntop 9\n", "")
    result = typed(client, "exec", "generate", "--host", "one")
    assert (result.exit_code, result.stderr) == (1, "✗ no model is open\n→ open one: model smollm2\n")
    assert typed(client, "exec", "abalte", "--host", "one").exit_code == 2


def test_exec_gives_events_as_json(forking: None, client: Client) -> None:
    result = typed(client, "exec", "set top 9", "--host", "one", "--json")
    assert [type(from_json(line)) for line in result.stdout.splitlines()] == [Started, Finished]
    result = typed(client, "exec", "generate", "--host", "one", "--json")
    assert [type(from_json(line)) for line in result.stdout.splitlines()] == [Started, Failed]


def test_exec_works_in_the_folder_it_is_typed_in(client: Client, tmp_path: Path) -> None:
    (tmp_path / "some.wb").write_text("set top 8\n")
    command = [sys.executable, "-m", "workbench", "exec", "run some.wb", "--host", "one", "--home", str(client.home)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert "top 8" in shown


def test_exec_starts_no_host(own_home: Path) -> None:
    result = CliRunner().invoke(main, ["exec", "list", "--home", str(own_home)])
    assert result.exit_code == 1
    assert "there is no host 'default'" in result.stderr


def test_ctrl_c_stops_what_exec_runs(kept: Client) -> None:
    command = [sys.executable, "-m", "workbench", "exec", ENDLESS, "--host", "one", "--home", str(kept.home)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    running(kept, ENDLESS)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130
    assert process.stderr is not None and "cancelled" in process.stderr.read()
    process.stderr.close()
    idle(kept, 2)


def test_hosts_are_listed_with_what_they_do(kept: Client) -> None:
    thread, _ = in_background(kept, ENDLESS)
    running(kept, ENDLESS)
    titles, row = typed(kept, "hosts").stdout.splitlines()
    assert titles.split() == ["name", "pid", "model", "memory", "doing", "since"]
    assert row.startswith(f"one   {kept.pid}") and f"busy: {ENDLESS}" in row and " MB " in row
    kept.cancel()
    thread.join(5)
    assert " idle " in typed(kept, "hosts").stdout


def test_no_host_is_said(own_home: Path) -> None:
    assert "no host runs" in CliRunner().invoke(main, ["hosts", "--home", str(own_home)]).stdout


def test_kill_says_how(client: Client) -> None:
    assert typed(client, "kill", "one").stdout == "one has ended: asked to end\n"
    result = typed(client, "kill", "one")
    assert result.exit_code == 1 and "there is no host 'one'" in result.stderr


def test_attach_takes_piped_lines(client: Client) -> None:
    command = [sys.executable, "-m", "workbench", "attach", "one", "--home", str(client.home)]
    shown = subprocess.run(command, input=b"set top 9\nabalte\nquit\n", capture_output=True)
    assert shown.stdout.decode() == "> set top 9\ntop 9\n\n> abalte\n  ^\n\n> quit\n"
    assert shown.returncode == 1
    client.welcome()


def test_who_attaches_sees_what_was_missed(client: Client) -> None:
    other = Client(client.place, client._holder, author="pts/9")
    done(client, "set top 9")
    done(other, "set rows 3")
    list(other.run("abalte"))
    out = io.StringIO()
    replay(client, Lines(Console(file=out, width=80, markup=False)))
    assert out.getvalue().endswith(
        "> set top 9\ntop 9\nat pts/9:\n\n> set rows 3\nrows 3\n\n"
        "> abalte\n✗ there is no verb 'abalte'\n→ did you mean ablate?\n"
    )


def test_attach_in_a_terminal_shows_the_running_line_and_ctrl_c_stops_it(kept: Client) -> None:
    thread, heard = in_background(kept, ENDLESS)
    running(kept, ENDLESS)
    pid, master = _attached(kept)
    try:
        _read_until(master, f"> {ENDLESS}")
        os.write(master, b"\x03")
        _read_until(master, "wb>")
        thread.join(5)
        assert isinstance(heard[-1], Failed)
        os.write(master, b"set top 9\r")
        _read_until(master, r"(?s)top 9\r\n.*wb>")
        os.write(master, b"\x04")
        _read_until(master, None)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)
    kept.welcome()


def test_a_terminal_that_dies_stops_nothing(kept: Client) -> None:
    pid, master = _attached(kept)
    _read_until(master, "wb>")
    os.write(master, f"{LONG}\r".encode())
    running(kept, LONG)
    os.close(master)
    os.waitpid(pid, 0)
    idle(kept)
    assert [record.outcome for record in records(kept, "generate")] == ["result"]


def _attached(client: Client) -> tuple[int, int]:
    """`workbench attach` in a terminal: its process, and the other side of the terminal."""
    pid, master = pty.fork()
    if pid == 0:
        termios.tcsetwinsize(0, (24, 80))
        os.environ["TERM"] = "xterm"
        words = ["-m", "workbench", "attach", "one", "--lines", "--home", str(client.home)]
        os.execv(sys.executable, [sys.executable, *words])
    return pid, master


def _read_until(master: int, wanted: str | None) -> None:
    """Read what a terminal shows, until something stands there, or to its end."""
    seen, deadline = "", time.monotonic() + 60
    while wanted is None or not re.search(wanted, seen):
        assert select.select([master], [], [], max(deadline - time.monotonic(), 0))[0], seen
        try:
            read = os.read(master, 65536)
        except OSError:  # the other side has closed
            return
        if b"\x1b[6n" in read:  # where is the cursor?
            os.write(master, b"\x1b[1;1R")
        seen += read.decode(errors="replace")


def test_a_host_started_by_attach_stays(own_home: Path) -> None:
    command = [sys.executable, "-m", "workbench", "attach", "--home", str(own_home)]
    assert subprocess.run(command, input=b"set top 9\n", capture_output=True).returncode == 0
    assert setting(find_or_start("default", own_home), "top") == "9"
