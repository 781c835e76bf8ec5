"""The card of a neuron: everything known about it, on a screen over the panes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

from rich.cells import set_cell_size
from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from sessions import results
from sessions.atlas.findings import Peak
from sessions.circuits.circuit import Circuit
from sessions.model.units import Unit
from sessions.views.atlas import corpus_facts, spread_facts
from sessions.views.neuron import edges, strongest, weights
from workbench.app.columns import CircuitColumns, columns_of, is_like
from workbench.app.composing import letters, line
from workbench.app.pane import Pane
from workbench.app.session_view import Facet, SessionView
from workbench.writing import MISSING, aim, around, fitted, inline, percent, quoted, signed

#: Tokens shown before and after the neuron's own.
_AROUND = 6
#: Tokens to fetch that the neuron pushes up, and down.
_PUSHED = 10
#: Seconds on a card before its tokens are fetched, when the user goes from card to card.
_PAUSE = 0.4
#: The most positions listed, and cells for the token at each.
_LISTED, _TOKEN = 8, 16
#: The most maxima over a corpus listed, and cells for each with its context.
_PEAKS, _CONTEXT = 5, 38
_KEYS = "←→ others · a ablate · m amplify · n fetch more · y copy · esc"


class CardContext(NamedTuple):
    """What the circuit has around a neuron: the same neuron at other positions, and the count and summed attribution of
    the neurons in its layer and at its position."""

    elsewhere: tuple[Unit, ...]
    in_layer: tuple[int, float]
    at_position: tuple[int, float]


class NeuronCardScreen(ModalScreen[None]):
    """The card of a neuron. `row` is its index in the circuit; `step` moves by some neurons in the table."""

    DEFAULT_CSS = """
    NeuronCardScreen {
        align: center middle;
        & > VerticalScroll {
            width: 92%;
            max-width: 96;
            height: auto;
            max-height: 94%;
            padding: 0 1;
            border: round $primary;
            scrollbar-size-vertical: 1;
        }
        Static { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "close", id="card.close"),
        Binding("left,h", "step(-1)", "previous neuron", id="card.before"),
        Binding("right,l", "step(1)", "next neuron", id="card.next"),
        Binding("up,k", "scroll(-1)", "up", id="card.up", show=False),
        Binding("down,j", "scroll(1)", "down", id="card.down", show=False),
        Binding("n", "fetch", "fetch everything known", id="card.fetch"),
        Binding("y", "app.copy", "copy", id="card.copy"),
        *(
            Binding(letter, f"compose('{verb}')", verb, id=f"card.{verb}", show=letter in "am")
            for letter, verb in letters().items()
        ),
    ]

    def __init__(self, view: SessionView, circuit: Circuit, row: int, step: Callable[[int], int]) -> None:
        super().__init__()
        self.circuit, self.row = circuit, row
        self._view = view
        self._step = step
        self._fetched: set[str] = set()
        self._around: CardContext | None = None

    @property
    def neuron(self) -> Unit:
        return self.circuit.neurons[self.row]

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(markup=False)

    def on_mount(self) -> None:
        self._turn()
        self._ask()

    def show(self, view: SessionView, changed: Facet) -> None:
        """Show what the view knows by now; close the card if the circuit is another one."""
        self._view = view
        if view.circuit is not None and is_like(view.circuit, self.circuit):
            self.circuit = view.circuit
        if view.circuit is not self.circuit:
            self.dismiss()
        elif self.is_mounted:
            self._draw()
            self._ask()

    def chosen(self) -> str:
        """The card, to copy."""
        return self.text()

    def text(self) -> str:
        """The card as text."""
        facts = list(self._facts())
        width = max(len(name) for name, _ in facts)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in facts)

    def action_step(self, steps: int) -> None:
        self.row = self._step(steps)
        self._turn()
        self.set_timer(_PAUSE, self._ask)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_compose(self, verb: str) -> None:
        composed = line(verb, self.circuit, [self.row])
        if composed is not None:
            self.post_message(Pane.Typed(composed))
            self.dismiss()

    def action_fetch(self) -> None:
        self._send(f"neuron {self.neuron}")

    def _turn(self) -> None:
        """Show the current neuron."""
        self._around = None
        self._draw()
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self.run_worker(self._look_around(self.row), exclusive=True)

    async def _look_around(self, row: int) -> None:
        self._around = await asyncio.to_thread(_surroundings, columns_of(self.circuit), row)
        self._draw()

    def _ask(self) -> None:
        """Fetch the tokens that the neuron pushes, once, if they are unknown and no line would have to wait."""
        idle = self._view.running is None and not self._view.waiting and not self._view.host
        unknown = self.neuron.place not in self._view.rows and str(self.neuron) not in self._fetched
        if unknown and idle and self._view.state.model and self.is_current:
            self._send(f"neurons {self.neuron} --tokens {_PUSHED}")

    def _send(self, line: str) -> None:
        self._fetched.add(str(self.neuron))
        self.post_message(Pane.Sent(line))

    def _draw(self) -> None:
        box = self.query_one(VerticalScroll)
        box.border_title = f"{self.neuron}"
        box.border_subtitle = f"{self.row + 1:,} of {len(self.circuit):,}"
        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        for name, text in list(self._facts())[1:]:
            grid.add_row(Text(name), Text(text))
        self.query_one(Static).update(Group(grid, Text(f"\n{_KEYS}", style="dim")))

    def _facts(self) -> Iterator[tuple[str, str]]:
        neuron, target = self.neuron, self.circuit.target
        yield "neuron", f"{neuron}, {self.row + 1:,} of {len(self.circuit):,}"
        yield "token", _context(self.circuit, neuron.position)
        share = self.circuit.share(neuron)
        of = "" if share is None else f" of {signed(target.value)} ({percent(share, sign=True)})"
        yield "attribution", f"{signed(neuron.attribution)}{of}"
        if self.circuit.held:
            effect = neuron.effect
            part = MISSING if effect is None or not target.value else percent(effect / target.value, sign=True)
            yield "effect", f"{signed(effect)} ({part}), measured, alone at {self.circuit.held}"
        yield "target", aim(target)
        yield "activation", signed(neuron.activation)
        card = self._view.cards.get(neuron.place)
        if card is None:
            yield from self._pushed(self._view.rows.get(neuron.place))
            yield from self._over_corpus(neuron)
        else:
            yield "in the prompt", "\n".join(_moments(card))
            yield from self._over_corpus(neuron)
            yield from ((inline(fact.name), inline(fact.line)) for fact in (*weights(card), *edges(card)))
        around = self._around
        if around is None:
            yield "elsewhere", "…"
            return
        others = (f"{other} {signed(other.attribution)}" for other in around.elsewhere)
        yield "elsewhere", " · ".join(others) or "at no other position of this circuit"
        yield f"layer {neuron.layer}", _summed(*around.in_layer)
        yield (
            "all positions" if neuron.position is None else f"position {neuron.position}",
            _summed(*around.at_position),
        )

    def _over_corpus(self, neuron: Unit) -> Iterator[tuple[str, str]]:
        """What the atlas says about the neuron, as far as it was fetched."""
        row, card = self._view.rows.get(neuron.place), self._view.cards.get(neuron.place)
        if card is not None and card.atlas is not None:
            profile = card.atlas
            yield "over a corpus", inline(" · ".join((*corpus_facts(profile), *spread_facts(profile))))
            peaks = sorted((*profile.high, *profile.low), key=lambda peak: -abs(peak.value))[:_PEAKS]
            yield "woken by", "\n".join(f"{signed(peak.value, 2):>8}  {_woken(peak)}" for peak in peaks)
        elif row is not None and row.peak is not None:
            yield "over a corpus", f"peak {signed(row.peak.value, 2)} · fires at {percent(row.rate)}"
            yield "woken by", _woken(row.peak)

    def _pushed(self, row: results.NeuronRow | None) -> Iterator[tuple[str, str]]:
        if row is not None:
            yield "pushes up", " ".join(map(quoted, row.up)) or MISSING
            yield "pushes down", " ".join(map(quoted, row.down)) or MISSING
        elif not self._view.state.model:
            yield "pushes", "unknown; needs an open model"
        else:
            fetching = str(self.neuron) in self._fetched
            yield "pushes", "fetching …" if fetching else "unknown; n fetches them"


def _context(circuit: Circuit, position: int | None) -> str:
    """The token, marked, with its context."""
    if position is None:
        return "at all positions"
    if not circuit.token(position):
        return f"at position {position}"
    first, last = max(position - _AROUND, 0), min(position + _AROUND, len(circuit.tokens) - 1)
    tokens = [quoted(token) for token in circuit.tokens[first : last + 1]]
    tokens[position - first] = f"▸{tokens[position - first]}◂"
    return " ".join(["…"] * (first > 0) + tokens + ["…"] * (last < len(circuit.tokens) - 1))


def _woken(peak: Peak) -> str:
    """A maximum with its context."""
    return around("".join(peak.before), peak.token, "".join(peak.after), _CONTEXT)


def _moments(card: results.NeuronCard) -> Iterator[str]:
    """A heading, then a line for each position with the strongest attributions."""
    yield f" pos  {'token':<{_TOKEN}}{'act':>9}{'attr':>9}{'effect':>9}"
    for moment in strongest(card, _LISTED):
        token = set_cell_size(fitted(quoted(moment.token), _TOKEN), _TOKEN)
        numbers = (signed(moment.activation, 2), signed(moment.attribution), signed(moment.effect))
        yield f"{moment.position:>4}  {token}" + "".join(f"{number:>9}" for number in numbers)
    yield f"everywhere at once  effect {signed(card.everywhere)}"


def _summed(count: int, total: float) -> str:
    others = "the only neuron of the circuit" if count == 1 else f"{count:,} neurons of the circuit"
    return f"{others}, {signed(total)} in all"


def _surroundings(columns: CircuitColumns, row: int) -> CardContext:
    neurons, here = columns.circuit.neurons, columns.circuit.neurons[row]
    elsewhere = tuple(neurons[other] for other in columns.same_site(row) if neurons[other].place != here.place)
    positions = columns.positions
    same = positions != positions if here.position is None else positions == positions[row]
    return CardContext(
        elsewhere,
        columns.total(columns.layers == columns.layers[row]),
        columns.total(same),
    )
