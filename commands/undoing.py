"""Taking back what lines have changed: `undo`, `redo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.request import Arg, Request
from commands.verb import verb
from commands.words import Whole
from sessions.errors import UsageError
from sessions.past import LineChange
from sessions.procedures.edits import edits_shown
from sessions.results import EditsShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.edits.edit import Edit

FAMILY = "The session"

Count = Annotated[int, Arg(Whole(), "how many lines")]


@verb("undo", family=FAMILY, example=("undo", "undo 3"))
class UndoChange(Request, frozen=True):
    """Undo what the last lines changed; redo brings it back.

    Prompt, circuit, suppression and live interventions are again what they were before the line, and edits are
    removed so that the weights have their earlier bits. Both share one order, that of the lines. A new model starts
    over: its edits and its circuit are its own.
    """

    count: Count = 1

    def run(self, session: Session) -> EditsShown:
        changes = session.past.done(session.edit_names())
        _check_count(self.count, len(changes), "undo")
        taken_off: list[Edit] = []
        for change in changes[: self.count]:
            if change.edits:
                taken_off += session.edits().undo(len(change.edits))
            session.hold(change.before)
            session.past.take_back()
        return _shown(session, "undone", changes[: self.count], taken_off)


@verb("redo", family=FAMILY, example=("redo", "redo 3"))
class RedoChange(Request, frozen=True):
    """Redo what undo took back last. After a line that changes something there is nothing to redo."""

    count: Count = 1

    def run(self, session: Session) -> EditsShown:
        changes = session.past.undone()
        _check_count(self.count, len(changes), "redo")
        put_on: list[Edit] = []
        for change in changes[: self.count]:
            if change.edits:
                put_on += session.edits().redo(len(change.edits))
            session.hold(change.after)
            session.past.bring_back()
        return _shown(session, "redone", changes[: self.count], put_on)


def _check_count(count: int, there: int, what: str) -> None:
    """Raise `UsageError` where there are not so many changes."""
    if count > there:
        some = "there is 1 change" if there == 1 else f"there are {there} changes"
        raise UsageError(
            f"{some} to {what}, not {count}" if there else f"there is nothing to {what}",
            f"{what} {there}"
            if there
            else "undo takes back what lines changed; redo brings it back, until a new line changes something",
        )


def _shown(session: Session, done: str, changes: Sequence[LineChange], edits: Sequence[Edit]) -> EditsShown:
    """The edits that are applied now, with the lines whose changes of the session were taken back or brought back."""
    lines = tuple(change.line for change in changes if not change.before.is_like(change.after))
    shown = EditsShown(rows=()) if session.ledger is None else edits_shown(session.ledger, done, edits)
    return structs.replace(shown, done=done, lines=lines)
