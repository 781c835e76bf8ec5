"""The command line: what it starts, what it says, and the codes it leaves with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.terminal import Terminal, workbench
from sessions.events import Failed, Started, Text, from_json
from sessions.events import Result as Finished
from workbench.cli import main

HEAVY = ("torch", "transformers", "peft", "safetensors", "numpy")
SCREENS = ("textual", "prompt_toolkit")


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="workbench")


def script(folder: Path, text: str | bytes) -> Path:
    file = folder / "test.wb"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def started(*args: str | Path, code: str = "from workbench.cli import main; main(prog_name='workbench')") -> list[str]:
    return [sys.executable, "-c", code, *map(str, args)]


# What starts, and how fast


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("workbench", (*HEAVY, *SCREENS)),
        ("workbench.cli", (*HEAVY, *SCREENS)),
        ("workbench.repl", (*HEAVY, "textual")),
        ("workbench.python", (*HEAVY, *SCREENS)),
        ("workbench.host.process", (*HEAVY, *SCREENS)),
        ("commands", (*HEAVY, *SCREENS)),
        ("commands.grammar", (*HEAVY, *SCREENS)),
        ("workbench.app.app", (*HEAVY, "prompt_toolkit")),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_help_is_there_at_once() -> None:
    """It takes no longer than three times what the libraries take that parse the line and draw the help."""
    libraries = [sys.executable, "-c", "import click, msgspec, rich.console"]
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(5):
        for number, command in enumerate((started("--help"), libraries)):
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            seconds[number].append(time.perf_counter() - start)
    assert min(seconds[0]) < 3 * min(seconds[1])


def test_without_a_subcommand_and_a_terminal_there_is_help() -> None:
    for args in ((), ("--help",), ("-h",)):
        result = run(*args)
        assert result.exit_code == 0
        assert "run" in result.stdout and "repl" in result.stdout


def test_the_version_is_the_installed_one() -> None:
    import workbench

    assert run("--version").stdout == f"workbench {workbench.__version__}\n"


def test_python_m_workbench_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "workbench", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("workbench ")


@pytest.mark.parametrize("words", [("--model", "smollm2", "hosts"), ("--host", "one", "run", "x.wb")])
def test_options_before_a_command_are_not_lost_silently(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert f"options of {words[2]} go after it" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--theme", "pink"), 2, "unknown theme 'pink'; themes: dark, light, 16-colour, no-colour"),
        (("--host", "no/name"), 1, "✗"),
        (("attach", "one", "--theme", "pink"), 2, "unknown theme"),
    ],
)
def test_an_app_that_cannot_be_opened_says_why(tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    with Terminal(workbench(*words, *(() if words[0] == "attach" else ("--home", tmp_path)))) as terminal:
        assert terminal.exit_code() == code
        assert said in terminal.shown


# Running a file


def test_a_file_is_run_line_by_line(tmp_path: Path) -> None:
    file = script(tmp_path, "# settings\nset top 50\n\nset rows ${rows}\n")
    result = run("run", file, "--home", tmp_path / "home", "--set", "rows=7")
    assert result.exit_code == 0
    assert result.stdout == "> set top 50\ntop 50\n\n> set rows 7\nrows 7\n"
    assert result.stderr == ""


def test_a_failing_command_stops_the_file_and_says_where(tmp_path: Path) -> None:
    file = script(tmp_path, "set top 50\n\ngenerate\nset top 60\n")
    result = run("run", file, "--home", tmp_path / "home")
    assert result.exit_code == 1
    assert "top 60" not in result.stdout
    assert result.stderr == f"✗ {file}:3: no model is open\n→ open one: model smollm2\n"


def test_a_run_writes_its_report_also_where_it_fails(tmp_path: Path) -> None:
    page, home = tmp_path / "run.html", tmp_path / "home"
    run("run", script(tmp_path, "set rows 9\n"), "--home", home)  # an earlier run, in the same journal
    file = script(tmp_path, "set top 50\ngenerate\nset top 60\n")
    result = run("run", file, "--home", home, "--report", page)
    assert result.exit_code == 1
    assert "report of 2 lines · 1 failed · 0.0" in result.stdout and str(page) in result.stdout.replace("\n", "")
    written = page.read_text("utf-8")
    assert "set top 50" in written and "no model is open" in written and "set rows 9" not in written
    again = run("run", file, "--home", home, "--report", page)
    assert again.exit_code == 2 and again.stdout == ""  # nothing has run
    assert again.stderr == f"✗ '{page}' exists already\n→ replace it with --force, or choose another name\n"
    good = script(tmp_path, "set top 70\n")
    assert run("run", good, "--home", home, "--report", page, "--force").exit_code == 0
    assert "set top 70" in page.read_text("utf-8")


def test_a_report_that_is_no_page_is_refused_before_the_file_runs(tmp_path: Path) -> None:
    result = run("run", script(tmp_path, "set top 50\n"), "--home", tmp_path / "home", "--report", tmp_path / "x.txt")
    assert (result.exit_code, result.stdout) == (2, "") and "does not end in .html" in result.stderr
    result = run("run", script(tmp_path, "set top 50\n"), "--force")
    assert result.exit_code == 2 and "--force replaces the page of --report" in result.stderr


def test_json_is_one_event_a_line_and_errors_go_to_stderr(tmp_path: Path) -> None:
    file = script(tmp_path, "set top 50\ngenerate\n")
    result = run("run", file, "--json", "--home", tmp_path / "home")
    events = [from_json(line) for line in result.stdout.splitlines()]
    assert [type(event) for event in events] == [Started, Finished, Started, Failed]
    assert events[1].value.settings["top"] == "50"  # type: ignore[attr-defined]
    assert result.exit_code == 1
    assert "no model is open" in result.stderr


def test_json_of_a_good_file_leaves_stderr_empty(tmp_path: Path) -> None:
    result = run("run", script(tmp_path, "set\nlist\n"), "--json", "--home", tmp_path / "home")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("set top 50\nabalte top10\n", "2: there is no verb 'abalte'"),
        ('prompt "open\n', "1: the quote at column 8 is not closed"),
        (b"set top 50\nprompt caf\xe9\n", "2 is not UTF-8"),
        ("set rows ${rows}\n", "1: no value for ${rows}"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_before_anything_runs(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    result = run("run", script(tmp_path, text), "--home", tmp_path / "home")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert "→" in result.stderr


def test_usage_errors_leave_with_2(tmp_path: Path) -> None:
    good = script(tmp_path, "set\n")
    for args in (
        ("run",),
        ("run", tmp_path / "missing.wb"),
        ("run", tmp_path),
        ("run", good, "--set", "rows"),
        ("run", good, "--set", "unused=1"),
        ("run", good, "--home", good),
        ("run", good, "--bogus"),
        ("bogus",),
    ):
        assert run(*args).exit_code == 2, args


def test_a_model_that_cannot_be_opened_stops_before_the_file(tmp_path: Path) -> None:
    file = script(tmp_path, "set top 50\n")
    result = run("run", file, "--model", "./no-such-folder", "--home", tmp_path / "home")
    assert result.exit_code == 1
    assert "✗ --model: " in result.stderr
    assert "top 50" not in result.stdout


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["lines", "json"])
def test_output_that_nobody_reads_ends_quietly(tmp_path: Path, json: list[str]) -> None:
    file = script(tmp_path, "help\n" * 300)
    process = subprocess.Popen(
        started("run", file, "--home", tmp_path / "home", *json), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    "words",
    [
        ["run", "test.wb"],
        ["run", "test.wb", "--json"],
        ["hosts"],
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["serve", "--port", "0"],
    ],
    ids=" ".join,
)
def test_output_that_has_no_room_is_said_in_a_line(tmp_path: Path, words: list[str]) -> None:
    script(tmp_path, "help\n")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            started(*words), stdout=full, stderr=subprocess.PIPE, timeout=60,
            env={**os.environ, "WORKBENCH_HOME": str(tmp_path / "home"), "PYTHONPATH": os.getcwd()}, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode() == "✗ the output cannot be written: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_lines_that_are_piped_in_end_where_their_output_has_no_room(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            started("repl", "--home", tmp_path / "home"),
            input=b"help\nhelp\n", stdout=full, stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr.decode().count("cannot be written")) == (1, 1)
    assert b"Traceback" not in done.stderr


def test_no_command_fails_over_a_character_that_the_locale_lacks() -> None:
    code = "import click; from workbench.cli import main; "
    code += "main.add_command(click.Command('draw', callback=lambda: click.echo('│'))); main(['draw'])"
    environment = {**os.environ, "PYTHONIOENCODING": "iso-8859-1", "PYTHONUTF8": "0"}
    done = subprocess.run(started(code=code), capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"?\n", b"")


def test_terminals_without_unicode_get_question_marks(tmp_path: Path) -> None:
    file = script(tmp_path, "expect text contains x\n")
    done = subprocess.run(
        started("run", file, "--home", tmp_path / "home"),
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(b"? ")


SLOW = """
import sys, time
from commands import grammar
from commands.request import Request
from commands.verb import verb
from sessions.events import Progress, Steps
from sessions.results import Quit

@verb("wait", family="test", example="wait")
class Wait(Request, frozen=True):
    "Wait for half a minute."

    def run(self, session) -> Steps[Quit]:
        try:
            print("waiting", file=sys.stderr, flush=True)
            for _ in range(600):
                session.cancel.look()
                yield Progress("waiting")
                time.sleep(0.05)
        finally:
            print("unwound", file=sys.stderr, flush=True)
        return Quit()

from workbench.cli import main
main(prog_name="workbench")
"""


def test_ctrl_c_cancels_the_command_and_the_file(tmp_path: Path) -> None:
    file = script(tmp_path, "wait\nset top 50\n")
    process = subprocess.Popen(
        started("run", file, "--home", tmp_path / "home", code=SLOW),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err == f"unwound\n✗ {file}:1: cancelled\n"
    assert "top 50" not in out


def test_json_of_a_model_at_work_can_be_read_back(home: Path) -> None:
    file = script(home, "prompt What is the capital of Texas?\nseed The capital of Texas is\ntop 3\ngenerate\n")
    result = run("run", file, "--json", "--model", "smollm2", "--home", home)
    assert result.exit_code == 0, result.stderr
    events = [from_json(line) for line in result.stdout.splitlines()]
    values = [event.value for event in events if isinstance(event, Finished)]
    assert [type(value).__name__ for value in values] == [
        "ModelOpened", "PromptSet", "PromptSet", "Distribution", "Generated",
    ]  # fmt: skip
    assert values[3].chances[0].text == " Austin"
    assert "".join(event.text for event in events if isinstance(event, Text)) == values[4].text
