"""The overview of a session that front ends show in their headers: names and counts of what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.events import State

if TYPE_CHECKING:
    from sessions.edits.ledger import LedgerEntry
    from sessions.session import Session

#: Suppressed neurons and edits that are named; the rest are counted.
FIRST = 8


def overview(session: Session) -> State:
    """What the session holds now."""
    info = None if session.model is None else session.model.info
    entries = () if session.ledger is None else session.ledger.entries
    return State(
        model="" if info is None else info.name,
        dtype="" if info is None else info.dtype,
        device="" if info is None else info.device,
        prompt="" if session.prompt is None else session.prompt.text,
        seed="" if session.prompt is None else session.prompt.seed,
        circuit="" if session.circuit is None else session.circuit.name or "unnamed",
        circuit_size=0 if session.circuit is None else len(session.circuit),
        suppressed=len(session.suppressed),
        first_suppressed=tuple(str(neuron) for neuron in session.suppressed[:FIRST]),
        live=tuple(intervention.said for intervention in session.live),
        edits=tuple(_labels(entries)[-FIRST:]),
        edits_applied=len(entries),
        edits_on=sum(entry.on for entry in entries),
        exchanges=len(session.history),
        sae="" if session.sae is None else str(session.sae),
        atlas=session.saved.latest_atlas(),
    )


def _labels(entries: tuple[LedgerEntry, ...]) -> list[str]:
    """A label for each edit: its number, name and strength, and whether it is off."""
    return [
        f"{number} {entry.edit.name}{entry.edit.turned}{'' if entry.on else ' (off)'}"
        for number, entry in enumerate(entries, 1)
    ]
