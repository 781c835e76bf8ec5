"""The history: one entry a line, with a headline of what came of it. The result pane shows the entry at the cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from sessions.events import Failed, Result
from sessions.views import view as view_of
from sessions.views.headline import headline
from sessions.views.writing import duration
from workbench.app.scroll_pane import Paragraph, RichParagraph, ScrollPane
from workbench.app.searched_pane import SearchedPane
from workbench.app.session_view import Facet, HistoryEntry, SessionView
from workbench.app.wrapping import row, tail, wrapped
from workbench.writing import fitted, inline

_CURSOR = "▸"
#: The mark of an entry: it waits, it runs, it is done, it failed.
WAITING, RUNNING, DONE, WRONG = "·", "◐", "✓", "✗"
_BOLD, _DIM = Style(bold=True), Style(dim=True)
#: Cells before a line: the cursor, the mark and a blank. The lines of a command file are indented further.
_LEAD, _INDENT = 3, 2
#: The most rows of a typed line, and of the message of a failure.
_ROWS = 3


class HistoryPane(SearchedPane):
    """The lines that were run, oldest first. Moving shows their results; enter puts a line into the command line.

    `own` is the author of this client's lines; other authors are shown.
    """

    heading: ClassVar[str] = "History"
    facets: ClassVar[Facet] = Facet.ENTRIES | Facet.HOST
    follows: ClassVar[bool] = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "line", id="history.up", show=False),
        Binding("down,j", "step(1)", "line", id="history.down", show=False),
        Binding("enter", "take_up", "again", id="history.again"),
        Binding("slash", "search", "search", id="history.search"),
        Binding("escape", "unsearch", "all lines again", id="history.unsearch", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """The entry whose result is to be shown; None for the latest one, whichever that is."""

        entry: HistoryEntry | None

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.own = ""
        self._view: SessionView | None = None
        self._known: dict[HistoryEntry, EntryBlock] = {}
        self._entries: dict[HistoryEntry, EntryBlock] = {}  # those that have what is searched for
        self._chosen: EntryBlock | None = None  # None: always the last

    def show(self, view: SessionView, changed: Facet) -> None:
        self._view = view
        listed = [entry for entry in view.entries if not entry.quiet]
        self._known = {entry: self._known.get(entry) or EntryBlock(entry, self.own) for entry in listed}
        wanted = self.searched.casefold()
        self._entries = {entry: block for entry, block in self._known.items() if block.says(wanted)}
        if self._chosen is not None and self._chosen.entry not in self._entries:
            self._chosen = None
        blocks: list[Paragraph] = list(self._entries.values())
        if not blocks and self.searched:
            blocks = [_remark("no line has it: esc shows all again")]
        if view.missed:
            blocks.insert(0, _remark(f"{view.missed:,} messages before this are no longer kept"))
        if view.host:
            blocks.append(_remark(view.host))
        self.blocks = blocks
        self.settle()

    def chosen(self) -> str:
        block = self._at_cursor()
        return block.entry.line.strip() if block else ""

    def text(self) -> str:
        return "\n".join(block.text() for block in self._entries.values())

    def follow(self) -> None:
        """Show the latest line, and stay there."""
        self._choose(None)

    def remarks(self) -> str:
        if self.typing or self.searched:
            return self.search_note(len(self._entries))
        block = self._at_cursor()
        if self._chosen is None or block is None:
            return ""
        return f"{list(self._entries.values()).index(block) + 1:,} of {len(self._entries):,}"

    def dressed(self, block: Paragraph, number: int, line: Strip) -> Strip:
        if number or block is not self._at_cursor():
            return line
        cursor = self.get_component_rich_style("scroll--cursor", partial=True) if self.has_focus else Style()
        segments = [(text, style) for text, style, _ in line]
        first, style = segments[0]
        rest = [(text, (one or Style()) + cursor) for text, one in segments[1:]]
        return row((_CURSOR + first[1:], style), *rest)

    def action_step(self, lines: int) -> None:
        """Move the cursor by some lines of the history."""
        blocks = list(self._entries.values())
        if not blocks:
            return
        block = self._at_cursor()
        place = blocks.index(block) + lines if block else 0
        self._choose(blocks[min(max(place, 0), len(blocks) - 1)])

    def action_first(self) -> None:
        self._choose(next(iter(self._entries.values()), None))

    def action_last(self) -> None:
        self._choose(None)

    def action_take_up(self) -> None:
        """Put the line at the cursor into the command line."""
        block = self._at_cursor()
        if block:
            self.post_message(self.Typed(block.entry.line.strip()))

    def on_click(self, event: events.Click) -> None:
        block = self.at_row(event.y)
        if isinstance(block, EntryBlock):
            self._choose(block)
            if event.chain > 1:
                self.action_take_up()

    def search_changed(self) -> None:
        if self._view is not None:
            self.show(self._view, Facet.ENTRIES)

    def _at_cursor(self) -> EntryBlock | None:
        return self._chosen or next(reversed(self._entries.values()), None)

    def _choose(self, block: EntryBlock | None) -> None:
        last = next(reversed(self._entries.values()), None)
        self._chosen = None if block is last else block
        if self._chosen is None:
            ScrollPane.action_last(self)
        elif block is not None:
            self.jump(block)
        self.settle()
        self.post_message(self.Chosen(None if self._chosen is None else self._chosen.entry))


def _remark(text: str) -> Paragraph:
    """A remark that is not about a line."""
    return RichParagraph(Text(f"· {inline(text)}", style="dim"))


def headline_of(entry: HistoryEntry) -> str:
    """What came of a line, or what it does at the moment, on one line."""
    match entry.outcome:
        case Result():
            return headline(view_of(entry.outcome.value), entry.line)
        case Failed(message=message, where=where):
            return f"{where}: {message}" if where and where != entry.where else message
    if not entry.started:
        lines = "a line" if entry.before == 1 else f"{entry.before:,} lines"
        return f"waiting for {lines}" if entry.before else "waiting"
    if entry.progress is not None:
        return entry.progress.label
    return ""


class EntryBlock(Paragraph):
    """A line with its headline."""

    def __init__(self, entry: HistoryEntry, own: str = "") -> None:
        self.entry = entry
        self._own = own
        self._words: tuple[int, str] = (-1, "")  # the searched texts of a version of the entry

    def says(self, wanted: str) -> bool:
        """Whether the line, its headline, its texts or its hint have a text, in lower case."""
        entry = self.entry
        if wanted and self._words[0] != entry.version:
            hint = entry.outcome.hint if isinstance(entry.outcome, Failed) else ""
            texts = [entry.line, *entry.texts.values(), headline_of(entry), hint]
            self._words = entry.version, "\n".join(texts).casefold()
        return not wanted or wanted in self._words[1]

    def stamp(self) -> object:
        return self.entry.version, self.entry.before, self.entry.started

    def drawn(self, width: int) -> Sequence[Strip]:
        indent = _LEAD + (_INDENT if self.entry.where else 0)
        return [*self._line(width, indent), *self._headline(width, indent)]

    def text(self) -> str:
        """The entry for another program."""
        words = headline_of(self.entry)
        return f"{self.entry.line.strip()}\n  {words}" if words else self.entry.line.strip()

    def _line(self, width: int, indent: int) -> Iterator[Strip]:
        """The line, with the time that it took, and its author or file, at the right end."""
        entry = self.entry
        style = _BOLD if entry.started or entry.outcome else _DIM
        first, *rest = wrapped(inline(entry.line.strip()) or "…", max(width - indent, 1))[:_ROWS]
        behind = " ".join(filter(None, (self._origin(), self._took())))
        room = width - indent - cell_len(first) - cell_len(behind)
        after = " " * room + behind if behind and room > 0 else ""
        yield row((f" {self._mark()}{' ' * (indent - 2)}", style), (first, style), (after, _DIM))
        for line in rest:
            yield row((" " * indent + line, style))

    def _mark(self) -> str:
        match self.entry.outcome:
            case Result():
                return DONE
            case Failed():
                return WRONG
        return RUNNING if self.entry.started else WAITING

    def _took(self) -> str:
        outcome = self.entry.outcome
        return duration(outcome.seconds) if outcome is not None and outcome.seconds >= 0.05 else ""

    def _origin(self) -> str:
        entry = self.entry
        if entry.where:
            return inline(entry.where.replace("\\", "/").rsplit("/", 1)[-1])
        return inline(entry.author) if self._own and entry.author != self._own else ""

    def _headline(self, width: int, indent: int) -> Iterator[Strip]:
        entry = self.entry
        room = max(width - indent, 1)
        margin = " " * indent
        if isinstance(entry.outcome, Failed):
            for line in wrapped(inline(headline_of(entry)), room)[:_ROWS]:
                yield row(margin + line)
            return
        streamed = next((text for text in reversed(entry.texts.values()) if text), "")
        words = headline_of(entry)
        if entry.outcome is None and entry.started and streamed:
            yield row(margin, (tail(streamed, room), _DIM))
        elif words:
            yield row(margin, (fitted(inline(words), room), _DIM))
        if entry.value is not None and entry.value.notes:  # it may stand below the end of the result pane
            yield row(margin, (fitted(f"· {inline(entry.value.notes[-1])}", room), _DIM))
