"""The shelf: what the session holds and has in force, and below it what is saved, by kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip

from commands.calling import call_line
from sessions.artifacts import KINDS, Key
from sessions.events import State
from sessions.model.units import named
from sessions.store import Store
from sessions.views.blocks import StandsFor
from sessions.views.writing import counted
from workbench.app.opening import opening
from workbench.app.scroll_pane import Paragraph, RichParagraph, ScrollPane
from workbench.app.session_view import Facet, SessionView
from workbench.app.wrapping import row, strips, wrapped
from workbench.writing import aim, facts, fitted, inline, percent, plain, signed

_DIM = Style(dim=True)
#: Cells for the names, and the width from which values stand beside them.
_NAMES, WIDE = 9, 36
#: Before a saved thing: the cursor, and a mark if it is in force.
IN_FORCE = "●"
#: Kinds that are folders of the home, and how their names are told from other files.
_FOLDERS = {"adapter": "adapters", "round": "rounds", "sweep": "sweeps"}
_PLURALS = {"atlas": "atlases", "means": "means", "lens": "lenses"}


class ShelfPane(ScrollPane):
    """Model, prompt, circuit, interventions and edits in force, host; then what is saved in the home.

    `home` is read in a thread when a line has ended.
    """

    heading: ClassVar[str] = "Shelf"
    facets: ClassVar[Facet] = Facet.STATE | Facet.CIRCUIT | Facet.HOST | Facet.RESULTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "up", id="shelf.up", show=False),
        Binding("down,j", "step(1)", "down", id="shelf.down", show=False),
        Binding("enter", "open", "open", id="shelf.open"),
        Binding("c", "compare", "compare", id="shelf.compare"),
        Binding("x", "delete", "delete", id="shelf.delete"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.home: Path | None = None
        self._facts: dict[str, list[str]] = {}
        self._saved: list[StandsFor] | None = None
        self._items: list[SavedThing] = []
        self._at: SavedThing | None = None
        self._state = State()

    def show(self, view: SessionView, changed: Facet) -> None:
        self._state = view.state
        self._facts = {name: [text for text in texts if text] for name, texts in _held(view)}
        self._list()
        if self.home is not None and changed & (Facet.RESULTS | Facet.HOST):
            self.run_worker(self._look(self.home), group="shelf", exclusive=True)

    async def _look(self, home: Path) -> None:
        """Read what is saved."""
        saved = await asyncio.to_thread(saved_in, home)
        if saved != self._saved:
            self._saved = saved
            self._list()

    def _list(self) -> None:
        """Lay out the facts and the saved things."""
        blocks: list[Paragraph] = [HeldFact(name, texts) for name, texts in self._facts.items() if texts]
        known = {item.thing: item for item in self._items}
        self._items = [known.get(thing) or SavedThing(thing) for thing in self._saved or ()]
        kind = ""
        for item in self._items:
            if item.thing.kind != kind:
                kind = item.thing.kind
                count = sum(thing.kind == kind for thing in self._saved or ())
                blocks.append(RichParagraph(Text(f"{_PLURALS.get(kind, kind + 's')} {count:,}", style="dim")))
            item.in_force = _in_force(item.thing, self._state)
            blocks.append(item)
        if self._at not in self._items:
            self._at = next(iter(self._items), None)
        self.blocks = blocks
        self.settle()

    def dressed(self, block: Paragraph, number: int, line: Strip) -> Strip:
        return self.under_cursor(line) if block is self._at and self.has_focus else line

    def chosen(self) -> str:
        return self._at.thing.name if self._at is not None else self.text()

    def text(self) -> str:
        held = "\n".join(f"{name}\n" + "".join(f"  {text}\n" for text in texts) for name, texts in self._facts.items())
        return held + "".join(f"{item.thing.kind} {item.thing.name}\n" for item in self._items)

    def action_step(self, steps: int) -> None:
        """Move the cursor by some saved things; scroll where there is none."""
        if self._at is None:
            self.scroll(steps)
            return
        place = self._items.index(self._at) + steps
        if 0 <= place < len(self._items):
            self._at = self._items[place]
            self.jump(self._at)
        else:
            self.scroll(steps)

    def on_click(self, event: events.Click) -> None:
        block = self.at_row(event.y)
        if isinstance(block, SavedThing):
            self._at = block
            self.settle()
            if event.chain > 1:
                self.action_open()

    def action_open(self) -> None:
        wanted = None if self._at is None else opening(self._at.thing)
        if wanted is not None:
            self.post_message((self.Sent if wanted.at_once else self.Typed)(wanted.line))

    def action_compare(self) -> None:
        """Compare the circuit or the vector with another one, which the user adds."""
        if self._at is not None and self._at.thing.kind in ("circuit", "vector"):
            self.post_message(self.Typed(f"{call_line('compare', _key(self._at.thing))} "))

    def action_delete(self) -> None:
        if self._at is not None and self._at.thing.kind in KINDS:
            self.post_message(self.Typed(call_line("delete", _key(self._at.thing))))
        elif self._at is not None and self._at.thing.kind == "adapter":
            self.post_message(self.Typed(call_line("adapter delete", self._at.thing.name)))


class SavedThing(Paragraph):
    """A saved thing, by its name."""

    def __init__(self, thing: StandsFor) -> None:
        self.thing = thing
        self.in_force = False

    def stamp(self) -> object:
        return self.in_force

    def drawn(self, width: int) -> list[Strip]:
        mark = IN_FORCE if self.in_force else " "
        return [row(f" {mark} {fitted(inline(self.thing.name), max(width - 3, 1))}")]


def saved_in(home: Path) -> list[StandsFor]:
    """What is saved in a home, by kind and name. No file is opened."""
    store = Store(home)
    saved = [StandsFor(kind, name) for kind in KINDS for name in store.names(kind)]
    for kind, folder in _FOLDERS.items():
        try:
            names = sorted(path.name for path in (store.home / folder).iterdir() if path.is_dir())
        except OSError:
            continue
        saved += [StandsFor(kind, name) for name in names if not name.startswith(".")]
    return saved


def _key(thing: StandsFor) -> str:
    return str(Key(thing.kind, thing.name))


def _in_force(thing: StandsFor, state: State) -> bool:
    """Whether a saved thing is one that the session works with."""
    match thing.kind:
        case "circuit":
            return thing.name == state.circuit
        case "atlas":
            return thing.name == state.atlas
        case "edit" | "adapter":
            return any(thing.name in label.replace(":", " ").split() for label in state.edits)
        case "vector" | "preset":
            return any(thing.name in label.replace(":", " ").split() for label in state.live)
    return False


class HeldFact(Paragraph):
    """A part of the session's state: its name and its texts."""

    def __init__(self, name: str, texts: Sequence[str]) -> None:
        self._name, self._texts = name, texts

    def drawn(self, width: int) -> list[Strip]:
        if width < WIDE:
            lines = [line for text in self._texts for line in wrapped(text, width - 1)]
            return [row((self._name, _DIM)), *(row(" " + line) for line in lines)]
        first, *rest = strips(facts(self._texts, width - _NAMES), width - _NAMES)
        name = row((f"{self._name:<{_NAMES}}", _DIM))
        return [Strip.join([name, first]), *(Strip.join([row(" " * _NAMES), line]) for line in rest)]


def _held(view: SessionView) -> Iterator[tuple[str, list[str]]]:
    """The parts of the session's state by name."""
    state, circuit = view.state, view.circuit
    if state.model:
        yield "model", [inline(state.model), inline(f"{state.dtype} on {state.device}")]
    else:
        yield "model", ["none: model smollm2 opens one"]
    yield "prompt", [plain(state.prompt) or "none"]
    yield "seed", [plain(state.seed)]
    if circuit is None:
        size = f"{state.circuit_size:,} neurons" if state.circuit_size else ""
        yield "circuit", [inline(state.circuit), size] if size else ["none"]
    else:
        off = f"conservation off by {percent(circuit.conservation)}" if circuit.conservation is not None else ""
        yield "circuit", [inline(state.circuit), named(circuit.neurons), inline(circuit.chosen)]
        yield "target", [aim(circuit.target), f"= {signed(circuit.target.value)}" if circuit.target.stated else ""]
        yield "method", [inline(circuit.way), off]
    if state.suppressed:
        more = state.suppressed - len(state.first_suppressed)
        names = [*state.first_suppressed, f"and {more:,} more" if more else ""]
        yield "at zero", [f"{state.suppressed:,} suppressed", *names]
    yield "live", [inline(label) for label in state.live]
    earlier = state.edits_applied - len(state.edits)
    yield "edits", [f"{earlier:,} before" if earlier else "", *(inline(label) for label in state.edits)]
    yield "sae", [inline(state.sae)]
    yield "atlas", [inline(state.atlas)]
    yield "chat", [counted(state.exchanges, "exchange") if state.exchanges else ""]
    yield "host", [inline(view.name), inline(view.host)]
