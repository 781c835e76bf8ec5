"""The ledger: which edits are in the weights of the open model, in which order, and how they are undone.

Edits form a stack. Each keeps what it overwrote, so the topmost can always be undone, which restores the exact bits
from before it. One further down is turned off by undoing all above it, leaving it out, and applying the others again in
order. An edit is a function of the weights it finds, so the same stack gives the same bits. `lifted` takes all edits
off for the length of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from hashlib import sha256

from sessions.edits.edit import Edit, Undo
from sessions.errors import UsageError
from sessions.model.opening import OpenModel


@dataclass(frozen=True, eq=False)
class LedgerEntry:
    """One edit of a ledger, whether it is on, and the norm of its weight change when it was last on, None if never."""

    edit: Edit
    on: bool = True
    norm: float | None = None


class Ledger:
    """The edits of one open model. Numbers count from 1, in the order of application."""

    def __init__(self, opened: OpenModel) -> None:
        self._opened = opened
        self._entries: list[LedgerEntry] = []
        self._undone: list[LedgerEntry] = []
        self._sheets: list[Undo] = []  # undoes each entry that is on; empty for one that is off

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """The applied edits, first to last."""
        return tuple(self._entries)

    @property
    def undone(self) -> tuple[LedgerEntry, ...]:
        """The edits that `redo` would bring back, the next one last."""
        return tuple(self._undone)

    @property
    def active(self) -> tuple[Edit, ...]:
        """The edits that are in the weights."""
        return tuple(entry.edit for entry in self._entries[: len(self._sheets)] if entry.on)

    def key(self) -> str:
        """A key of the edits that are on, for what depends on them; "" for none."""
        digests = "".join(edit.sha256 + edit.turned for edit in self.active)
        return sha256(digests.encode()).hexdigest()[:16] if digests else ""

    def apply(self, edit: Edit, on: bool = True) -> int:
        """Apply an edit on top of the others; returns its number. Undone edits cannot be redone after that.

        Raises:
            UsageError: an edit of that name is there already.
            UsageError, ModelError, ArtifactError: it does not fit the model; nothing has changed then.
        """
        self.check_new(edit.name)
        self._put(LedgerEntry(edit, on))
        self._undone.clear()
        return len(self._entries)

    def check_new(self, name: str) -> None:
        """Raise `UsageError` where an edit of that name is applied already."""
        for number, entry in enumerate(self._entries, 1):
            if entry.edit.name == name:
                raise UsageError(f"edit '{name}' is applied already, as number {number}", "edits shows them")

    def undo(self, count: int = 1) -> tuple[Edit, ...]:
        """Undo the last edits, the topmost first.

        Raises:
            UsageError: there are fewer.
        """
        self._enough(count, len(self._entries), "undo")
        for _ in range(count):
            self._sheets.pop().close()
            self._undone.append(self._entries.pop())
        return tuple(entry.edit for entry in self._undone[-count:])

    def redo(self, count: int = 1) -> tuple[Edit, ...]:
        """Apply the edits that were undone last again.

        Raises:
            UsageError: there are fewer.
        """
        self._enough(count, len(self._undone), "redo")
        for _ in range(count):
            self._put(self._undone[-1])
            self._undone.pop()
        return tuple(entry.edit for entry in self._entries[-count:])

    def turn(self, number: int, on: bool) -> Edit:
        """Take edit `number` out of the weights, or put it back where it was in the order.

        Raises:
            UsageError: there is no such edit, or it already is in that state.
        """
        entry, place = self.entry(number), number - 1
        if entry.on == on:
            raise UsageError(f"edit {number} is {'on' if on else 'off'} already", "edits shows them")
        with self._above(place):
            self._entries[place] = replace(entry, on=on)
        return entry.edit

    def rescale(self, number: int, strength: float, brake: float) -> Edit:
        """Set the strength of edit `number` to multiples of that in its file; its place in the order stays. At 1 and 1
        the bits are the original ones.

        Raises:
            UsageError: there is no such edit.
            ArtifactError: it would be too large for the dtype; nothing has changed then.
        """
        entry, place = self.entry(number), number - 1
        edit = replace(entry.edit, strength=strength, brake=brake)
        with self._above(place):
            self._entries[place] = replace(entry, edit=edit)
        return edit

    def entry(self, number: int) -> LedgerEntry:
        """The edit of a number.

        Raises:
            UsageError: there is none.
        """
        if not 1 <= number <= len(self._entries):
            raise UsageError(f"there is no edit {number}", self._said())
        return self._entries[number - 1]

    def number_of(self, name: str) -> int | None:
        """The number of the edit of a name; None where no edit of that name is applied."""
        numbers = (number for number, entry in enumerate(self._entries, 1) if entry.edit.name == name)
        return next(numbers, None)

    def meant(self, word: str) -> int:
        """The number of the edit that a word names: by number, by name, or by `edit:NAME`.

        Raises:
            UsageError: there is no such edit.
        """
        if word.isdecimal():
            number = int(word[:18])
            self.entry(number)
            return number
        name = word.removeprefix("edit:")
        there = self.number_of(name)
        if there is None:
            near = get_close_matches(name, [entry.edit.name for entry in self._entries], 1)
            raise UsageError(f"no edit '{name}' is applied", f"did you mean {near[0]}?" if near else self._said())
        return there

    @contextmanager
    def lifted(self, below: int = 0) -> Iterator[None]:
        """Inside the block the weights are those of the opened model with only the first `below` edits."""
        with self._above(below):
            yield

    def turn_all(self, on: bool) -> tuple[Edit, ...]:
        """Turn all edits on or off; returns those whose state changed."""
        turned = tuple(entry.edit for entry in self._entries if entry.on != on)
        with self._above(0):
            self._entries = [replace(entry, on=on) for entry in self._entries]
        return turned

    @contextmanager
    def without(self, numbers: Sequence[int]) -> Iterator[None]:
        """Turn edits off; where the block fails, they are turned on again.

        Raises:
            UsageError: one of them is off already.
        """
        turned: list[int] = []
        try:
            for number in numbers:
                self.turn(number, False)
                turned.append(number)
            yield
        except BaseException:
            for number in turned:
                self.turn(number, True)
            raise

    @contextmanager
    def held(self, number: int, on: bool) -> Iterator[None]:
        """Inside the block edit `number` is on or off; all others stay as they are.

        Raises:
            UsageError: there is no such edit.
        """
        self.entry(number)
        with self._above(number - 1), ExitStack() as sheets:
            for place, entry in enumerate(self._entries[number - 1 :], number):
                if on if place == number else entry.on:
                    sheets.enter_context(entry.edit.applied(self._opened))
            yield

    def moved(self, opened: OpenModel) -> Ledger:
        """The same edits on another copy of the model.

        Raises:
            UsageError, ModelError, ArtifactError: one of them does not fit; that copy is unchanged then.
        """
        ledger = Ledger(opened)
        try:
            for entry in self._entries:
                ledger._put(entry)
        except BaseException:
            ledger.close()
            raise
        ledger._undone = list(self._undone)
        return ledger

    def close(self) -> None:
        """Undo all edits: the weights are those of the opened model."""
        self._lift(0)
        self._entries.clear()
        self._undone.clear()

    def _put(self, entry: LedgerEntry) -> None:
        self._entries.append(self._laid(entry))

    def _laid(self, entry: LedgerEntry) -> LedgerEntry:
        """Push an entry on the stack; one that is off changes nothing."""
        if not entry.on:
            self._sheets.append(Undo())
            return entry
        sheet = entry.edit.applied(self._opened)
        self._sheets.append(sheet)
        return replace(entry, norm=sheet.norm)

    @contextmanager
    def _above(self, place: int) -> Iterator[None]:
        """Inside the block no edit from `place` on is in the weights; after it, all that are on are applied again.

        If an edit cannot be applied as its entry then says, it is applied as it was before.
        """
        before, end = list(self._entries), len(self._sheets)  # nested blocks: some may be lifted already
        self._lift(place)
        try:
            yield
            self._lay(place, end)
        except BaseException:
            self._lift(place)
            self._entries = before
            self._lay(place, end)
            raise

    def _lift(self, place: int) -> None:
        while len(self._sheets) > place:
            self._sheets.pop().close()

    def _lay(self, place: int, end: int) -> None:
        self._entries[place:end] = [self._laid(entry) for entry in self._entries[place:end]]

    def _enough(self, count: int, there: int, what: str) -> None:
        if count > there:
            some = "there is 1 edit" if there == 1 else f"there are {there} edits"
            raise UsageError(
                f"{some} to {what}, not {count}" if there else f"there is nothing to {what}",
                self._said() if what == "undo" else "redo brings back what undo undid last, until another edit is made",
            )

    def _said(self) -> str:
        count = len(self._entries)
        if count == 1:
            return f"the applied edit is '{self._entries[0].edit.name}', number 1"
        return f"edits are 1 to {count}: edits shows them" if count else "no edit is applied; list shows saved ones"
