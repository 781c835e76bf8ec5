"""The palette: verbs, saved circuits, command files and actions of the app, found by a few letters of their names.

A complete line runs at once, and so do circuits, command files and actions. A verb with arguments goes to the command
line. While nothing is typed, everything stands under headings, the verbs as in `help`; before them those that the user
types most. Synonyms and options of verbs are found too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from commands import arranging, calling, grammar, library
from commands.completing import Completion
from commands.needs import missing
from commands.verb import families
from sessions.events import State
from workbench.app.choices import Choice, Choices
from workbench.app.line_input import LineInput
from workbench.app.palette_items import PaletteItem, most_used, sifted

#: The most command files of the current folder.
_MOST_FILES = 200
#: The most verbs under the first heading, and how many of the last lines count.
_MOST_USED, _LAST_LINES = 5, 2000


def verbs(state: State | None = None) -> Iterator[PaletteItem]:
    """The verbs, family by family. A verb without arguments runs when it is chosen.

    `state` is the session's: verbs say what they miss in it.
    """
    for family, members in families().items():
        for verb in members:
            name = str(verb.name)
            yield PaletteItem(
                name,
                verb.summary,
                line="" if verb.params else name,
                typed=f"{name} " if verb.params else "",
                synonyms=(*verb.also, *verb.synonyms),
                group=family,
                missing="" if state is None else missing(verb.needs, state),
            )


def options() -> Iterator[PaletteItem]:
    """The options of all verbs, which are found by their names."""
    for verb in grammar.VERBS.values():
        for name, option in arranging.options_of(verb).items():
            yield PaletteItem(f"{verb.name} {name}", option.help or "", typed=f"{verb.name} {name} ")


def saved(complete: Callable[[str, int], Sequence[Completion]]) -> Iterator[PaletteItem]:
    """The saved circuits, and the command files of this folder and of the workbench."""
    for name in complete("load ", 5):
        about = name.description or "saved circuit"
        yield PaletteItem(f"load {name.text}", about, line=f"load {name.text}", group="Saved circuits")
    here = sorted(Path().glob("*.wb"))[:_MOST_FILES]
    for path in here:
        line = calling.call_line("run", str(path))
        yield PaletteItem(f"run {path.name}", "command file", line=line, group="Command files")
    for file in library.files():
        line = calling.call_line("run", file.path)
        yield PaletteItem(f"run {file.name}", file.heading, line=line, group="Command files")


def uses_of(lines: Sequence[str]) -> Counter[str]:
    """How often each verb stands in the last of these lines; `quit` and `clear` do not count."""
    heads = (grammar.verb_named(line) for line in lines[-_LAST_LINES:])
    return Counter(head for head in heads if head not in ("", "quit", "clear"))


class Palette(ModalScreen[PaletteItem]):
    """The screen of the palette.

    Args:
        actions: the app's own actions.
        complete: returns the completions of a line; called in a thread.
        state: what the session holds.
        typed: the lines typed before, oldest first; verbs that are used most come first.
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

    def __init__(
        self,
        actions: Sequence[PaletteItem],
        complete: Callable[[str, int], Sequence[Completion]],
        state: State | None = None,
        typed: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.items: list[PaletteItem] = [*verbs(state), *options(), *actions]
        self.found: list[PaletteItem] = []
        self._uses = uses_of(typed)
        self._rows: list[PaletteItem | None] = []  # of the list; None for a heading
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
        self._sift(keep=True)

    def on_input_changed(self) -> None:
        self._sift()

    def _sift(self, keep: bool = False) -> None:
        """Show what matches. `keep` leaves the cursor on its item; else it goes to the first."""
        at = self._choices.at if keep else -1
        chosen = self._rows[at] if 0 <= at < len(self._rows) else None
        query = self._entry.value.strip()
        self.found = sifted(self.items, query, self._uses)
        groups = {"": self.found} if query else self._grouped()
        choices: list[Choice] = []
        self._rows = []
        for title, items in groups.items():
            if title:
                choices.append(Choice(title, heading=True))
                self._rows.append(None)
            choices += [Choice(item.name, item.described) for item in items]
            self._rows += items
        if not self.found:
            choices = [Choice("no match", grammar.suggestion(query))]
        first = next((at for at, item in enumerate(self._rows) if item is not None), -1)
        self._choices.offer(choices, self._rows.index(chosen) if chosen in self._rows and chosen else first)

    def _grouped(self) -> dict[str, list[PaletteItem]]:
        """All items under their headings, those that are used most before them."""
        groups = {"Most used": most_used(self.found, self._uses, _MOST_USED)}
        for item in self.found:
            groups.setdefault(item.group, []).append(item)
        return {title: items for title, items in groups.items() if items}

    def action_move(self, rows: int) -> None:
        if self.found:
            self._choices.move(rows)

    def on_input_submitted(self) -> None:
        self._choose(self._choices.at)

    def on_choices_chosen(self, message: Choices.Chosen) -> None:
        message.stop()
        self._choose(message.row)

    def _choose(self, row: int) -> None:
        item = self._rows[row] if 0 <= row < len(self._rows) else None
        if item is not None:
            self.dismiss(item)
