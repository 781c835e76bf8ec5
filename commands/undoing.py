"""Taking back what lines have changed: `undo`, `redo`."""

from __future__ import annotations

from typing import Annotated

from commands.request import Arg, Request
from commands.verb import verb
from commands.words import Whole
from sessions.procedures.undoing import redo, undo
from sessions.results import EditsShown
from sessions.session import Session

FAMILY = "The session"

Count = Annotated[int, Arg(Whole(), "how many lines")]


@verb("undo", family=FAMILY, synonyms=("revert", "reset", "rollback", "take back", "back"), example=("undo", "undo 3"))
class UndoChange(Request, frozen=True):
    """Undo what the last lines changed; redo brings it back.

    Prompt, circuit, suppression and live interventions are again what they were before the line, and edits are
    removed so that the weights have their earlier bits. Both share one order, that of the lines. A new model starts
    over: its edits and its circuit are its own.
    """

    count: Count = 1

    def run(self, session: Session) -> EditsShown:
        return undo(session, count=self.count)


@verb("redo", family=FAMILY, synonyms=("forward", "again"), example=("redo", "redo 3"))
class RedoChange(Request, frozen=True):
    """Redo what undo took back last. After a line that changes something there is nothing to redo."""

    count: Count = 1

    def run(self, session: Session) -> EditsShown:
        return redo(session, count=self.count)
