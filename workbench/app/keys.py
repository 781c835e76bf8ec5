"""The screen that lists all keys and verbs, with the user's own keys. What is typed narrows the list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from commands.grammar import suggestion
from commands.verb import families
from workbench.app import preferences
from workbench.app.bindings import bindings_of, pressed
from workbench.app.line_input import LineInput
from workbench.app.scroll_pane import RichParagraph, ScrollPane
from workbench.app.session_view import NOTHING, Facet, SessionView
from workbench.app.wrapping import written_out

#: A row of the list: keys or a verb, what it does, the id of a key, and further words that find it.
Row = tuple[str, str, str, str]


class KeyList(ScrollPane):
    """The keys and the verbs, those that `query` finds: a word of each must stand in what is shown, or in a synonym."""

    heading = "Keys and verbs"
    facets = NOTHING
    can_focus = False

    def __init__(self, kinds: Mapping[str, type], chosen: Mapping[str, str]) -> None:
        super().__init__()
        self._kinds, self._chosen = kinds, chosen
        self.query_text = ""

    def on_mount(self) -> None:
        self.narrow("")

    def narrow(self, query: str) -> None:
        """Show what this finds; everything for an empty query."""
        self.query_text = query
        self.blocks = [RichParagraph(each) for each in self._paragraphs()]
        self.begin()
        self.settle()

    def show(self, view: SessionView, changed: Facet) -> None:
        """Do nothing: the list does not depend on the session."""

    def chosen(self) -> str:
        return self.text()

    def text(self) -> str:
        return written_out(self._paragraphs())

    def _paragraphs(self) -> Iterator[RenderableType]:
        found = False
        for title, rows in self._groups().items():
            shown = [row for row in rows if self._finds(title, row)]
            if shown:
                found = True
                yield Text(title, "bold")
                yield _table([row[:3] for row in shown])
        if not found:
            yield Text(f"no match · {suggestion(self.query_text)}")
        if not self.query_text.strip():
            yield Text(f"To change keys, name the ids at the right under [keys] in {preferences.FILE}.", "dim")

    def _groups(self) -> dict[str, list[Row]]:
        """All rows by their titles: keys by the places where they work, verbs by their families."""
        groups = {title: [self._row(binding) for binding in bindings_of(kind)] for title, kind in self._kinds.items()}
        for family, verbs in families().items():
            groups[family] = [(str(v.name), v.summary, "", " ".join((*v.also, *v.synonyms))) for v in verbs]
        return groups

    def _finds(self, title: str, row: Row) -> bool:
        """Whether every word of the query stands in a row or in its title."""
        text = " ".join((title, *row)).casefold()
        return all(word in text for word in self.query_text.casefold().split())

    def _row(self, binding: Binding) -> Row:
        name = str(binding.id)
        keys = self._chosen.get(name, binding.key)
        return pressed(keys), binding.description, name, keys


def _table(rows: Sequence[tuple[str, str, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(min_width=12, max_width=24)
    grid.add_column(ratio=1)
    grid.add_column(style="dim")
    for row in rows:
        grid.add_row(*map(Text, row))
    return Padding(grid, (0, 0, 1, 2))


class KeyScreen(ModalScreen[None]):
    """All keys, over the panes. Typing narrows them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1", "dismiss", "close", id="keys.close"),
        Binding("up", "scroll('move', -1)", "up", id="keys.up", priority=True),
        Binding("down", "scroll('move', 1)", "down", id="keys.down", priority=True),
        Binding("pageup", "scroll('page', -1)", "page up", id="keys.page_up", priority=True),
        Binding("pagedown", "scroll('page', 1)", "page down", id="keys.page_down", priority=True),
    ]
    DEFAULT_CSS = """
    KeyScreen { align: center middle; background: transparent; }
    KeyScreen > Vertical {
        width: 94%; max-width: 110; height: 94%; padding: 0 1;
        border: round $border; border-title-color: $text; background: $background;
    }
    KeyScreen KeyList { height: 1fr; background: $background; margin: 1 0 0 0; }
    """

    def __init__(self, kinds: Mapping[str, type], chosen: Mapping[str, str]) -> None:
        super().__init__()
        self._list = KeyList(kinds, chosen)
        self._entry = LineInput()

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = f"{KeyList.heading}: type to search"
            box.border_subtitle = "esc closes"
            yield self._entry
            yield self._list

    def on_mount(self) -> None:
        self._entry.focus()

    def on_input_changed(self) -> None:
        self._list.narrow(self._entry.value)

    def action_scroll(self, how: str, rows: int) -> None:
        self._list.action_move(rows) if how == "move" else self._list.action_page(rows)
