"""The layer map: the circuit's attribution summed by layer and token position."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from sessions.circuits.circuit import Circuit
from sessions.model.units import kind_in
from sessions.views.writing import counted
from workbench.app.columns import columns_of
from workbench.app.composing import letters, line
from workbench.app.heat import (
    Drawing,
    HeatMap,
    axis,
    drawn_bar,
    laid_out,
    legend,
    named,
    packed,
    scrolled,
    shade,
    summed,
)
from workbench.app.pane import Pane
from workbench.app.session_view import Facet, SessionView
from workbench.writing import fitted, inline, percent, quoted, signed

#: The most neurons named in a copied readout, and the most cells of a column.
_NAMED, _WIDEST = 50, 20


class LayersPane(Pane):
    """The map with its cursor, and a readout of the cell at the cursor."""

    heading: ClassVar[str] = "Layer map"
    facets: ClassVar[Facet] = Facet.CIRCUIT | Facet.STATE
    news: ClassVar[Facet] = Facet.CIRCUIT
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "layers--plain",
        "layers--up",
        "layers--down",
        "layers--faint",
        "layers--cursor",
        "layers--cursor-blurred",
        "layers--readout",
    }
    DEFAULT_CSS = """
    LayersPane {
        & > .layers--up { color: $text-success; }
        & > .layers--down { color: $text-error; }
        & > .layers--faint { text-style: dim; }
        & > .layers--cursor { text-style: reverse; }
        & > .layers--cursor-blurred { text-style: underline; }
        & > .layers--readout { text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1, 0)", "deeper", id="layers.up", show=False),
        Binding("down,j", "move(1, 0)", "towards the input", id="layers.down", show=False),
        Binding("left,h", "move(0, -1)", "previous token", id="layers.left", show=False),
        Binding("right,l", "move(0, 1)", "next token", id="layers.right", show=False),
        Binding("pageup", "page(-1)", "page up", id="layers.page_up", show=False),
        Binding("pagedown", "page(1)", "page down", id="layers.page_down", show=False),
        Binding("home,g", "move(0, -1000000)", "first token", id="layers.first", show=False),
        Binding("end,G", "move(0, 1000000)", "last token", id="layers.last", show=False),
        Binding("o", "strongest", "the strongest cell", id="layers.strongest", show=False),
        Binding("v", "turn", "effects, or attributions", id="layers.values"),
        Binding("plus", "widen(1)", "wider columns", id="layers.wider", show=False),
        Binding("minus", "widen(-1)", "narrower columns", id="layers.narrower", show=False),
        Binding("enter", "narrow", "in table", id="layers.narrow"),
        *(
            Binding(letter, f"put('{verb}')", verb, id=f"layers.{verb}", show=letter in "am")
            for letter, verb in letters().items()
        ),
    ]

    @dataclass
    class Narrowed(Message):
        """Show a cell's neurons in the table, by this filter."""

        filter: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.circuit: Circuit | None = None
        self.heat: HeatMap | None = None
        self._by_effect = False
        self._view: SessionView | None = None
        self._layer, self._position = 0, None  # type: int, int | None
        self._first = 0  # column at the left edge
        self._top = 0  # row at the top
        self._at = 0, 0  # where the cursor was drawn last
        self._wider = 0
        self._drawing: Drawing | None = None
        self._below: list[str] = []

    def show(self, view: SessionView, changed: Facet) -> None:
        self._view = view
        if view.circuit is self.circuit:
            if self.circuit is None:
                self.refresh()
            return
        self.circuit, self._by_effect = view.circuit, False
        self._sum()

    def _sum(self) -> None:
        """Sum the mapped values, in a thread."""
        self.heat = None
        if self.circuit is not None:
            self.run_worker(self._summed(self.circuit, self._by_effect), group="heat", exclusive=True)
        self._lay()

    def action_turn(self) -> None:
        """Switch between measured effects and attributions."""
        if self.circuit is not None and self.circuit.held:
            self._by_effect = not self._by_effect
            self._sum()

    def chosen(self) -> str:
        if self.heat is None:
            return ""
        return "  ".join(self._readout())

    def text(self) -> str:
        if self.heat is None or self.circuit is None:
            return self._nothing()
        heat = self.heat
        rows = [["", *(self._place(position) for position in heat.positions), "in all"]]
        for layer in reversed(heat.layers):
            here = range(layer, layer + 1)
            cells = heat.cells(here, heat.positions)
            rows.append(
                [f"L{layer}", *(signed(cell.total) if cell.count else "" for cell in (*cells, heat.layer(here)))]
            )
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(" " * (width - cell_len(text)) + text for text, width in zip(row, widths, strict=True))
            for row in rows
        )

    async def _summed(self, circuit: Circuit, by_effect: bool) -> None:
        columns = columns_of(circuit)
        heat = await asyncio.to_thread(lambda: HeatMap(columns, columns.effects if by_effect else columns.attributions))
        if circuit is self.circuit and heat.layers:
            self.heat = heat
            self._layer, self._position = heat.strongest()
            self._lay()

    # The cursor

    def action_move(self, down: int, right: int) -> None:
        drawing = self._drawing
        if drawing is None:
            return
        row, column = self._cursor(drawing)
        row = max(0, min(row + down, len(drawing.bands) - 1))
        column = max(0, min(column + right, len(drawing.positions) - 1))
        if down:
            self._layer = drawing.bands[row][0]
        self._position = drawing.positions[column]
        self._follow()

    def action_page(self, pages: int) -> None:
        if self._drawing is not None:
            self.action_move(pages * self._drawing.rows, 0)

    def action_strongest(self) -> None:
        """Move the cursor to the largest |sum|."""
        if self.heat is not None:
            self._layer, self._position = self.heat.strongest()
            self._follow()

    def action_widen(self, cells: int) -> None:
        if self._drawing is not None and 0 < self._drawing.wide + cells <= _WIDEST:
            self._wider += cells
            self._lay()

    def action_narrow(self) -> None:
        if self._drawing is not None:
            at = "@all" if self._position is None else f"@{self._position}"
            self.post_message(self.Narrowed(f"{named(self._band(self._drawing))} {at}"))

    def action_put(self, verb: str) -> None:
        if self._drawing is None or self.heat is None or self.circuit is None:
            return
        rows = self.heat.rows(self._band(self._drawing), self._position)
        composed = line(verb, self.circuit, rows) if rows else None
        if composed is not None:
            self.post_message(self.Typed(composed))

    def _cursor(self, drawing: Drawing) -> tuple[int, int]:
        return drawing.row(self._layer), drawing.column(self._position)

    def _band(self, drawing: Drawing) -> range:
        """The layers of the cursor's row."""
        return drawing.bands[drawing.row(self._layer)]

    def _lay(self) -> None:
        """Lay out the map and draw it."""
        width, height = self.size
        self._drawing, self._below, self.facts = None, [], ""
        if self.heat is not None and self.circuit is not None and width and height:
            self._drawing = laid_out(self.heat, len(self.circuit.tokens), width, height, self._wider)
            self._follow()
        self.refresh()

    def _follow(self) -> None:
        """Make the cursor visible and update the readout."""
        drawing = self._drawing
        if drawing is None or self.heat is None:
            return
        before = self._top, self._first
        row, column = self._cursor(drawing)
        self._top = scrolled(self._top, row, drawing.rows, len(drawing.bands))
        self._first = scrolled(self._first, column, drawing.across, len(drawing.positions))
        self._below = self._readout_lines(drawing)
        across = "↔" if drawing.across < len(drawing.positions) else ""
        upright = "↕" if drawing.rows < len(drawing.bands) else ""
        what = "effects · " if self._by_effect else ""
        self.facts = f"{what}{len(self.heat.layers)} layers{upright} × {len(self.heat.positions)} positions{across}"
        if before != (self._top, self._first):
            self.refresh()
            return
        width = self.size.width
        rows = {self._at[0] - self._top, row - self._top}
        below = Region(0, drawing.rows, width, 1 + drawing.below)
        self.refresh(below, *(Region(0, y, width, 1) for y in rows if 0 <= y < drawing.rows))
        self._at = row, column

    def on_resize(self) -> None:
        self._lay()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    # Drawing

    def render_line(self, y: int) -> Strip:
        width, drawing = self.size.width, self._drawing
        segments: list[Segment] = []
        if drawing is None:
            segments = [Segment(fitted(self._nothing(), width), self._style("faint"))] if y == 0 else []
        elif y < drawing.rows:
            segments = list(self._row(drawing, self._top + y))
        elif y == drawing.rows:
            room = max(width - drawing.label, 1)
            in_sight = drawing.positions[self._first : self._first + drawing.across]
            tokens = axis(
                [self._label(position) for position in in_sight],
                drawing.column(self._position) - self._first,
                drawing.wide,
                room,
            )
            segments = [Segment(" " * drawing.label + tokens, self._style("faint"))]
        elif y - drawing.rows - 1 < len(self._below):
            number = y - drawing.rows - 1
            segments = [Segment(self._below[number], self._style("readout") if number == 0 else self._style("plain"))]
        elif drawing.legend and y == self.size.height - 1:
            segments = [Segment(fitted(legend(drawing.largest), width), self._style("faint"))]
        return Strip(segments).adjust_cell_length(width, self._style("plain"))

    def _row(self, drawing: Drawing, row: int) -> Iterator[Segment]:
        assert self.heat is not None
        here, at = self._cursor(drawing)
        band = drawing.bands[row]
        name = f"{'▸' if row == here else ' '}{named(band)}"
        yield Segment(f"{name:<{drawing.label}}", self._style("plain") if row == here else self._style("faint"))
        gap = " " * (drawing.wide > 2)
        in_sight = drawing.positions[self._first : self._first + drawing.across]
        run, of = "", self._style("plain")  # cells of one style that follow each other
        for number, cell in enumerate(self.heat.cells(band, in_sight), self._first):
            text, style = shade(cell, drawing.largest) * (drawing.wide - len(gap)), self._of(cell.total)
            if (row, number) == (here, at):
                yield Segment(run, of)
                yield from self._at_cursor(text, style)
                run, of = gap, style
            elif style is of or not cell.count:
                run += text + gap
            else:
                yield Segment(run, of)
                run, of = text + gap, style
        yield Segment(run, of)
        total = self.heat.layer(band)
        if drawing.sums:
            yield Segment(summed(total), self._of(total.total))
            yield Segment(" " + drawn_bar(total.total, drawing.largest_sum, drawing.bar), self._of(total.total))

    def _readout_lines(self, drawing: Drawing) -> list[str]:
        """The readout on the lines below the map."""
        words = self._readout()
        first = fitted(next(words), self.size.width)
        if drawing.below < 2:
            return packed(iter([first, *islice(words, 8)]), self.size.width, 1)[: drawing.below]
        return [first, *packed(words, self.size.width, drawing.below - 1)]

    def _readout(self) -> Iterator[str]:
        """The cell at the cursor: its sum, the number of neurons, and the neurons."""
        assert self.heat is not None and self.circuit is not None and self._drawing is not None
        band = self._band(self._drawing)
        cell = self.heat.cells(band, [self._position])[0]
        total, target = cell.total, self.circuit.target.value
        share = f" ({percent(total / target, sign=True)} of the target)" if total is not None and target else ""
        yield f"{named(band)} {self._place(self._position)}  {signed(total) if cell.count else 'no neurons'}{share}"
        units = [self.circuit.neurons[row] for row in self.heat.rows(band, self._position, _NAMED)]
        if cell.count:
            yield f"{counted(cell.count, kind_in(units))}:"
        for unit in units:
            yield f"{unit.bare} {signed(unit.effect if self._by_effect else unit.attribution)}"
        if cell.count > _NAMED:
            yield "…"

    def _label(self, position: int | None) -> str:
        """A token, as short as possible."""
        assert self.circuit is not None
        token = inline(self.circuit.token(position)).strip()
        return "all" if position is None else token or f"@{position}"

    def _place(self, position: int | None) -> str:
        assert self.circuit is not None
        token = self.circuit.token(position)
        at = "@all" if position is None else f"@{position}"
        return f"{at} {quoted(token)}" if token else at

    def _nothing(self) -> str:
        if self.circuit is not None:
            return "adding up …" if len(self.circuit) else "the circuit is empty"
        if self._view is not None and not self._view.state.model:
            return "no model yet: model smollm2 opens one"
        return "no circuit yet: discover finds the neurons behind the next token"

    def _of(self, total: float | None) -> Style:
        return self._style("up" if total > 0 else "down") if total else self._style("plain")

    def _at_cursor(self, text: str, style: Style) -> Iterator[Segment]:
        reverse = self._style("cursor" if self.has_focus else "cursor-blurred", partial=True)
        if len(text) < 3:
            yield Segment(text, style + reverse)
        else:  # in brackets: a reversed shade would look like another one
            edge = self._style("plain") + reverse
            yield from (Segment("[", edge), Segment(text[2:], style), Segment("]", edge))

    def _style(self, name: str, partial: bool = False) -> Style:
        return self.get_component_rich_style(f"layers--{name}", partial=partial)
