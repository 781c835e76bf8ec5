"""`WorkbenchApp`: the screen over a host's session.

It draws first and looks for the host then. What the host says is taken to the view, and the panes that it concerns
are shown the view; what is typed is sent to the host.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from textual.timer import Timer

from commands import calling, completing, grammar
from commands.completing import Completion
from sessions.errors import UsageError, WorkbenchError
from workbench.app import copying
from workbench.app.bars import Remark
from workbench.app.command_line import CommandLine
from workbench.app.dial import Dial, is_turn
from workbench.app.event_feed import EventFeed
from workbench.app.host_listener import HostListener
from workbench.app.host_sender import HostSender
from workbench.app.palette_items import PaletteItem
from workbench.app.pane import Pane
from workbench.app.session_view import Facet, HistoryEntry
from workbench.app.shell import Shell
from workbench.app.themes import THEMES
from workbench.host.starting import kill
from workbench.writing import inline

#: Seconds after which a line that does not stop is spoken of.
_STOPPING = 1.5
_LATER = "the line is sent when there is one"
#: Seconds after which the steps of keys are sent.
_TURNING = 0.15
#: Seconds that the end may take where a signal asks for it.
_GOING = 3.0


class WorkbenchApp(Shell):
    """The app on one host. It returns the host's name where that goes on.

    Args:
        host: the host's name; it is started where it does not run.
        home: folder of named artifacts; None for the user's own.
        model: the model to open first.
        theme: the theme, whatever the user's file says.
        mouse: whether the mouse is used, where the user's file allows it.
    """

    def __init__(
        self, host: str, home: Path | None = None, model: str | None = None, theme: str = "", mouse: bool = True
    ) -> None:
        super().__init__(home, theme, mouse)
        self.host = host
        self.event_feed = EventFeed(self, self.view, self._heard)
        self.listener = HostListener(host, home, self.event_feed.deliver)
        self.sender = HostSender(lambda: self.listener.client, self._refused)
        self.dial = Dial(lambda line: self.run_lines([line]))
        self._dialling: Timer | None = None
        self._model = model

    def on_load(self) -> None:
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self._end, 128 + number)

    def _end(self, code: int) -> None:
        """Give the terminal back and go; a terminal that is gone itself may not take it."""
        gone = threading.Timer(_GOING, os._exit, (code,))
        gone.daemon = True
        gone.start()
        self.exit(return_code=code)

    def begin(self) -> None:
        super().begin()
        gc.freeze()
        gc.enable()
        self.listener.start()

    def on_unmount(self) -> None:
        self.listener.stop()
        self.sender.stop()

    # What the host says

    def on_event_feed_arrived(self) -> None:
        self.event_feed.arrived()

    def _heard(self, changed: Facet) -> None:
        """Something was heard, and the view has it."""
        if self.listener.client is not None:
            self.workspace.own(self.listener.client.author)
        self.show_view(changed)
        if changed & Facet.HOST and not self.view.host:
            self.sender.attached()
            if self.workspace.message_line.remark.text.endswith(_LATER):
                self.workspace.say(Remark())
        if self._model is not None:
            self._open_model(self._model)

    def _open_model(self, name: str) -> None:
        """Open the model that was asked for when the app was started; never in the place of another one, unasked."""
        view = self.view
        if view.host or view.running or view.waiting:
            return  # it may be bringing back its own
        self._model = None
        line = calling.call_line("model", name)
        if not view.state.model:
            self.sender.give([line])
        elif view.state.model not in (name, Path(name).name):
            self.line.put(line)
            held = inline(view.state.model)
            self.say(f"{self.host} has {held} open", f"enter opens {inline(name)} in its place; --host NAME keeps both")

    # What is typed

    def complete(self, line: str, cursor: int) -> Sequence[Completion]:
        client = self.listener.client
        return completing.complete(line, cursor) if client is None else client.complete(line, cursor)

    def run_lines(self, lines: Sequence[str]) -> None:
        """Run lines in the host, one after another; `quit` leaves."""
        for number, line in enumerate(lines):
            if _is_quit(line):
                self.sender.give(lines[:number])
                self.action_leave()
                return
        if self.view.host:
            self.say(f"{inline(self.view.host)}; {_LATER}")
            self.listener.again()
        self.sender.give(lines)

    def _refused(self, lines: Sequence[str], error: WorkbenchError, given: int) -> None:
        """Called in the thread that sends."""
        with suppress(RuntimeError):  # the app has ended meanwhile
            self.call_from_thread(self._not_sent, lines, error, given)

    def _not_sent(self, lines: Sequence[str], error: WorkbenchError, given: int) -> None:
        """The first of these lines was refused, when so many had been given."""
        self.line.put_back(lines)
        column = error.column if isinstance(error, UsageError) and len(lines) == 1 else None
        where = f"line {given - len(lines) + 1} of {given}: " if given > 1 else ""
        rest = "; enter sends it and the rest again, esc forgets them" if len(lines) > 1 else ""
        self.workspace.say(Remark(where + error.message, error.hint + rest, column, wrong=True))

    def on_command_line_entered(self, message: CommandLine.Entered) -> None:
        self.run_lines(message.lines)

    def on_command_line_left(self) -> None:
        self.action_leave()

    def on_pane_sent(self, message: Pane.Sent) -> None:
        self.run_lines([message.line])

    # What the keys do

    def action_palette(self) -> None:
        from workbench.app.palette import Palette

        self.push_screen(Palette(list(offered()), self.complete), self._do)

    def _do(self, item: PaletteItem | None) -> None:
        """Do what was chosen in the palette."""
        if item is None:
            return
        if item.action:
            self.call_later(self.run_action, item.action)
        elif item.line:
            self.run_lines([item.line])
        else:
            self.line.put(item.typed)
            self.action_line()

    def action_turn(self, what: str, steps: int) -> None:
        self.say(self.dial.turn(what, steps))
        if self._dialling is None:
            self._dialling = self.set_interval(_TURNING, self._turn)

    def _turn(self) -> None:
        """Send the steps that were taken, once the line of those before them has ended."""
        lines = [*([self.view.running] if self.view.running else []), *self.view.waiting]
        if self.view.host or not self.sender.idle or any(is_turn(each.line) for each in lines):
            return
        if self.dial.waiting:
            self.dial.flush()
        elif self._dialling is not None:
            self._dialling.stop()
            self._dialling = None

    def action_repl(self) -> None:
        self.elsewhere(lambda: copying.converse(self.host, self.home))

    def action_stop_or_line(self) -> None:
        if not self._stop():
            self.action_line()

    def action_interrupt(self) -> None:
        if len(self.screen_stack) > 1:
            self.pop_screen()
        elif not self._stop():
            self.line.put("")
            self.action_line()

    def _stop(self) -> bool:
        """Stop the line that runs. Returns whether one did."""
        running, client = self.view.running, self.listener.client
        if running is None or client is None:
            return False
        self.say(f"stopping {inline(running.line)}")
        self.run_worker(partial(client.cancel, running.ticket), thread=True, group="cancel", exit_on_error=False)
        self.set_timer(_STOPPING, partial(self._look_whether_stopped, running))
        return True

    def _look_whether_stopped(self, line: HistoryEntry) -> None:
        if self.view.running is line:
            hint = "wait, or end the host: ctrl+p, end; its state is kept"
            self.say(f"{inline(line.line)} has not stopped yet", hint, wrong=True)
        elif self.workspace.message_line.remark.text.startswith("stopping"):
            self.workspace.say(Remark())

    def action_restart(self) -> None:
        self.say(f"ending the host {self.host}; it comes back with its state")
        self.run_worker(self._restart, thread=True, group="restart", exit_on_error=False)

    def _restart(self) -> None:
        """In a thread."""
        try:
            how = kill(self.host, self.home)
        except WorkbenchError as error:
            self.call_from_thread(self.say, error.message, error.hint, True)
        else:
            self.call_from_thread(self.say, f"the host has ended: {how}")
        self.listener.again()

    def action_leave(self) -> None:
        self.exit("" if self.view.host else self.host)


def offered() -> Iterator[PaletteItem]:
    """What the app itself can do, for the palette."""
    yield PaletteItem("zoom the pane", "or back to all of them", action="zoom")
    yield PaletteItem("copy", "what the cursor of the pane is on", action="copy")
    yield PaletteItem("open in $EDITOR", "the text of the pane", action="edit")
    yield PaletteItem("line REPL", "on the same session; ctrl-d comes back", action="repl")
    yield PaletteItem("keys and verbs", "all of them", action="help")
    for name in THEMES:
        yield PaletteItem(f"theme {name}", "for now and later", action=f"theme({name!r})")
    yield PaletteItem("end the host", "and bring it back: its state is kept, what runs is lost", action="restart")
    yield PaletteItem("leave", "the host goes on", action="leave")


def _is_quit(line: str) -> bool:
    try:
        return grammar.parse(line).verb == "quit"
    except UsageError:
        return False
