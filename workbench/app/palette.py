"""The palette: everything that can be done, found by a few letters of its name.

A line that is complete runs; a verb that takes arguments goes to the command line; circuits, command files and what
the app itself can do are done at once.
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

#: The most command files of the folder that one is in.
_MOST_FILES = 200


def verbs() -> Iterator[PaletteItem]:
    """The verbs, family by family; one without arguments runs when it is chosen."""
    for name, verb in grammar.VERBS.items():
        yield (
            PaletteItem(name, verb.summary, typed=f"{name} ")
            if verb.params
            else PaletteItem(name, verb.summary, line=name)
        )


def saved(complete: Callable[[str, int], Sequence[Completion]]) -> Iterator[PaletteItem]:
    """The saved circuits, and the command files of this folder and of the workbench."""
    for found in complete("load ", 5):
        yield PaletteItem(f"load {found.text}", found.description or "saved circuit", line=f"load {found.text}")
    here = sorted(Path().glob("*.wb"))[:_MOST_FILES]
    for path in here:
        yield PaletteItem(f"run {path.name}", "command file", line=calling.call_line("run", str(path)))
    for file in library.files():
        yield PaletteItem(f"run {file.name}", file.heading, line=calling.call_line("run", file.path))


def sifted(items: Sequence[PaletteItem], query: str) -> list[PaletteItem]:
    """What fits the query, the best first; above it the query itself where it is a line that runs."""
    query = query.strip()
    if not query:
        return list(items)
    matcher = Matcher(query)
    scored = [(matcher.match(item.name), item) for item in items]
    found = [item for score, item in sorted(scored, key=lambda pair: -pair[0]) if score > 0]
    found += [item for score, item in scored if score == 0 and query.lower() in item.about.lower()]
    return [PaletteItem(query, "run this line", line=query), *found] if _runs(query) else found


def _runs(line: str) -> bool:
    try:
        grammar.parse(line)
    except UsageError:
        return False
    return True


class Palette(ModalScreen[PaletteItem]):
    """Asks what is to be done.

    Args:
        actions: what the app itself can do.
        complete: the completions of a line; called in a thread.
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
        """In a thread: what is saved."""
        found = list(saved(self._complete))
        self.app.call_from_thread(self._add, found)

    def _add(self, items: list[PaletteItem]) -> None:
        self.items += items
        self._sift()

    def on_input_changed(self) -> None:
        self._sift()

    def _sift(self) -> None:
        self.found = sifted(self.items, self._entry.value)
        self._choices.offer([Choice(each.name, each.about) for each in self.found], 0 if self.found else -1)

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
