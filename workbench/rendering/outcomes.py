"""How a command ended, and what a session holds, as lines: for `workbench.lines`, the REPL and the app."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text as Line

from sessions.events import State, Value
from sessions.views import view
from workbench.rendering.terminal import DrawingArea, drawn
from workbench.writing import inline, plain, quoted


def present(
    value: Value, width: int, seconds: float = 0.0, streamed: str = "", alone: bool = False
) -> list[RenderableType]:
    """What to print for a result in a terminal of `width` columns.

    `streamed` is the text the user has just watched appear; it is not shown again. `alone` is of lines, which have no
    pane of neurons beside them.
    """
    return list(drawn(view(value), DrawingArea(width, seconds, alone, streamed)))


def failure(message: str, hint: str = "") -> list[Line]:
    """What went wrong, and what to do."""
    lines = [Line.assemble(("✗ ", "bold red"), plain(message))]
    return [*lines, Line(f"→ {plain(hint)}")] if hint else lines


def standing(state: State) -> dict[str, str]:
    """What a session holds, by name, in words for one line: model, circuit, what is in force, prompt."""
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
