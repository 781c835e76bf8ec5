"""Progress while a command runs: drawn anew in its place, and gone when the command ends."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import threading
from pathlib import Path

import pytest

import workbench
from sessions.errors import UsageError
from sessions.events import Event, Progress, Started, Text
from workbench import progress
from workbench.pace import Pace
from workbench.progress import NotebookDisplay, ProgressBar, TerminalDisplay, progress_bar, progress_line


class Drawn:
    """A display that keeps what was drawn."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.cleared = 0

    def draw(self, event: Progress, pace: Pace) -> None:
        self.labels.append(event.label)

    def clear(self) -> None:
        self.cleared += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_quick_command_shows_nothing_and_a_long_one_is_drawn_a_few_times_a_second(clock: list[float]) -> None:
    drawn = Drawn()
    bar = ProgressBar(drawn)
    bar.hear(Started("sweep", "sweep all"))
    bar.hear(Progress("sweeping", 1, 100))
    bar.close()
    assert not drawn.labels and not drawn.cleared
    bar.hear(Started("sweep", "sweep all"))
    for number in range(100):
        clock[0] += 0.02
        bar.hear(Progress(f"{number}", number, 100))
    bar.close()
    assert 10 <= len(drawn.labels) <= 20 and int(drawn.labels[0]) * 0.02 >= progress.SHOWN_AFTER - 0.05
    assert drawn.cleared == 1


def test_a_text_that_is_written_counts_as_progress(clock: list[float]) -> None:
    drawn = Drawn()
    bar = ProgressBar(drawn)
    bar.hear(Started("generate", "generate"))
    for number in range(60):
        clock[0] += 0.2
        bar.hear(Text(f" word{number}", "ablated" if number % 2 else ""))
    assert drawn.labels[-1].startswith("ablated: …") and drawn.labels[-1].endswith("word57 word59")
    assert max(map(len, drawn.labels)) <= 70


def test_a_terminal_has_one_line_that_is_rewritten_and_removed() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    display = TerminalDisplay(stream)
    display.draw(Progress("sweeping [/INST] \x1b[2J", 37, 120, "cells"), Pace())
    display.clear()
    written = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
    shown, removed = written.split("\r")[1:]
    assert "37/120 cells" in shown and "\n" not in written and "\x1b[2J" not in written
    assert removed == "\x1b[K"


def test_a_terminal_without_the_characters_gets_question_marks() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    TerminalDisplay(stream).draw(Progress("läuft", 1, 2), Pace())
    assert b"l?uft" in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_progress_on_one_line() -> None:
    assert progress_line(Progress("reading"), Pace()) == "reading  …"
    assert progress_line(Progress("sweeping", 0, 120, "cells"), Pace()) == "sweeping  0/120 cells"
    assert re.fullmatch(
        "sweeping  █{10} {10}  60/120 cells", progress_line(Progress("sweeping", 60, 120, "cells"), Pace())
    )


def test_a_notebook_has_one_output_that_is_updated_and_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[dict[str, str]] = []

    class Handle:
        def update(self, data: dict[str, str], raw: bool) -> None:
            outputs.append(data)

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw and display_id
        outputs.append(data)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    shown = NotebookDisplay()
    shown.draw(Progress("<script>", 1, 4, "cells"), Pace())
    shown.draw(Progress("sweeping", 2, 4, "cells"), Pace())
    shown.clear()
    assert "&lt;script&gt;" in outputs[0]["text/html"] and 'value="2" max="4"' in outputs[1]["text/html"]
    assert outputs[2] == {"text/html": "", "text/plain": ""} and len(outputs) == 3


def test_only_a_terminal_or_a_notebook_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress_bar(notebook=False) is None
    assert progress_bar(notebook=True) is not None
    monkeypatch.setattr(sys, "stderr", None)
    assert progress_bar(notebook=False) is None


@pytest.mark.parametrize(
    ("given", "asked", "shown"),
    [(False, None, True), (True, None, False), (True, True, True), (False, False, False)],
)
def test_events_of_the_user_turn_the_bar_off_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool, asked: bool | None, shown: bool
) -> None:
    drawn = Drawn()
    heard: list[Event] = []
    monkeypatch.setattr(progress, "SHOWN_AFTER", 0.0)
    monkeypatch.setattr("workbench.running.progress_bar", lambda notebook: ProgressBar(drawn))
    with workbench.open(home=tmp_path, on_event=heard.append if given else None, progress=asked) as wb:
        monkeypatch.setattr(wb, "_events", lambda line: iter_events(line))
        wb.exec("slow")
        with pytest.raises(UsageError, match="it fails"):
            wb.exec("fails")
    assert bool(drawn.labels) == shown and drawn.cleared == (2 if shown else 0)
    assert bool(heard) == given


def iter_events(line: str):  # type: ignore[no-untyped-def]
    from sessions.events import Failed, Result

    yield Started("slow", line)
    yield Progress("working", 1, 2)
    yield Failed("usage", "it fails") if line == "fails" else Result(None)


def test_in_a_terminal_the_bar_appears_on_stderr_and_stdout_stays_clean(tmp_path: Path) -> None:
    """A Python process whose stderr is a terminal."""
    import subprocess

    code = (
        "import workbench.progress as p, workbench; p.SHOWN_AFTER = 0.0\n"
        "from tests.workbench.test_progress import iter_events\n"
        f"wb = workbench.open(home={str(tmp_path / 'home')!r})\n"
        "wb._events = iter_events\n"
        "wb.exec('slow'); print('done')\n"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    read: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                read.append(os.read(ours, 4096))
            except OSError:  # the terminal is closed
                return

    listener = threading.Thread(target=listen)
    listener.start()
    out, _ = process.communicate(timeout=120)
    listener.join(10)
    os.close(ours)
    shown = b"".join(read).decode()
    assert out == b"done\n" and process.returncode == 0
    assert "working" in shown and shown.endswith("\r\x1b[K")
