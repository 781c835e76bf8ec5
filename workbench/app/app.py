"""`WorkbenchApp`: the app on a host's session.

It draws first and then looks for the host. Messages of the host go into the session view, and the panes concerned show
it; typed lines are sent to the host.
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
from sessions.lines import QUIET
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

#: Seconds after which the user is told that a line has not stopped.
_STOPPING = 1.5
_LATER = "the line is sent when there is a host"
#: Seconds between two sendings of gathered key steps.
_TURNING = 0.15
#: Seconds that the app may take to end after a signal.
_GOING = 3.0


class WorkbenchApp(Shell):
    """The app on one host. It returns the host's name if the host keeps running.

    Args:
        host: the host's name; the host is started if it does not run.
        home: folder of saved artifacts; None for the user's data folder.
        model: the model to open first.
        theme: the theme; overrides the user's file.
        mouse: whether the mouse is used, if the user's file allows it.
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
        """Restore the terminal and exit, after `_GOING` seconds by force: the terminal itself may be gone."""
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

    # Messages of the host

    def on_event_feed_arrived(self) -> None:
        self.event_feed.arrived()

    def _heard(self, changed: Facet) -> None:
        """Show the parts of the view that messages changed."""
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
        """Open the model named on the command line. If another one is open, offer the line instead of running it."""
        view = self.view
        if view.host or view.running or view.waiting:
            return  # the host may be restoring its own model
        self._model = None
        line = calling.call_line("model", name)
        if not view.state.model:
            self.sender.give([line])
        elif view.state.model not in (name, Path(name).name):
            self.line.put(line)
            held = inline(view.state.model)
            self.say(f"{self.host} has {held} open", f"enter opens {inline(name)} instead; --host NAME keeps both")

    # Typed lines

    def complete(self, line: str, cursor: int) -> Sequence[Completion]:
        client = self.listener.client
        return completing.complete(line, cursor) if client is None else client.complete(line, cursor)

    def run_lines(self, lines: Sequence[str]) -> None:
        """Run lines in the host, one after another. `quit` leaves, and `clear` is done here."""
        waiting: list[str] = []
        for line in lines:
            match _verb_of(line):
                case "quit":
                    self.sender.give(waiting)
                    self.action_leave()
                    return
                case "clear":
                    self.show_view(self.view.forget_ended())
                case _:
                    waiting.append(line)
        if not waiting:
            return
        self.history.follow()
        if self.view.host:
            self.say(f"{inline(self.view.host)}; {_LATER}")
            self.listener.again()
        self.sender.give(waiting)

    def _refused(self, lines: Sequence[str], error: WorkbenchError, given: int) -> None:
        """Report refused lines. Called in the sender's thread."""
        with suppress(RuntimeError):  # the app has ended
            self.call_from_thread(self._not_sent, lines, error, given)

    def _not_sent(self, lines: Sequence[str], error: WorkbenchError, given: int) -> None:
        """Put back lines that were not sent: the first was refused. `given` counts the lines of that sending."""
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
        if not message.quiet:
            self.run_lines([message.line])
        elif not (self.view.host or self.view.running or self.view.waiting):
            self.sender.give([f"{message.line} {QUIET}"])

    # Actions

    def action_palette(self) -> None:
        from workbench.app.palette import Palette

        palette = Palette(list(offered()), self.complete, self.view.state, self.line.earlier)
        self.push_screen(palette, self._do)

    def _do(self, item: PaletteItem | None) -> None:
        """Run what was chosen in the palette."""
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
        """Send the gathered steps, once no earlier line of this kind waits or runs."""
        entries = [*([self.view.running] if self.view.running else []), *self.view.waiting]
        if self.view.host or not self.sender.idle or any(is_turn(entry.line) for entry in entries):
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
        if self.screen.get_selected_text():
            self.action_copy()
            self.screen.clear_selection()
        elif len(self.screen_stack) > 1:
            self.pop_screen()
        elif not self._stop():
            self.line.put("")
            self.action_line()

    def _stop(self) -> bool:
        """Stop the running line. Returns whether there was one."""
        running, client = self.view.running, self.listener.client
        if running is None or client is None:
            return False
        self.say(f"stopping {inline(running.line)}")
        self.run_worker(partial(client.cancel, running.ticket), thread=True, group="cancel", exit_on_error=False)
        self.set_timer(_STOPPING, partial(self._look_whether_stopped, running))
        return True

    def _look_whether_stopped(self, line: HistoryEntry) -> None:
        if self.view.running is line:
            hint = "wait, or press ctrl+p and choose: end the host (its state is kept)"
            self.say(f"{inline(line.line)} has not stopped yet", hint, wrong=True)
        elif self.workspace.message_line.remark.text.startswith("stopping"):
            self.workspace.say(Remark())

    def action_restart(self) -> None:
        self.say(f"ending the host {self.host}; it starts again with its state")
        self.run_worker(self._restart, thread=True, group="restart", exit_on_error=False)

    def _restart(self) -> None:
        """End the host. Runs in a thread."""
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
    """The app's own actions, for the palette."""
    for name, about, action, synonyms in _ACTIONS:
        yield PaletteItem(name, about, action=action, synonyms=synonyms, group="The app")
    for name in THEMES:
        about, synonyms = "kept for the next time", ("colours", "colors", "appearance")
        yield PaletteItem(f"theme {name}", about, action=f"theme({name!r})", synonyms=synonyms, group="Themes")


#: Actions for the palette: name, what it is, the action, and other words that people type for it.
_ACTIONS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("stop the running line", "esc does it too", "stop_or_line", ("cancel", "abort", "interrupt", "kill the line")),
    ("zoom the pane", "or show all panes again", "zoom", ("maximise", "maximize", "fullscreen", "enlarge")),
    ("copy", "what the pane's cursor is on", "copy", ("yank", "clipboard")),
    ("open in $EDITOR", "the pane's text", "edit", ("vim", "less", "pager", "text file")),
    ("line REPL", "on the same session; F9 or ctrl-d comes back", "repl", ("shell", "terminal", "console")),
    ("keys and verbs", "list all", "help", ("shortcuts", "bindings", "cheat sheet")),
    (
        "end the host",
        "and start it again: its state is kept, the running line is lost",
        "restart",
        ("restart", "kill", "reboot"),
    ),
    ("leave", "the host keeps running", "leave", ("detach", "exit", "close")),
)


def _verb_of(line: str) -> str:
    """The verb of a line; "" if it is none."""
    call = grammar.understood(line)
    return "" if call is None else call.verb
