"""`Shell`: the app without a host: panes, focus, themes, keys, the clipboard and other programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from textual.app import App, ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Event, Key, Resize
from textual.filter import LineFilter
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from commands.completing import Completion
from sessions.errors import WorkbenchError
from sessions.store import Store
from workbench.app import copying, preferences
from workbench.app.bars import Keys, Remark, UsefulKey
from workbench.app.bindings import by_id, pressed, split
from workbench.app.choices import Choices
from workbench.app.command_line import CommandLine
from workbench.app.layout import CHANCES, HISTORY, JOBS, LAYERS, LINE, NEURONS, PLACES, RESULT, SHELF
from workbench.app.pane import Pane
from workbench.app.panes.card import NeuronCardScreen
from workbench.app.panes.chances import ChancesPane
from workbench.app.panes.history import HistoryPane
from workbench.app.panes.jobs import JobsPane
from workbench.app.panes.layers import LayersPane
from workbench.app.panes.neurons import NeuronsPane
from workbench.app.panes.result import ResultPane
from workbench.app.panes.shelf import ShelfPane
from workbench.app.session_view import EVERYTHING, NOTHING, Facet, SessionView
from workbench.app.terminal_driver import ForgivingDriver
from workbench.app.themes import FILTERS, NONE, THEMES, suited
from workbench.app.workspace import Workspace
from workbench.history import History

T = TypeVar("T")
PANES: dict[int, type[Pane]] = {
    HISTORY: HistoryPane,
    RESULT: ResultPane,
    NEURONS: NeuronsPane,
    CHANCES: ChancesPane,
    LAYERS: LayersPane,
    JOBS: JobsPane,
    SHELF: ShelfPane,
}
_STANDING = Facet.STATE | Facet.CIRCUIT | Facet.JOBS | Facet.HOST
#: Keys that decrease and increase a strength, by the word of `strength --of`; "" for live interventions, else α.
_TURNING = {
    "": ("left_square_bracket", "right_square_bracket"),
    "alpha": ("left_curly_bracket", "right_curly_bracket"),
    "beta": ("left_parenthesis", "right_parenthesis"),
}
_TURNED = {"": "strength of live interventions", "alpha": "α of the edit", "beta": "β of its brake"}
#: The keys that the bottom line always shows if there is room.
_USEFUL = {"palette": "verbs", "jump": "jump", "zoom": "zoom", "repl": "repl", "help": "help"}


class Bench(Screen[None]):
    """The screen of the panes. It is not redrawn when the focus moves."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class Shell(App[str]):
    """The screen and its keys.

    Args:
        home: folder of saved artifacts; None for the user's data folder.
        theme: the theme; overrides the user's file.
        mouse: whether the mouse is used, if the user's file allows it.
    """

    TITLE = "workbench"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+p", "palette", "verbs, and everything else", id="app.palette", priority=True),
        Binding("ctrl+o", "jump", "jump by letter", id="app.jump", priority=True),
        *(
            Binding(f"f{number + 1}", f"pane({number})", kind.heading, id=f"app.pane{number}", priority=True)
            for number, kind in PANES.items()
        ),
        Binding("ctrl+t", "zoom", "zoom the pane, or show all again", id="app.zoom", priority=True),
        Binding("f9", "repl", "line REPL on the same session", id="app.repl", priority=True),
        Binding("f1", "help", "keys and verbs", id="app.help", priority=True),
        Binding("y", "copy", "copy what is at the cursor", id="app.copy"),
        Binding("e", "edit", "open the pane's text in $EDITOR", id="app.edit"),
        Binding("colon", "line", "to the command line", id="app.line"),
        *(
            Binding(key, f"turn({what!r}, {sign})", f"{_TURNED[what]} {way}", id=f"app.{what or 'strength'}_{way}")
            for what, keys in _TURNING.items()
            for key, sign, way in zip(keys, (-1, 1), ("down", "up"), strict=True)
        ),
        Binding("escape", "stop_or_line", "stop the running line; else to the command line", id="app.stop"),
        Binding(
            "ctrl+c",
            "interrupt",
            "stop the running line; else clear the command line",
            id="app.interrupt",
            priority=True,
        ),
        Binding("ctrl+q", "leave", "leave; the host keeps running", id="app.leave", priority=True),
    ]
    CSS = """
    Screen { overflow: hidden; }
    """

    def __init__(self, home: Path | None, theme: str = "", mouse: bool = True) -> None:
        super().__init__()
        self.home = Store(home).home
        self.preferences = preferences.read(self.home, by_id(self.keyed().values()))
        self.mouse = mouse and self.preferences.mouse
        self.view = SessionView()
        self.line = CommandLine(History(self.home / "history"), self.complete)
        panes = {number: kind() for number, kind in PANES.items()}
        self.workspace = Workspace(panes, self.line)
        history, result, shelf = panes[HISTORY], panes[RESULT], panes[SHELF]
        assert isinstance(history, HistoryPane) and isinstance(result, ResultPane) and isinstance(shelf, ShelfPane)
        self.history, self.result = history, result
        shelf.home = self.home
        self.animation_level = "none"
        self._stale = dict.fromkeys(PANES, EVERYTHING)
        for each in THEMES.values():
            self.register_theme(each)
        self.theme = theme or self.preferences.theme or suited(os.environ)
        self.set_keymap(self.preferences.keys)

    def get_driver_class(self) -> type[Driver]:
        kind = super().get_driver_class()
        return ForgivingDriver if kind is LinuxDriver else kind

    def on_not_text(self) -> None:
        self.say("the input is not valid UTF-8 and was dropped", "put the text into a command file", wrong=True)

    @classmethod
    def keyed(cls) -> Mapping[str, type]:
        """The classes that have key bindings, by their headings."""
        panes = {kind.heading: kind for kind in PANES.values()}
        return {"Everywhere": cls, "Command line": CommandLine, **panes, "Neuron card": NeuronCardScreen}

    def complete(self, line: str, cursor: int) -> Sequence[Completion]:
        """Completions of the word at the cursor; called in a thread."""
        raise NotImplementedError

    # The screen

    def get_default_screen(self) -> Screen[None]:
        return Bench(id="_default")

    def compose(self) -> ComposeResult:
        yield self.workspace

    def on_mount(self) -> None:
        self.line.focus()

    def on_ready(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start work; called once the screen has been drawn."""
        wrong = self.preferences.wrong
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            self.say(wrong[0] + more, wrong=True)
        self.show_keys()

    def on_resize(self, event: Resize) -> None:
        self.workspace.fit(event.size)
        self._show_stale()

    def watch_theme(self, name: str) -> None:
        self.no_color = name == NONE

    def get_line_filters(self) -> Sequence[LineFilter]:
        own = FILTERS.get(self.theme)
        return [own] if own is not None else super().get_line_filters()[:1]

    def show_view(self, changed: Facet) -> None:
        """Show the parts of the view that changed."""
        for number, kind in PANES.items():
            self._stale[number] |= changed & kind.facets
            if changed & kind.news and changed != EVERYTHING:
                self.workspace.news(number)
        if changed & Facet.RESULTS and changed != EVERYTHING:
            self._bring_result()
        self._show_stale()
        if changed & _STANDING:
            self.workspace.status.show(self.view)
            self.show_keys()
        for screen in self.screen_stack[1:]:
            if changed and isinstance(screen, NeuronCardScreen):
                screen.show(self.view, changed)

    def _bring_result(self) -> None:
        """Where one pane has the screen and the user is at the command line, show what came of a line that ended."""
        workspace = self.workspace
        if not workspace.plan.frames and not workspace.zoomed and workspace.focused == LINE:
            workspace.bring(RESULT)

    def _show_stale(self) -> None:
        """Update the visible panes with what changed since their last update."""
        for number, stale in self._stale.items():
            if stale and self.workspace.shows(number):
                self._stale[number] = NOTHING
                self.workspace.panes[number].show(self.view, stale)

    def say(self, text: str, hint: str = "", wrong: bool = False) -> None:
        """Show a message under the command line."""
        self.workspace.say(Remark(text, hint, wrong=wrong))

    def show_keys(self) -> None:
        """Show the most useful keys."""
        self.workspace.keys.show(self._useful_keys())

    def _useful_keys(self) -> Iterator[UsefulKey]:
        """The most useful keys: the one that cancels, those of the focused pane, then the app's."""
        chosen = {**by_id([type(self)]), **self.preferences.keys}
        if self.view.running is not None:
            yield UsefulKey(pressed(chosen["app.stop"]), "cancel", split(chosen["app.stop"])[0])
        if self.workspace.focused != LINE:
            if self.view.state.live or self.view.state.edits_on:
                yield UsefulKey(pressed(f"{chosen['app.strength_down']},{chosen['app.strength_up']}"), "strength")
            for binding in self.workspace.panes[self.workspace.focused].BINDINGS:
                if isinstance(binding, Binding) and binding.show:
                    keys = chosen.get(binding.id or "", binding.key)
                    yield UsefulKey(pressed(keys), binding.description, split(keys)[0])
        for name, about in _USEFUL.items():
            yield UsefulKey(pressed(chosen[f"app.{name}"]), about, split(chosen[f"app.{name}"])[0])
            if name == "jump" and not any(each.startswith("app.pane") for each in self.preferences.keys):
                yield UsefulKey("F2–F8", "panes")

    def on_keys_pressed(self, message: Keys.Pressed) -> None:
        self.simulate_key(message.key)

    def on_descendant_focus(self) -> None:
        self.show_keys()

    def on_command_line_remarked(self, message: CommandLine.Remarked) -> None:
        self.workspace.say(message.remark)

    def on_command_line_offered(self, message: CommandLine.Offered) -> None:
        self.workspace.offer(message.choices, message.column, message.at)

    def on_choices_chosen(self, message: Choices.Chosen) -> None:
        self.line.choose(message.row)

    def on_pane_typed(self, message: Pane.Typed) -> None:
        self.line.put(message.line)
        self.action_line()

    def on_history_pane_chosen(self, message: HistoryPane.Chosen) -> None:
        self.result.display_entry(message.entry)

    def on_pane_noted(self, message: Pane.Noted) -> None:
        self.say(message.text)

    def on_pane_copied(self, message: Pane.Copied) -> None:
        self.copy_text(message.text)

    def on_layers_pane_narrowed(self, message: LayersPane.Narrowed) -> None:
        self.action_pane(NEURONS)
        self.workspace.panes[NEURONS].narrow(message.filter)  # type: ignore[attr-defined]

    # Focus

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Under a modal screen, disable the actions of the panes."""
        return len(self.screen_stack) <= 1 or action not in _OF_PANES

    def go(self, place: int) -> None:
        """Move the focus to a pane or the command line."""
        if place == LINE:
            self.action_line()
        else:
            self.action_pane(place)

    def action_pane(self, number: int) -> None:
        self.workspace.bring(number)
        self._show_stale()
        self.screen.set_focus(
            self.workspace.panes[number], scroll_visible=False
        )  # at once, so that the pane gets the next key

    def action_line(self) -> None:
        self.screen.set_focus(self.line, scroll_visible=False)

    def action_zoom(self) -> None:
        self.workspace.zoom()
        self._show_stale()

    def action_jump(self) -> None:
        self.workspace.letter(True)

    async def on_event(self, event: Event) -> None:
        """While the headings show letters, take the next key as one of them; other keys of the app still work."""
        if self.workspace.lettered and isinstance(event, Key) and not event.is_forwarded:
            self.workspace.letter(False)
            place = PLACES.get((event.character or "").lower())
            if place is not None:
                self.go(place)
            if event.is_printable or event.key == "escape":
                return
        if isinstance(event, Key) and not event.is_forwarded and not self.line.pasted:
            self.workspace.say(Remark())  # a message has been read by the next key
        await super().on_event(event)

    def on_workspace_pointed(self, message: Workspace.Pointed) -> None:
        self.go(message.pane)

    def action_help(self) -> None:
        from workbench.app.keys import KeyScreen

        self.push_screen(KeyScreen(self.keyed(), self.preferences.keys))

    # Files and other programs

    def action_theme(self, name: str) -> None:
        self.theme = name
        self.tried(partial(preferences.keep_theme, self.home, name))

    def action_copy(self) -> None:
        selected = self.screen.get_selected_text()
        self.copy_text(selected or self._in_sight().chosen())

    def copy_text(self, text: str) -> None:
        """Put a text into the clipboard, and into a file for terminals that have none."""
        if not text:
            self.say("there is nothing to copy here")
            return
        self.copy_to_clipboard(text.encode(errors="replace").decode())
        path = self.tried(partial(copying.kept, text, self.home))
        if path:
            self.say(f"copied {len(text):,} characters · also in {path}")

    def action_edit(self) -> None:
        text = self._in_sight().text()
        self.elsewhere(lambda: copying.edit(text, copying.editor(os.environ)))

    def elsewhere(self, task: Callable[[], object]) -> None:
        """Give the terminal to another program until it ends."""
        try:
            with self.suspend(), copying.undisturbed():
                self.tried(task)
        except SuspendNotSupported:
            self.say("a browser cannot run another program", "use a terminal", wrong=True)

    def tried(self, task: Callable[[], T]) -> T | None:
        """Run a task. Returns its result; shows an error and returns None if it fails."""
        try:
            return task()
        except WorkbenchError as error:
            self.say(error.message, error.hint, wrong=True)
        return None

    def _in_sight(self) -> Pane | NeuronCardScreen:
        """The source of a copy: the open card, else the pane that has or last had the focus."""
        return (
            self.screen if isinstance(self.screen, NeuronCardScreen) else self.workspace.panes[self.workspace.current]
        )


#: Actions that work only when no modal screen is open.
_OF_PANES = {"palette", "jump", "pane", "zoom", "repl", "help", "line", "stop_or_line", "turn"}
