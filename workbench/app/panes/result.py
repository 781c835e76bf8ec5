"""The result pane: what came of one line, drawn by its view; of a running line, what it has so far.

It shows the latest line, or the one that is chosen in the history. A pinned pane keeps what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip

from sessions.events import Failed, Result
from sessions.views import view as view_of
from sessions.views.blocks import UNITS
from workbench.app.arm_texts import CHANGED, StreamingTexts
from workbench.app.columns import row_of
from workbench.app.composing import letters
from workbench.app.filtering import hint
from workbench.app.first_steps import FIRST
from workbench.app.opening import opening
from workbench.app.panes.card import NeuronCardScreen
from workbench.app.result_blocks import ResultTable, Shown, TableHeading, TableRow, shown
from workbench.app.scroll_pane import Paragraph, RichParagraph
from workbench.app.searched_pane import SearchedPane
from workbench.app.session_view import Facet, HistoryEntry, SessionView
from workbench.app.wrapping import Growing, row
from workbench.rendering.outcomes import failure
from workbench.writing import fitted, inline, plain

#: The most cells of the line in the frame.
_LINE = 60


class ResultPane(SearchedPane):
    """The result of a line. Its tables are sorted, searched and marked as that of the neurons is."""

    heading: ClassVar[str] = "Result"
    facets: ClassVar[Facet] = Facet.ENTRIES | Facet.HOST
    news: ClassVar[Facet] = Facet.RESULTS
    COMPONENT_CLASSES: ClassVar[set[str]] = {"result--changed"}
    DEFAULT_CSS = """
    ResultPane > .result--changed { text-style: bold; color: $text-warning; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "up", id="result.up", show=False),
        Binding("down,j", "step(1)", "down", id="result.down", show=False),
        Binding("enter", "open", "open", id="result.open"),
        Binding("space", "mark", "mark", id="result.mark"),
        Binding("asterisk", "mark_all", "mark all shown, or none", id="result.mark_all", show=False),
        Binding("slash", "search", "search", id="result.search"),
        Binding("escape", "unsearch", "everything again", id="result.unsearch", show=False),
        Binding("less_than_sign", "sort(-1)", "sort by the column before", id="result.sort_left", show=False),
        Binding("greater_than_sign", "sort(1)", "sort by the next column", id="result.sort_right", show=False),
        Binding("o", "turn", "reverse the order", id="result.turn", show=False),
        Binding("O", "rank", "the result's own order", id="result.rank", show=False),
        Binding("p", "pin", "pin", id="result.pin"),
        Binding("Y", "markdown", "copy the block as Markdown", id="result.markdown", show=False),
        *(
            Binding(letter, f"compose('{verb}')", verb, id=f"result.{verb}", show=letter == "a")
            for letter, verb in letters().items()
        ),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.entry: HistoryEntry | None = None
        self.pinned = False
        self._chosen: HistoryEntry | None = None  # by the user, in the history; None: always the latest
        self._view: SessionView | None = None
        self._stamp: object = None
        self._parts: list[Shown | ResultTable] = []
        self._stops: list[Shown] = []
        self._at: Shown | None = None
        self._wrong = ""  # what is wrong with the filter
        self._streaming: StreamingTexts | None = None
        self._growing = GrowingText()

    # What is shown

    def show(self, view: SessionView, changed: Facet) -> None:
        self._view = view
        known = set(view.entries)
        if self._chosen is not None and self._chosen not in known:
            self._chosen = None
        if self.entry is not None and self.entry not in known:
            self.entry, self.pinned = None, False
        self._turn()

    def display_entry(self, entry: HistoryEntry | None) -> None:
        """Show the result of an entry; None for the latest one from now on."""
        self._chosen = entry
        if not self.pinned:
            self._turn()

    def _turn(self) -> None:
        """Show the entry that is to be shown, as it is now."""
        if self._view is None:
            return
        entry = self.entry if self.pinned else self._chosen or self._view.latest
        stamp = None if entry is None else (id(entry), entry.version if not _streams(entry) else -1)
        if entry is not self.entry:
            self.entry, self._streaming, self._growing = entry, None, GrowingText()
            self._stop_search()
            self._at = None
            self.begin()
        if entry is not None and _streams(entry):
            self._stream(entry)
        elif stamp != self._stamp or not self.blocks:
            self._parts = self._read(entry)
            self._arrange_parts()
        self._stamp = stamp
        self.settle()

    def _stream(self, entry: HistoryEntry) -> None:
        """Show the texts of a running line so far."""
        self._parts, self._stops, self._at = [], [], None
        if set(entry.texts) == {""}:
            self._growing.text = entry.texts[""]
            self.blocks = [self._growing]
        else:
            if self._streaming is None:
                self._streaming = StreamingTexts()
            self._streaming.rows = self.size.height
            self._streaming.grow({name: text for name, text in entry.texts.items() if name})
            self.blocks = [self._streaming]
        self.at_end = True

    def _read(self, entry: HistoryEntry | None) -> list[Shown | ResultTable]:
        """The parts of what came of an entry, or of its result so far."""
        if entry is None:
            return []
        value = entry.partial if entry.value is None else entry.value
        seconds = entry.outcome.seconds if isinstance(entry.outcome, Result) else 0.0
        return [] if value is None else shown(view_of(value), seconds, lambda: self.size.height)

    def _arrange_parts(self) -> None:
        """Lay out the parts again: in another order, or only those that have what is searched for."""
        blocks: list[Paragraph] = []
        wanted = self.searched.casefold()
        self._wrong = ""
        for part in self._parts:
            if isinstance(part, ResultTable):
                passes, wrong = part.filtered(self.searched)
                self._wrong = self._wrong or wrong
                blocks += part.arranged(passes)
            elif not wanted or not part.stops or part.says(wanted):
                blocks.append(part)
        self._stops = [block for block in blocks if isinstance(block, Shown) and block.stops]
        if self._at not in self._stops:
            self._at = next(iter(self._stops), None)
        self.blocks = [*blocks, *self._after()]

    def _after(self) -> Iterator[Paragraph]:
        """What stands below the parts: a failure, what a line waits for, the first steps of an empty session."""
        entry = self.entry
        if entry is None:
            if self._view is not None and not self._view.host and not self._view.cleared:
                yield RichParagraph(*_first_steps())
            return
        outcome = entry.outcome
        if isinstance(outcome, Failed):
            if any(entry.texts.values()):
                yield RichParagraph(*(Text(plain(text), overflow="fold") for text in entry.texts.values() if text))
            where = f"{outcome.where}: " if outcome.where and outcome.where != entry.where else ""
            yield RichParagraph(*failure(where + outcome.message, outcome.hint))
        elif outcome is None and entry.partial is None:
            words = entry.progress.label if entry.progress is not None else "" if entry.started else "waiting"
            yield RichParagraph(Text(f"{inline(words)} …".strip(), style="dim"))
        elif outcome is None:
            yield RichParagraph(Text("… still running", style="dim"))

    def remarks(self) -> str:
        if self.typing or self.searched:
            note = self.search_note(len(self._stops))
            return f"{note} ✗ {self._wrong}" if self._wrong else note if self.searched else f"{note}  {self._hint()}"
        words = [] if self.entry is None else [fitted(inline(self.entry.line.strip()), _LINE)]
        marked = sum(len(table.marks) for table in self._tables())
        if marked:
            words.append(f"{marked:,} marked")
        if len(self._stops) > 1 and self._at is not None and self.has_focus:
            words.append(f"{self._stops.index(self._at) + 1:,}/{len(self._stops):,}")
        return " · ".join([*words, *(["pinned"] if self.pinned else [])])

    def dressed(self, block: Paragraph, number: int, line: Strip) -> Strip:
        if block is self._at and self.has_focus:
            return self.under_cursor(line, first=number == 0)
        if all(style != CHANGED for _, style, _ in line):
            return line
        changed = self.get_component_rich_style("result--changed", partial=True)
        return row(*((text, changed if style == CHANGED else style) for text, style, _ in line))

    def chosen(self) -> str:
        if self._at is not None:
            return self._at.copied()
        return self.text()

    def text(self) -> str:
        lines = [line.text.rstrip() for block in self.blocks for line in block.lines(99)]
        return "\n".join(([f"> {self.entry.line.strip()}"] if self.entry else []) + lines)

    # The cursor

    def action_step(self, rows: int) -> None:
        """Move the cursor by some rows; scroll where there is none, or the next one is out of sight."""
        if self._at is None or len(self._stops) < 2:
            self.scroll(rows)
            return
        place = self._stops.index(self._at) + rows
        if 0 <= place < len(self._stops):
            self._at = self._stops[place]
            self.jump(self._at)
        else:
            self.scroll(rows)

    def action_page(self, pages: int) -> None:
        super().action_page(pages)
        inside = [block for block in map(self.at_row, range(self.size.height)) if block in self._stops]
        if inside and self._at not in inside:
            self._at = inside[0 if pages > 0 else -1]
            self.settle()

    def action_first(self) -> None:
        self._at = next(iter(self._stops), None)
        super().action_first()

    def action_last(self) -> None:
        self._at = next(reversed(self._stops), None)
        super().action_last()

    def on_click(self, event: events.Click) -> None:
        block = self.at_row(event.y)
        if isinstance(block, TableHeading):
            column = block.column_at(event.x, self.size.width)
            if column is not None:
                self._sort(block.table, column)
        elif isinstance(block, Shown) and block.stops:
            self._at = block
            self.settle()
            if event.chain > 1:
                self.action_open()

    def action_open(self) -> None:
        """Open what the row stands for: the card of a neuron, or the line that shows it."""
        thing = None if self._at is None else self._at.stands_for
        if thing is None:
            return
        circuit = None if self._view is None else self._view.circuit
        at = None if circuit is None or thing.kind != "neuron" else row_of(circuit, thing.name)
        if circuit is not None and self._view is not None and at is not None:
            self.app.push_screen(NeuronCardScreen(self._view, circuit, at, partial(self._next_unit, at)))
            return
        wanted = opening(thing)
        if wanted is not None:
            self.post_message((self.Sent if wanted.at_once else self.Typed)(wanted.line))

    def _next_unit(self, at: int, steps: int) -> int:
        """Move to the next row that stands for a neuron of the circuit. Returns the circuit's row, for the card."""
        circuit = None if self._view is None else self._view.circuit
        if circuit is None or self._at is None:
            return at
        units = [line for line in self._stops if line.stands_for is not None and line.stands_for.kind == "neuron"]
        known = ((line, row_of(circuit, line.stands_for.name)) for line in units if line.stands_for is not None)
        rows = {line: number for line, number in known if number is not None}
        lines = list(rows)
        place = lines.index(self._at) if self._at in rows else 0
        self._at = lines[min(max(place + steps, 0), len(lines) - 1)]
        self.jump(self._at)
        return rows[self._at]

    # Marks, and verbs on marked rows

    def action_mark(self) -> None:
        if isinstance(self._at, TableRow):
            self._at.table.marks ^= {self._at.number}
            self.action_step(1)

    def action_mark_all(self) -> None:
        for table in self._tables():
            rows = {line.number for line in self._stops if isinstance(line, TableRow) and line.table is table}
            table.marks = table.marks - rows if rows <= table.marks else table.marks | rows
        self.settle()

    def action_compose(self, verb: str) -> None:
        """Put a verb with the units of the marked rows, else of the row at the cursor, into the command line."""
        rows = [line for line in self._stops if isinstance(line, TableRow) and line.marked]
        rows = rows or [line for line in [self._at] if isinstance(line, TableRow)]
        things = [line.stands_for for line in rows if line.stands_for is not None]
        names = dict.fromkeys(thing.name for thing in things if thing.kind in UNITS)
        if names:
            word = "inject --observe" if verb == "inject" else verb
            self.post_message(self.Typed(f"{word} {','.join(names)} "))

    def action_pin(self) -> None:
        """Keep what is shown, or follow the history again."""
        self.pinned = not self.pinned and self.entry is not None
        self._turn()

    def action_markdown(self) -> None:
        """Copy the block at the cursor as Markdown; the first one where there is no cursor."""
        block = self._at or next((part for part in self.blocks if isinstance(part, Shown)), None)
        if block is not None:
            self.post_message(self.Copied(block.markdown()))

    # Order and search

    def _tables(self) -> list[ResultTable]:
        return [part for part in self._parts if isinstance(part, ResultTable)]

    def _hint(self) -> str:
        """What can be typed after `/`."""
        table = self._table_at_cursor()
        return "text" if table is None else hint(table.numbers())

    def _table_at_cursor(self) -> ResultTable | None:
        return self._at.table if isinstance(self._at, TableRow) else next(iter(self._tables()), None)

    def action_sort(self, steps: int) -> None:
        table = self._table_at_cursor()
        if table is not None:
            orders = [None, *range(len(table.block.columns))]
            place = orders.index(table.sorted_by[0]) if table.sorted_by is not None else 0
            self._sort(table, orders[(place + steps) % len(orders)])

    def action_turn(self) -> None:
        table = self._table_at_cursor()
        if table is not None:
            self._sort(table, table.sorted_by[0] if table.sorted_by is not None else 0)

    def action_rank(self) -> None:
        table = self._table_at_cursor()
        if table is not None:
            self._sort(table, None)

    def _sort(self, table: ResultTable, column: int | None) -> None:
        table.sort(column)
        self._arrange_parts()
        self.settle()

    def search_changed(self) -> None:
        self._arrange_parts()
        self.settle()

    def _stop_search(self) -> None:
        self._type(False)
        self.searched = ""


class GrowingText(Paragraph):
    """The text of a running line."""

    def __init__(self) -> None:
        self.text = ""
        self._lines: tuple[int, Growing] | None = None

    def stamp(self) -> object:
        return len(self.text)

    def drawn(self, width: int) -> Sequence[Strip]:
        if self._lines is None or self._lines[0] != width:
            self._lines = width, Growing(width)
        return self._lines[1].show(self.text)


def _streams(entry: HistoryEntry) -> bool:
    """Whether an entry is running and has texts, and no result so far."""
    return entry.outcome is None and entry.partial is None and any(entry.texts.values())


def _first_steps() -> Iterator[Text]:
    yield Text("Nothing has been run yet. To begin, type line by line:", style="dim")
    for line, about in FIRST:
        yield Text.assemble((f"  {line}", "bold"), (f"  {about}", "dim"), overflow="fold")
    yield Text("help lists all verbs; ctrl+p finds them.", style="dim")
