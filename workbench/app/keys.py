"""The screen that lists all keys and verbs, with the user's own keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from commands import grammar
from workbench.app import preferences
from workbench.app.bindings import bindings_of, pressed
from workbench.app.scroll_pane import RichParagraph, ScrollPane
from workbench.app.session_view import NOTHING, Facet, SessionView
from workbench.app.wrapping import written_out


class KeyList(ScrollPane):
    """The keys and the verbs."""

    heading = "Keys and verbs"
    facets = NOTHING

    def __init__(self, kinds: Mapping[str, type], chosen: Mapping[str, str]) -> None:
        super().__init__()
        self._kinds, self._chosen = kinds, chosen

    def on_mount(self) -> None:
        self.blocks = [RichParagraph(each) for each in self._paragraphs()]
        self.settle()

    def show(self, view: SessionView, changed: Facet) -> None:
        """Do nothing: the list does not depend on the session."""

    def chosen(self) -> str:
        return self.text()

    def text(self) -> str:
        return written_out(self._paragraphs())

    def _paragraphs(self) -> Iterator[RenderableType]:
        for title, kind in self._kinds.items():
            yield Text(title, "bold")
            yield _table([self._row(binding) for binding in bindings_of(kind)])
        families: dict[str, list[tuple[str, str, str]]] = {}
        for name, verb in grammar.VERBS.items():
            families.setdefault(verb.family, []).append((name, verb.summary, ""))
        for family, rows in families.items():
            yield Text(family, "bold")
            yield _table(rows)
        yield Text(f"To change keys, name the ids at the right under [keys] in {preferences.FILE}.", "dim")

    def _row(self, binding: Binding) -> tuple[str, str, str]:
        name = str(binding.id)
        return pressed(self._chosen.get(name, binding.key)), binding.description, name


def _table(rows: Sequence[tuple[str, str, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(min_width=12, max_width=24)
    grid.add_column(ratio=1)
    grid.add_column(style="dim")
    for row in rows:
        grid.add_row(*map(Text, row))
    return Padding(grid, (0, 0, 1, 2))


class KeyScreen(ModalScreen[None]):
    """All keys, over the panes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", "close", id="keys.close")]
    DEFAULT_CSS = """
    KeyScreen { align: center middle; background: transparent; }
    KeyScreen > KeyList {
        width: 94%; max-width: 110; height: 94%; padding: 0 1;
        border: round $border; border-title-color: $text; background: $background;
    }
    """

    def __init__(self, kinds: Mapping[str, type], chosen: Mapping[str, str]) -> None:
        super().__init__()
        self._list = KeyList(kinds, chosen)
        self._list.border_title = self._list.heading
        self._list.border_subtitle = "esc closes"

    def compose(self) -> ComposeResult:
        yield self._list
