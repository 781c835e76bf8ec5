"""Events of commands written line by line: for the REPL, for command files, for pipes.

In a terminal, progress is one line on stderr that is removed when the command ends, and generated text appears as it is
streamed. A pipe gets finished results alone.
"""

from __future__ import annotations

import sys
import time
from io import TextIOWrapper

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text as Line

from sessions.events import Event, Failed, Progress, Result, Started, Text
from sessions.results import Cleared
from workbench.pace import Pace
from workbench.progress import progress_line
from workbench.rendering.outcomes import failure, present
from workbench.writing import FlowingText, fitted, inline, plain

_REDRAWN_EVERY = 1 / 15  # seconds; more would fill a slow connection with progress


def console(*, stderr: bool = False) -> Console:
    """A console that reads nothing as markup: `[/INST]` is a token here, not a closing tag."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal without `×` gets a `?`, not a traceback
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


class Lines:
    """Shows the events of commands as they arrive.

    Args:
        out: the console for results and streamed text.
        errors: the console for failures and progress; None for `out`.
    """

    def __init__(self, out: Console, errors: Console | None = None) -> None:
        self._out = out
        self._errors = errors or out
        self._streams = _is_screen(self._out)
        self._shows_progress = _is_screen(self._errors)
        self._progress_shown = False
        self._pace = Pace()
        self._flow: FlowingText | None = None
        self._arms: dict[str, str] = {}
        self._live: Live | None = None
        self._drawn = 0.0
        self._fresh = True

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Started(line=line):
                self._settle()
                self._pace.hear(None)
                self._heading(line)
            case Progress():
                self._progress(event)
            case Text(text=text, arm=arm):
                self._stream(text, arm)
            case Result(value=Cleared()):
                self._clear()
            case Result(value=value, seconds=seconds):
                streamed = self._settle()
                self._print(*present(value, self._out.width, seconds, streamed))
            case Failed():
                self._settle(keep=True)
                self._clear_line()  # removes the ^C that the terminal wrote
                self.failure(f"{event.where}: {event.message}" if event.where else event.message, event.hint)

    def failure(self, message: str, hint: str = "") -> None:
        """Show what went wrong and what to do."""
        whole = not self._errors.is_terminal  # in a log, an error stays on one line, for searching
        for text in failure(message, hint):
            self._errors.print(text, overflow=None if whole else "fold", soft_wrap=whole)
        self._fresh = False

    def remark(self, text: str) -> None:
        """Show a remark, which is no result."""
        self._print(Line(plain(text), style="dim", overflow="fold"))

    @property
    def width(self) -> int:
        """Columns of a line."""
        return self._out.width

    def close(self) -> None:
        """End what is being shown, and leave the cursor at the start of a line."""
        self._settle(keep=True)

    def _clear(self) -> None:
        """Clear the screen, where there is one."""
        self._settle()
        if self._streams:
            self._out.clear()
            self._fresh = True

    def _print(self, *renderables: RenderableType) -> None:
        for renderable in renderables:
            for segments in self._out.render_lines(renderable, pad=False):
                line = Line.assemble(*((segment.text, segment.style or "") for segment in segments))
                line.rstrip()  # tables pad their last column: a copy should not have these blanks
                self._out.print(line, soft_wrap=True)
            self._fresh = False

    def _heading(self, line: str) -> None:
        if not self._fresh:
            self._out.print()
        self._print(Line(f"> {inline(line.strip())}", style="bold", overflow="fold"))

    def _progress(self, event: Progress) -> None:
        self._pace.hear(event)
        if not self._shows_progress or self._flow or self._live or self._too_soon(self._progress_shown):
            return
        line = progress_line(event, self._pace)
        self._errors.file.write(f"\r{fitted(line, self._errors.width - 1)}\x1b[K")
        self._errors.file.flush()
        self._progress_shown = True

    def _stream(self, text: str, arm: str) -> None:
        if not self._streams:
            return
        self._clear_progress()
        if arm:
            self._arms[arm] = self._arms.get(arm, "") + text
            self._draw_arms()
            return
        if self._flow is None:
            self._flow = FlowingText(self._out.width)
        self._out.print(Line(self._flow.feed(text)), end="", soft_wrap=True)
        self._out.file.flush()

    def _draw_arms(self, last: bool = False) -> None:
        """Draw several growing texts, one block each, in a region that the result then replaces."""
        if self._live is None:
            self._live = Live(
                console=self._out, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        elif not last and self._too_soon(True):
            return
        room = max(1, (self._out.height - 2) // len(self._arms) - 1)
        self._live.update(Group(*(_tail(arm, text, self._out, room) for arm, text in self._arms.items())), refresh=True)

    def _too_soon(self, drawn_before: bool) -> bool:
        now = time.monotonic()
        if drawn_before and now - self._drawn < _REDRAWN_EVERY:
            return True
        self._drawn = now
        return False

    def _clear_progress(self) -> None:
        if self._progress_shown:
            self._clear_line()
            self._progress_shown = False

    def _clear_line(self) -> None:
        if self._shows_progress:
            self._errors.file.write("\r\x1b[K")
            self._errors.file.flush()

    def _settle(self, keep: bool = False) -> str:
        """Bring the cursor to the start of a line. Returns the streamed text that stands in full above it.

        With `keep`, streamed texts stay on the screen: no result will follow them.
        """
        self._clear_progress()
        if self._live:
            if keep:
                self._draw_arms(last=True)
                self._live.transient = False
            self._live.stop()
            self._live, self._arms = None, {}
        if self._flow is None:
            return ""
        flow, self._flow = self._flow, None
        self._out.print(Line(flow.finish()), soft_wrap=True)
        return flow.text


def _is_screen(console: Console) -> bool:
    """Whether written lines can be redrawn. FORCE_COLOR makes a pipe coloured, not a screen."""
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()


def _tail(arm: str, text: str, console: Console, lines: int) -> RenderableType:
    """The last lines of a growing text, under its label."""
    wrapped = Line(plain(text)).wrap(console, console.width)
    return Group(Line(f"{inline(arm)} ▏", style="dim"), *wrapped[-lines:])
