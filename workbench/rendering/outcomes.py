"""Results, failures and the session's state as lines: for `workbench.lines`, the REPL and the app."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text as Line

from sessions.events import State, Value
from sessions.views import view
from workbench.rendering.terminal import DrawingArea, drawn
from workbench.writing import inline, plain, quoted


def present(value: Value, width: int, seconds: float = 0.0, streamed: str = "") -> list[RenderableType]:
    """What to print for a result in a terminal of `width` columns.

    `streamed` is the text that was just streamed to the user; it is not shown again.
    """
    return list(drawn(view(value), DrawingArea(width, seconds, streamed)))


def failure(message: str, hint: str = "") -> list[Line]:
    """The lines of a failure: the message and the hint."""
    lines = [Line.assemble(("✗ ", "bold red"), plain(message))]
    return [*lines, Line(f"→ {plain(hint)}")] if hint else lines


def standing(state: State) -> dict[str, str]:
    """The parts of a status line by name: model, circuit, interventions and edits in force, prompt."""
    if not state.model:
        return {"model": "no model"}
    suppressed = f"suppressed {state.suppressed:,}" if state.suppressed else ""
    off = f" of {state.edits_applied:,}" if state.edits_on < state.edits_applied else ""
    edited = f"edits {state.edits_on:,}{off}" if state.edits_applied else ""
    held = {
        "model": inline(f"{state.model} {state.dtype} {state.device}"),
        "circuit": f"circuit {inline(state.circuit)} {state.circuit_size:,}" if state.circuit_size else "no circuit",
        "force": " │ ".join(filter(None, [suppressed, f"live {len(state.live)}" if state.live else "", edited])),
        "prompt": quoted(state.prompt) if state.prompt else "no prompt",
    }
    return {name: words for name, words in held.items() if words}
