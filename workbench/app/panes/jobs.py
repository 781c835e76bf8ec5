"""The pane of the running line, with progress and time left, and of the lines that wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.timer import Timer

from sessions.events import Progress
from workbench.app.scroll_pane import Paragraph, RichParagraph, ScrollPane
from workbench.app.session_view import Facet, HistoryEntry, SessionView
from workbench.app.wrapping import row
from workbench.pace import Pace, clock
from workbench.progress import time_left
from workbench.rendering.outcomes import failure
from workbench.writing import amount, bar, fitted, inline

_BOLD, _DIM = Style(bold=True), Style(dim=True)
#: The least and most cells of the bar, and of the line's text.
_LEAST_BAR, _MOST_BAR = 8, 32
_LEAST_NAME, _MOST_NAME = 12, 48
#: Conditions of the host that are no failure.
_COMING = ("looking for the host", "starting the host")
_AGAIN = "the next line you run starts it again"


class JobsPane(ScrollPane):
    """The running line in one row; below it, if there is room, the waiting lines."""

    heading: ClassVar[str] = "Jobs"
    facets: ClassVar[Facet] = Facet.JOBS | Facet.HOST

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._job: JobRow | None = None
        self._timer: Timer | None = None

    def show(self, view: SessionView, changed: Facet) -> None:
        running = view.running
        if running is None:
            self._job = None
        elif self._job is None or self._job.entry is not running:
            self._job = JobRow(running, view.busy[1] if running.ticket == view.busy[0] else time.time())
        if self._job is not None:
            self._job.hear(view)
        self.blocks = list(self._listed(view))
        self._tick(running is not None)
        self.settle()

    def chosen(self) -> str:
        return inline(self._job.entry.line.strip()) if self._job else ""

    def text(self) -> str:
        return "\n".join(line.text.rstrip() for block in self.blocks for line in block.lines(99))

    def _listed(self, view: SessionView) -> Iterator[Paragraph]:
        if view.host in _COMING:
            yield RichParagraph(Text(f"{view.host} …", style="dim"))
        elif view.host:
            yield RichParagraph(*failure(view.host, _AGAIN))
        elif self._job is None:
            yield RichParagraph(Text("idle" if not view.waiting else "waiting", style="dim"))
        if self._job is not None:
            yield self._job
        for entry in view.waiting:
            yield Waiting(entry)

    def _tick(self, running: bool) -> None:
        """Redraw every second while a line runs."""
        if running and self._timer is None:
            self._timer = self.set_interval(1, self.settle)
        elif not running and self._timer is not None:
            self._timer.stop()
            self._timer = None


class JobRow(Paragraph):
    """The running line in one row."""

    def __init__(self, entry: HistoryEntry, began: float) -> None:
        self.entry = entry
        self._began = began
        self._step: HistoryEntry = entry
        self._progress: Progress | None = None
        self._behind = 0
        self._pace = Pace()

    def hear(self, view: SessionView) -> None:
        """Take the running line's progress from the view."""
        self._step = view.step or self.entry
        self._behind = len(view.waiting)
        self._progress = self._step.progress
        self._pace.hear(self._progress)

    def stamp(self) -> object:
        return object()  # always redraw: it shows the time

    def drawn(self, width: int) -> list[Strip]:
        name = inline(self.entry.line.strip())
        if self._step is not self.entry:
            name = f"{name} › {inline(self._step.line.strip())}"
        pieces = self._pieces()
        for dropped in ("label", "cancel", "speed", "left", "waiting", "amount", "elapsed"):
            if _room(pieces, width) >= _LEAST_NAME:
                break
            pieces.pop(dropped, None)
        return [self._row(name, pieces, width)]

    def _pieces(self) -> dict[str, str]:
        """The parts of the row after the line, in order."""
        progress = self._progress
        pieces: dict[str, str] = {}
        if progress is not None:
            pieces["label"] = fitted(inline(progress.label), 32)
            if progress.done or progress.total:
                pieces["amount"] = amount(progress.done, progress.total, progress.unit)
            if progress.total:
                pieces["bar"] = " " * _LEAST_BAR
            speed = self._pace.speed(progress) if progress.unit == "tokens" else None
            pieces["speed"] = "" if speed is None else f"{speed:.1f} tokens/s"
        pieces["elapsed"] = clock(max(time.time() - self._began, 0))
        pieces["left"] = "" if progress is None else time_left(progress, self._pace)
        pieces["cancel"] = "esc cancel"
        if self._behind:
            pieces["waiting"] = f"+{self._behind:,} waiting"
        return pieces

    def _row(self, name: str, pieces: dict[str, str], width: int) -> Strip:
        room = _room(pieces, width)
        name = fitted(name, max(min(room, _MOST_NAME), 1))
        progress = self._progress
        if "bar" in pieces and progress is not None:
            cells = min(_LEAST_BAR + max(room - cell_len(name), 0), _MOST_BAR)
            done = bar(min(progress.done / progress.total, 1 - 0.5 / cells), cells)  # full only once the line has ended
            pieces["bar"] = done + "─" * (cells - len(done))
        parts = [("  " + text, _STYLES.get(key)) for key, text in pieces.items() if text]
        return row((name, _BOLD), *parts)


_STYLES = {"label": _DIM, "speed": _DIM, "cancel": _DIM, "left": _DIM, "waiting": None}


class Waiting(Paragraph):
    """A waiting line."""

    def __init__(self, entry: HistoryEntry) -> None:
        self._entry = entry

    def drawn(self, width: int) -> list[Strip]:
        entry = self._entry
        author = inline(entry.author)
        room = max(width - cell_len(author) - 4, 1)
        line = fitted(inline(entry.line.strip()), room)
        return [row((f"> {line}", _DIM), (" " * (room - cell_len(line) + 2) + author, _DIM))]


def _room(pieces: dict[str, str], width: int) -> int:
    """Cells left for the line itself."""
    return width - sum(cell_len(text) + 2 for text in pieces.values() if text)
