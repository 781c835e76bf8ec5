"""The palette: verbs, saved circuits, command files and actions of the app, found by a few letters of their names.

A complete line runs at once, and so do circuits, command files and actions. A verb with arguments goes to the command
line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.fuzzy import Matcher
from textual.screen import ModalScreen

from commands import calling, grammar, library
from commands.completing import Completion
from sessions.errors import UsageError
from workbench.app.choices import Choice, Choices
from workbench.app.line_input import LineInput
from workbench.app.palette_items import PaletteItem

#: The most command files of the current folder.
_MOST_FILES = 200


def verbs() -> Iterator[PaletteItem]:
    """The verbs, family by family. A verb without arguments runs when it is chosen."""
    for name, verb in grammar.VERBS.items():
        yield (
            PaletteItem(name, verb.summary, typed=f"{name} ")
            if verb.params
            else PaletteItem(name, verb.summary, line=name)
        )


def saved(complete: Callable[[str, int], Sequence[Completion]]) -> Iterator[PaletteItem]:
    """The saved circuits, and the command files of this folder and of the workbench."""
    for name in complete("load ", 5):
        yield PaletteItem(f"load {name.text}", name.description or "saved circuit", line=f"load {name.text}")
    here = sorted(Path().glob("*.wb"))[:_MOST_FILES]
    for path in here:
        yield PaletteItem(f"run {path.name}", "command file", line=calling.call_line("run", str(path)))
    for file in library.files():
        yield PaletteItem(f"run {file.name}", file.heading, line=calling.call_line("run", file.path))


def sifted(items: Sequence[PaletteItem], query: str) -> list[PaletteItem]:
    """The items that match the query, the best first; before them the query itself if it is a complete line."""
    query = query.strip()
    if not query:
        return list(items)
    matcher = Matcher(query)
    scored = [(matcher.match(item.name), item) for item in items]
    matches = [item for score, item in sorted(scored, key=lambda pair: -pair[0]) if score > 0]
    matches += [item for score, item in scored if score == 0 and query.lower() in item.about.lower()]
    return [PaletteItem(query, "run this line", line=query), *matches] if _runs(query) else matches


def _runs(line: str) -> bool:
    try:
        grammar.parse(line)
    except UsageError:
        return False
    return True


class Palette(ModalScreen[PaletteItem]):
    """The screen of the palette.

    Args:
        actions: the app's own actions.
        complete: returns the completions of a line; called in a thread.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+p", "dismiss", "close", id="palette.close"),
        Binding("up", "move(-1)", "up", id="palette.up", priority=True),
        Binding("down,tab,ctrl+n", "move(1)", "down", id="palette.down", priority=True),
        Binding("pageup", "move(-10)", "page up", id="palette.page_up", priority=True),
        Binding("pagedown", "move(10)", "page down", id="palette.page_down", priority=True),
    ]
    DEFAULT_CSS = """
    Palette { align: center top; background: transparent; }
    Palette > Vertical {
        width: 96%; max-width: 100; height: 70%; max-height: 28; margin: 1 0; padding: 0 1;
        border: round $border; border-title-color: $text; background: $background;
    }
    Palette Choices { height: 1fr; background: $background; margin: 1 0 0 0; }
    """

    def __init__(self, actions: Sequence[PaletteItem], complete: Callable[[str, int], Sequence[Completion]]) -> None:
        super().__init__()
        self.items: list[PaletteItem] = [*verbs(), *actions]
        self.found: list[PaletteItem] = []
        self._complete = complete
        self._entry, self._choices = LineInput(), Choices()

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "type a verb, a name, or a whole line"
            yield self._entry
            yield self._choices

    def on_mount(self) -> None:
        self._entry.focus()
        self._sift()
        self.run_worker(self._look, thread=True, exit_on_error=False)

    def _look(self) -> None:
        """Add what is saved. Runs in a thread."""
        items = list(saved(self._complete))
        self.app.call_from_thread(self._add, items)

    def _add(self, items: list[PaletteItem]) -> None:
        self.items += items
        self._sift()

    def on_input_changed(self) -> None:
        self._sift()

    def _sift(self) -> None:
        self.found = sifted(self.items, self._entry.value)
        self._choices.offer([Choice(item.name, item.about) for item in self.found], 0 if self.found else -1)

    def action_move(self, rows: int) -> None:
        self._choices.move(rows)

    def on_input_submitted(self) -> None:
        self._choose(self._choices.at)

    def on_choices_chosen(self, message: Choices.Chosen) -> None:
        message.stop()
        self._choose(message.row)

    def _choose(self, row: int) -> None:
        if 0 <= row < len(self.found):
            self.dismiss(self.found[row])
