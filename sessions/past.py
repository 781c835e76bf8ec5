"""What a session held before each line that changed it, so that `undo` can bring it back.

The prompt, the circuit, the suppressed neurons and the live interventions are values: a change keeps the old ones.
Edits of weights are on the ledger, which restores the exact bits: a change names the edits that its line applied. Both
are in one order, that of the lines.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from msgspec import structs

from sessions.circuits.circuit import Circuit
from sessions.interventions.intervention import Intervention
from sessions.model.info import Prompt
from sessions.model.units import Unit

#: Changes that can be undone.
REMEMBERED = 100


class Held(NamedTuple):
    """The parts of a session that a line may change and `undo` brings back."""

    prompt: Prompt | None
    circuit: Circuit | None
    suppressed: tuple[Unit, ...]
    live: tuple[Intervention, ...]

    def differing(self, other: Held) -> tuple[str, ...]:
        """The names of the parts that differ; a circuit's name and its neurons' measured effects do not count."""
        ours, theirs = self.circuit, other.circuit
        if ours is not None and theirs is not None and ours is not theirs:
            alike = structs.replace(ours, name="").is_like(structs.replace(theirs, name=""))
        else:
            alike = ours is theirs
        parts = (name for name in self._fields if name != "circuit" and getattr(self, name) != getattr(other, name))
        return (*parts, *(() if alike else ("circuit",)))


class LineChange(NamedTuple):
    """What a line changed: the edits that it applied, and what the session held before and after."""

    line: str
    before: Held
    after: Held
    edits: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of the session that the line changed."""
        return self.before.differing(self.after)

    def restored(self, now: Held, to: Held) -> Held:
        """What a session holds now, with the parts that the line changed as they are in `to`; the others stay."""
        return now._replace(**{name: getattr(to, name) for name in self.parts})


class Past:
    """The changes of a session, newest last, and those that were undone, the next one to redo last."""

    def __init__(self) -> None:
        self._done: deque[LineChange] = deque(maxlen=REMEMBERED)
        self._undone: list[LineChange] = []
        self._known: set[str] = set()  # edits that a change was recorded for
        #: Counts every change that was recorded, undone or redone.
        self.moves = 0

    def record(self, line: str, before: Held, after: Held, edits: tuple[str, ...]) -> None:
        """Record what a line has changed, if anything; `edits` are those that it applied.

        A new change clears what could be redone.
        """
        if edits or before.differing(after):
            self._done.append(LineChange(line, before, after, edits))
            self._known.update(edits)
            self._undone.clear()
            self.moves += 1

    def notice(self, before: Held, edits: tuple[str, ...], undone: tuple[str, ...]) -> None:
        """Record edits that were applied or undone without a line: in a restored session, or by Python.

        Args:
            edits: those on the ledger, first to last.
            undone: those that the ledger can redo, the next one last.
        """
        self._known &= {*edits}
        new = [name for name in edits if name not in self._known]
        self._done.extend(_of_edit(name, before) for name in new)
        self._known.update(new)
        known = {name for change in self._undone for name in change.edits}
        self._undone = [_of_edit(name, before) for name in undone if name not in known] + self._undone

    def done(self, edits: tuple[str, ...]) -> tuple[LineChange, ...]:
        """The changes that can be undone, the next one first; `edits` are those on the ledger now.

        Changes whose edits other verbs have removed since are forgotten.
        """
        self._done = deque((change for change in self._done if set(change.edits) <= set(edits)), maxlen=REMEMBERED)
        return tuple(reversed(self._done))

    def undone(self) -> tuple[LineChange, ...]:
        """The changes that can be redone, the next one first."""
        return tuple(reversed(self._undone))

    def take_back(self) -> None:
        """Move the last change to those that can be redone."""
        self._undone.append(self._done.pop())
        self.moves += 1

    def bring_back(self) -> None:
        """Move the change that was undone last back to those that can be undone."""
        change = self._undone.pop()
        self._done.append(change)
        self._known.update(change.edits)
        self.moves += 1

    def clear(self) -> None:
        """Forget everything: the session has another model now."""
        self._done.clear()
        self._undone.clear()


def _of_edit(name: str, values: Held) -> LineChange:
    return LineChange(f"edit {name}", values, values, (name,))
