"""The progress of a command while it runs, in a notebook or on a terminal, gone when it ends.

In a notebook it is one output of the cell that is drawn anew; on a terminal it is a line of stderr. A command that is
done at once shows none.
"""

from __future__ import annotations

import html
import sys
import time
from shutil import get_terminal_size
from typing import Any, Protocol, TextIO

from sessions.events import Event, Progress, Started, Text
from workbench.pace import Pace, clock
from workbench.writing import amount, bar, fitted, inline

#: Seconds after which progress is first shown, and between two drawings.
SHOWN_AFTER, REDRAWN_EVERY = 0.4, 0.1
#: Cells of a bar, and characters of a text that is being written.
_BAR, _TAIL = 20, 60


class Display(Protocol):
    """Where progress is drawn: `draw` replaces what was drawn before, `clear` removes it."""

    def draw(self, event: Progress, pace: Pace) -> None: ...

    def clear(self) -> None: ...


class ProgressBar:
    """Shows how far a command has come. `hear` takes its events, `close` removes what is shown.

    Args:
        display: where it is drawn.
    """

    def __init__(self, display: Display) -> None:
        self._display = display
        self._pace = Pace()
        self._began = self._drawn = time.monotonic()
        self._texts: dict[str, str] = {}
        self._shown = False

    def hear(self, event: Event) -> None:
        """Take an event. A text that is being written counts as progress too."""
        match event:
            case Started():
                self._began = time.monotonic()
            case Progress():
                self._hear(event)
            case Text(text=text, arm=arm):
                written = self._texts[arm] = (self._texts.get(arm, "") + text)[-2 * _TAIL :]
                tail = written if len(written) <= _TAIL else f"…{written[1 - _TAIL :]}"
                self._hear(Progress(f"{arm}: {tail}" if arm else tail))

    def close(self) -> None:
        """The command ended: remove what is shown."""
        if self._shown:
            self._display.clear()
        self._shown = False
        self._texts.clear()
        self._pace.hear(None)

    def _hear(self, progress: Progress) -> None:
        self._pace.hear(progress)
        now = time.monotonic()
        if now - self._began < SHOWN_AFTER or (self._shown and now - self._drawn < REDRAWN_EVERY):
            return
        self._display.draw(progress, self._pace)
        self._drawn, self._shown = now, True


class NotebookDisplay:
    """An output of a notebook's cell that is updated in place."""

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, event: Progress, pace: Pace) -> None:
        share = f' value="{event.done:g}" max="{event.total:g}"' if event.total else ""
        said = html.escape("  ".join(filter(None, [amounts(event), time_left(event, pace)])))
        label = html.escape(inline(event.label))
        drawn = f'<progress{share} style="vertical-align:middle"></progress>'
        self._show(f'<div style="font-size:90%">{label} {drawn} {said}</div>', progress_line(event, pace))

    def clear(self) -> None:
        self._show("", "")
        self._handle = None  # the next command has an output of its own

    def _show(self, markup: str, text: str) -> None:
        from IPython.display import display

        data = {"text/html": markup, "text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)


class TerminalDisplay:
    """A line of a terminal that is written again and again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def draw(self, event: Progress, pace: Pace) -> None:
        self._write(fitted(progress_line(event, pace), get_terminal_size().columns - 1))

    def clear(self) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(f"\r{text.encode(encoding, 'replace').decode(encoding)}\x1b[K")
        self._stream.flush()


def progress_bar(notebook: bool) -> ProgressBar | None:
    """The bar of this process: in a notebook, or on the terminal that stderr is; None if there is neither."""
    if notebook:
        return ProgressBar(NotebookDisplay())
    return ProgressBar(TerminalDisplay(sys.stderr)) if sys.stderr is not None and sys.stderr.isatty() else None


def progress_line(event: Progress, pace: Pace) -> str:
    """Progress on one line: `sweeping  ██████▌  37/120 cells  00:12 left`."""
    drawn = f"{bar(event.done / event.total, _BAR):<{_BAR}}" if event.total and event.done > 0 else ""
    return "  ".join(filter(None, [inline(event.label), drawn, amounts(event), time_left(event, pace)]))


def amounts(event: Progress) -> str:
    """How much is done: `37/120 cells`, or `…` where that is not known."""
    return amount(event.done, event.total, event.unit) if event.done or event.total else "…"


def time_left(event: Progress, pace: Pace) -> str:
    """`00:12 left`; '' where it cannot be told."""
    left = pace.left(event)
    return f"{clock(left)} left" if left is not None else ""
