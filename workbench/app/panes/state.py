"""The session's state, as a pane and as the status line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from sessions.views.writing import counted
from workbench.app.scroll_pane import Paragraph, ScrollPane
from workbench.app.session_view import Facet, SessionView
from workbench.app.wrapping import row, strips, wrapped
from workbench.host import JOURNAL
from workbench.rendering.outcomes import standing
from workbench.writing import aim, facts, fitted, inline, percent, plain, signed

_DIM = Style(dim=True)
#: Cells for the names, and the width from which values stand beside them.
_NAMES, WIDE = 9, 36
#: The least cells of the prompt in the status line; with less, it is left out.
_LEAST_PROMPT = 16


class StatePane(ScrollPane):
    """Model, prompt, circuit, interventions and edits in force, host."""

    heading: ClassVar[str] = "State"
    facets: ClassVar[Facet] = Facet.STATE | Facet.CIRCUIT | Facet.HOST

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._facts: dict[str, list[str]] = {}

    def show(self, view: SessionView, changed: Facet) -> None:
        held = {name: [text for text in texts if text] for name, texts in _held(view)}
        if held != self._facts:
            self._facts = held
            self.blocks = [HeldFact(name, texts) for name, texts in held.items() if texts]
        self.settle()

    def chosen(self) -> str:
        return self.text()

    def text(self) -> str:
        return "\n".join(f"{name}\n" + "".join(f"  {text}\n" for text in texts) for name, texts in self._facts.items())


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
        yield "circuit", [inline(state.circuit), f"{len(circuit):,} neurons", inline(circuit.chosen)]
        yield "target", [aim(circuit.target), f"= {signed(circuit.target.value)}" if circuit.target.stated else ""]
        yield "method", [inline(circuit.way), off]
    if state.suppressed:
        more = state.suppressed - len(state.first_suppressed)
        named = [*state.first_suppressed, f"and {more:,} more" if more else ""]
        yield "at zero", [f"{state.suppressed:,} suppressed", *named]
    yield "live", [inline(label) for label in state.live]
    earlier = state.edits_applied - len(state.edits)
    yield "edits", [f"{earlier:,} before" if earlier else "", *(inline(label) for label in state.edits)]
    yield "sae", [inline(state.sae)]
    yield "atlas", [inline(state.atlas)]
    yield "chat", [counted(state.exchanges, "exchange") if state.exchanges else ""]
    yield "host", [inline(view.name), inline(view.host)]


def status(view: SessionView, width: int) -> Text:
    """The session in one line. If it is too long, the least important parts are left out, first the prompt."""
    host = f"host {inline(view.name or JOURNAL)}"
    parts = {**standing(view.state), "host": host}
    if view.host:
        parts["host"] = f"{host}: {inline(view.host)}"
    for name in ("prompt", "circuit", "model") if view.host else ("prompt", "host", "circuit"):
        spare = width - cell_len(_joined(parts))
        if spare >= 0:
            break
        shortened = fitted(parts.get(name, ""), cell_len(parts.get(name, "")) + spare)
        if name == "prompt" and cell_len(shortened) > _LEAST_PROMPT:
            parts[name] = shortened
        else:
            parts.pop(name, None)
    return Text(fitted(_joined(parts), width), no_wrap=True)


def _joined(parts: dict[str, str]) -> str:
    return " " + " │ ".join(parts.values())
