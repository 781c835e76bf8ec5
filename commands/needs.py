"""What a verb may need to be there, and whether a session has it: `needs` of a declaration names these."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sessions.events import State

#: By name: whether it is there, and what is said where it is not.
NEEDS: dict[str, tuple[Callable[[State], object], str]] = {
    "model": (lambda state: state.model, "no model"),
    "prompt": (lambda state: state.prompt, "no prompt"),
    "circuit": (lambda state: state.circuit_size, "no circuit"),
    "atlas": (lambda state: state.atlas, "no atlas"),
    "edit": (lambda state: state.edits_applied, "no edit"),
    "live": (lambda state: state.live, "nothing live"),
}


def missing(needs: Iterable[str], state: State) -> str:
    """The first of these needs that a session lacks, in words: `no circuit`; "" if it lacks none."""
    return next((said for has, said in map(NEEDS.__getitem__, needs) if not has(state)), "")
