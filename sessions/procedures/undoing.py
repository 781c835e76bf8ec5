"""Changes of the session, taken back and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.errors import UsageError
from sessions.past import LineChange
from sessions.procedures.edits import edits_shown
from sessions.results import EditsShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.edits.edit import Edit


def check_count(count: int, there: int, what: str) -> None:
    """Raise `UsageError` where there are not so many changes."""
    if count > there:
        some = "there is 1 change" if there == 1 else f"there are {there} changes"
        raise UsageError(
            f"{some} to {what}, not {count}" if there else f"there is nothing to {what}",
            f"{what} {there}"
            if there
            else "undo takes back what lines changed; redo brings it back, until a new line changes something",
        )


def changes_shown(session: Session, done: str, changes: Sequence[LineChange], edits: Sequence[Edit]) -> EditsShown:
    """The edits that are applied now, with the lines whose changes of the session were taken back or brought back."""
    lines = tuple(change.line for change in changes if change.parts)
    shown = EditsShown(rows=()) if session.ledger is None else edits_shown(session.ledger, done, edits)
    return structs.replace(shown, done=done, lines=lines)


def undo(session: Session, *, count: int) -> EditsShown:
    """Take back the last changes."""
    changes = session.past.done(session.edit_names())
    check_count(count, len(changes), "undo")
    taken_off: list[Edit] = []
    for change in changes[:count]:
        if change.edits:
            taken_off += session.edits().undo(len(change.edits))
        session.hold(change.restored(session.held(), change.before))
        session.past.take_back()
    return changes_shown(session, "undone", changes[:count], taken_off)


def redo(session: Session, *, count: int) -> EditsShown:
    """Bring back what was taken back last."""
    changes = session.past.undone()
    check_count(count, len(changes), "redo")
    put_on: list[Edit] = []
    for change in changes[:count]:
        if change.edits:
            put_on += session.edits().redo(len(change.edits))
        session.hold(change.restored(session.held(), change.after))
        session.past.bring_back()
    return changes_shown(session, "redone", changes[:count], put_on)
