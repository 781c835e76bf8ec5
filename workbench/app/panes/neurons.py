"""The table of the circuit's neurons: sort, filter as you type, mark, and pass the marked ones to a verb by a key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.timer import Timer

from sessions.circuits.circuit import Circuit
from sessions.model.units import Place, Unit
from sessions.results import NeuronRow
from workbench.app.columns import RANK, CircuitColumns, Sort, columns_of, is_like
from workbench.app.composing import letters, line, listed
from workbench.app.neuron_columns import (
    ATTRIBUTION,
    COLUMNS,
    CORPUS,
    DOWN,
    EFFECT,
    FETCHED,
    LARGEST_FIRST,
    UP,
    cells_of,
)
from workbench.app.panes.card import NeuronCardScreen
from workbench.app.session_view import Facet, SessionView
from workbench.app.table import TableCell, TableColumn, TablePane
from workbench.app.typed_text import after_key, after_paste
from workbench.app.unit_filter import SYNTAX, Filter
from workbench.writing import inline

if TYPE_CHECKING:
    from workbench.app.columns import Rows

#: Seconds of rest after which what the visible neurons push is fetched.
_REST = 0.6
#: The most rows in the text for an editor.
_MOST_WRITTEN = 20_000


class NeuronsPane(TablePane):
    """The circuit as a table, at first in its own order, by |attribution|."""

    heading: ClassVar[str] = "Neurons"
    facets: ClassVar[Facet] = Facet.CIRCUIT | Facet.STATE
    news: ClassVar[Facet] = Facet.CIRCUIT
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "card", "card", id="neurons.card"),
        Binding("space", "mark", "mark", id="neurons.mark"),
        Binding("asterisk", "mark_all", "mark all shown, or none", id="neurons.mark_all", show=False),
        Binding("slash", "filter", "filter", id="neurons.filter"),
        Binding("escape", "unfilter", "all neurons again", id="neurons.unfilter", show=False),
        Binding("less_than_sign", "sort(-1)", "sort by the column before", id="neurons.sort_left", show=False),
        Binding("greater_than_sign", "sort(1)", "sort by the next column", id="neurons.sort_right", show=False),
        Binding("o", "turn", "reverse the order", id="neurons.turn", show=False),
        Binding("O", "rank", "the circuit's own order", id="neurons.rank", show=False),
        Binding("n", "fetch", "fetch pushed tokens and peaks", id="neurons.fetch", show=False),
        *(
            Binding(letter, f"compose('{verb}')", verb, id=f"neurons.{verb}", show=letter in "am")
            for letter, verb in letters().items()
        ),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.circuit: Circuit | None = None
        self.marks: set[int] = set()
        self.sort = Sort()
        self.filter = ""
        self.typing = False
        self._view: SessionView | None = None
        self._anchor = 0  # the row that the cursor returns to when the order changes
        self._rows: Mapping[Place, NeuronRow] = {}
        self._mapped = False  # whether an atlas has data on them
        self._order: Rows | None = None  # None: the circuit's order
        self._arranging = False
        self._wanted = 0  # counts the requests to arrange, so that a late answer is recognised
        self._later: list[Callable[[], None]] = []
        self._filled: set[Place] = set()  # neurons that were looked up by themselves, or are being
        self._filling: Timer | None = None

    def show(self, view: SessionView, changed: Facet) -> None:
        self._view = view
        measured = view.circuit is not self.circuit and is_like(view.circuit, self.circuit)
        if measured:  # the same circuit, now with effects
            self.circuit = view.circuit
            self.renew()
            if self.filter or self.sort != Sort():
                self._arrange()
        elif view.circuit is not self.circuit:
            if self.filter:
                self.post_message(self.Noted(f"another circuit: the filter {inline(self.filter)} is gone"))
            self.circuit, self.marks, self._order, self.filter = view.circuit, set(), None, ""
            self._filled = set()
            self._take(view.rows)
            self.cursor = self._top = self._anchor = 0
            self._later.clear()
            self._arranging = False
            self._wanted += 1
            self.renew()
            if self.sort != Sort():
                self._arrange()
        elif Facet.CIRCUIT in changed:
            self._take(view.rows)
            self.rearranged()
            if Filter.read(self.filter).searches or self.sort.key in FETCHED:
                self._arrange()
        elif self.circuit is None:
            self.refresh()

    def _take(self, rows: Mapping[Place, NeuronRow]) -> None:
        self._rows = dict(rows)
        self._mapped = any(row.peak is not None for row in rows.values())

    def chosen(self) -> str:
        return self.written(self.cursor).strip() if self.count() else ""

    def text(self) -> str:
        count = self.count()
        written = [self.heading_line(), *map(self.written, range(min(count, _MOST_WRITTEN)))]
        if count > _MOST_WRITTEN:
            written.append(f"… and {count - _MOST_WRITTEN:,} more")
        return "\n".join(written) if count else self.nothing()

    # Rows: `number` is an index in the table, `row` one in the circuit

    def count(self) -> int:
        if self.circuit is None:
            return 0
        return len(self.circuit) if self._order is None else len(self._order)

    def row(self, number: int) -> int:
        """The circuit's row at an index of the table."""
        return number if self._order is None else int(self._order[number])

    def neuron(self, number: int) -> Unit:
        assert self.circuit is not None
        return self.circuit.neurons[self.row(number)]

    def columns(self) -> Sequence[TableColumn]:
        unknown = set() if self._rows else {UP, DOWN}
        unknown |= set() if self._mapped else {*CORPUS}
        if self.circuit is not None and not self.circuit.held:
            unknown.add(EFFECT)
        return [column for column in COLUMNS if column not in unknown]

    def cells(self, number: int) -> Mapping[str, TableCell]:
        assert self.circuit is not None
        neuron = self.neuron(number)
        return cells_of(self.circuit, neuron, self._rows.get(neuron.place))

    def marked(self, number: int) -> bool:
        return self.row(number) in self.marks

    def title(self, column: TableColumn) -> str:
        if column is ATTRIBUTION and self.sort.key == RANK:
            return f"{column.title}{'▴' if self.sort.down else '▾'}"
        if column.key != self.sort.key:
            return column.title
        return f"{column.title}{'▾' if self.sort.down else '▴'}"

    def note(self) -> str:
        if not self.filter:
            return f"filter: ▏  {SYNTAX}" if self.typing else ""
        total, wrong = 0 if self.circuit is None else len(self.circuit), Filter.read(self.filter).wrong
        passing = "…" if self._arranging else f"{self.count():,} of {total:,}"
        passing = f"✗ {inline(wrong)}" if wrong else passing
        return f"filter: {inline(self.filter)}{'▏' if self.typing else ''}  {passing}"

    def nothing(self) -> str:
        if self.circuit is not None:
            return "filtering …" if self._arranging else "no neuron passes the filter: esc shows all again"
        if self._view is not None and not self._view.state.model:
            return "no model yet: model smollm2 opens one"
        return "no circuit yet: discover finds the neurons behind the next token"

    def settled(self) -> None:
        if self._filling is None and self._unfilled():
            self._filling = self.set_timer(_REST, self._fill)
        if self.circuit is None:
            self.facts = ""
            return
        total, count = len(self.circuit), self.count()
        parts = [f"{self.cursor + 1:,}/{count:,}" if count else "0", f"of {total:,}" if count < total else ""]
        parts.append(f"· {len(self.marks):,} marked" if self.marks else "")
        parts += [f"· by {column.title}" for column in COLUMNS if column.key == self.sort.key]
        parts.append("· sorting" if self._arranging else "")
        self.facts = " ".join(filter(None, parts))

    # Marks, and verbs on marked neurons

    def action_mark(self) -> None:
        self._when_arranged(self._mark)

    def _mark(self) -> None:
        if self.count():
            self.marks ^= {self.row(self.cursor)}
            self.refresh_row(self.cursor)
            self.go(self.cursor + 1)

    def action_mark_all(self) -> None:
        self._when_arranged(self._mark_all)

    def _mark_all(self) -> None:
        shown = set(range(self.count()) if self._order is None else self._order.tolist())
        self.marks = self.marks - shown if shown <= self.marks else self.marks | shown
        self.refresh()
        self.settled()

    def action_compose(self, verb: str) -> None:
        self._when_arranged(lambda: self._put(verb))

    def _put(self, verb: str) -> None:
        if self.circuit is None or not (self.marks or self.count()):
            return
        composed = line(verb, self.circuit, self.marks or {self.row(self.cursor)})
        if composed is None:
            self.post_message(self.Noted(f"{len(self.marks):,} marks are too many to list: mark all, or whole layers"))
        else:
            self.post_message(self.Typed(composed))

    def action_fetch(self) -> None:
        self._when_arranged(self._fetch)

    def _fetch(self) -> None:
        """Fetch what is unknown about the visible neurons: the tokens that they push, and the atlas's data."""
        self._ask(self._unknown())

    def _ask(self, neurons: Sequence[Unit], quiet: bool = False) -> None:
        """Run the line that fetches what there is about some neurons."""
        if neurons:
            self.post_message(self.Sent(f"neurons {listed(neurons)} --rows {len(neurons)}", quiet))

    def _unknown(self) -> list[Unit]:
        rows = {number: self._rows.get(self.neuron(number).place) for number in self.in_sight}
        mapped = self._view is not None and bool(self._view.state.atlas)
        return [self.neuron(at) for at, row in rows.items() if row is None or (mapped and row.peak is None)]

    def _unfilled(self) -> list[Unit]:
        """The visible neurons that nothing has been fetched about, nor tried to be."""
        if self.circuit is None or self._view is None or not self._view.state.model or not self.is_attached:
            return []
        return [neuron for neuron in self._unknown() if neuron.place not in self._filled]

    def _fill(self) -> None:
        """Fetch what is unknown about the visible neurons, once the host is idle and nobody scrolls."""
        self._filling = None
        unknown = self._unfilled()
        if not unknown or self._view is None or self._view.host:
            return
        if self._view.running is not None or self._view.waiting or self._arranging:
            self._filling = self.set_timer(_REST, self._fill)
            return
        self._filled |= {neuron.place for neuron in unknown}
        self._ask(unknown, quiet=True)

    def opened(self) -> None:
        self.action_card()

    def action_card(self) -> None:
        self._when_arranged(self._open_card)

    def _open_card(self) -> None:
        if self.circuit is None or self._view is None or not self.count():
            return
        self.app.push_screen(NeuronCardScreen(self._view, self.circuit, self.row(self.cursor), self._next))

    def _next(self, steps: int) -> int:
        """Move the cursor by some rows. Returns the circuit's row there, for the card."""
        self.go(self.cursor + steps)
        return self.row(self.cursor)

    # Order

    def action_sort(self, steps: int) -> None:
        keys = [RANK, *(column.key for column in self.columns())]
        place = keys.index(self.sort.key) if self.sort.key in keys else 0
        self.headed(keys[(place + steps) % len(keys)])

    def action_turn(self) -> None:
        self._sort(Sort(self.sort.key, not self.sort.down))

    def action_rank(self) -> None:
        self._sort(Sort())

    def headed(self, key: str) -> None:
        if key == self.sort.key:
            self.action_turn()
        else:
            self._sort(Sort(key, key in LARGEST_FIRST))

    def _sort(self, sort: Sort) -> None:
        self.sort = sort
        self._arrange()

    # The filter

    def action_filter(self) -> None:
        if self.circuit is not None:
            self._type(True)

    def action_unfilter(self) -> None:
        self.narrow("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "unfilter":
            return True
        return bool(self.filter) and (self._view is None or self._view.running is None)  # else esc cancels the line

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self.typing and character is not None and character.isprintable()

    def on_key(self, event: events.Key) -> None:
        if not self.typing:
            return
        if event.key in ("enter", "escape"):
            self.action_unfilter() if event.key == "escape" else self._type(False)
        elif (text := after_key(self.filter, event)) is not None:
            self._filter(text)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        if self.typing:
            event.stop()
            self._filter(after_paste(self.filter, event.text))

    def on_blur(self) -> None:
        self._type(False)

    def _type(self, typing: bool) -> None:
        if self.typing != typing:
            self.typing = typing
            self.refresh_bindings()
            self.note_changed()

    def narrow(self, text: str) -> None:
        """Show the neurons that pass a filter."""
        self._type(False)
        self._filter(text)

    def _filter(self, text: str) -> None:
        if text != self.filter:
            self.filter = text
            self._arrange()

    # Arranging runs in a thread: a million rows take a moment

    def _arrange(self) -> None:
        """Sort and filter in a thread; the table changes when that is done."""
        if self.circuit is None:
            self._order = None
            return
        self._wanted += 1
        self._arranging = True
        self.note_changed()
        self.settled()
        self.run_worker(self._arranged(columns_of(self.circuit), self._wanted), group="arrange", exclusive=True)

    async def _arranged(self, columns: CircuitColumns, request: int) -> None:
        wanted = Filter.read(self.filter)
        marks = tuple(self.marks) if wanted.marked else ()
        order = await asyncio.to_thread(columns.arranged, self.sort, wanted, self._rows, marks)
        if request != self._wanted or columns.circuit is not self.circuit:
            return
        self._arranging = False
        self._order = order
        self.cursor = self._anchor if order is None else _place(order, self._anchor)
        self.rearranged()
        later, self._later = self._later, []
        for act in later:
            act()

    def _when_arranged(self, act: Callable[[], None]) -> None:
        """Run an action once the requested order is shown, so that it applies to those rows."""
        if self._arranging:
            self._later.append(act)
        else:
            act()

    def go(self, number: int, scroll: int = 0) -> None:
        super().go(number, scroll)
        self._anchor = self.row(self.cursor) if self.count() else 0

    def moving(self, act: Callable[[], None]) -> None:
        self._later.append(act) if self._later else act()


def _place(order: Rows, row: int) -> int:
    """The index of a circuit's row in the table; 0 if it is not there."""
    at = (order == row).nonzero()[0]
    return int(at[0]) if len(at) else 0
