"""The edits of the session: listed, turned on and off, and the prompt answered in several states of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, shifts
from sessions.last_output import LastOutput
from sessions.procedures.circuits import doubts, target_of
from sessions.procedures.generating import decoded
from sessions.results import Compared, EditInspected, EditRow, EditsShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.comparisons.weight_states import State
    from sessions.edits.edit import Edit
    from sessions.edits.ledger import Ledger

#: For all edits, where one may be named.
ALL = "all"


def turned(ledger: Ledger, which: str, on: bool) -> EditsShown:
    """One edit, or all of them, turned on or off."""
    word = "on" if on else "off"
    if which != ALL:
        return edits_shown(ledger, word, [ledger.turn(ledger.meant(which), on)])
    turned = ledger.turn_all(on)
    if not turned:
        raise UsageError(
            f"all edits are {word} already" if ledger.entries else "no edit is applied", "edits shows them"
        )
    return edits_shown(ledger, word, turned)


def edits_shown(ledger: Ledger, done: str = "", named: Sequence[Edit] = (), notes: tuple[str, ...] = ()) -> EditsShown:
    """The edits as they are now, with what a line did to some of them."""
    rows = tuple(
        EditRow(
            number=number,
            name=entry.edit.name,
            verb=entry.edit.verb,
            about=f"{entry.edit.about}{entry.edit.turned}",
            on=entry.on,
            norm=entry.norm,
        )
        for number, entry in enumerate(ledger.entries, 1)
    )
    undone = tuple(entry.edit.name for entry in reversed(ledger.undone))
    return EditsShown(rows=rows, done=done, named=tuple(edit.name for edit in named), undone=undone, notes=notes)


def in_states(
    session: Session,
    verb_name: str,
    selection: str,
    states: Sequence[tuple[str, State]],
    max_tokens: int | None,
    *,
    pushes: bool = False,
) -> Steps[Compared]:
    """The session's prompt answered in several states of the weights, each with its name; the first is the baseline."""
    from sessions.comparisons.weight_states import beside

    encoded, target = session.encoded(), target_of(session)
    arms, logits = yield from beside(
        session.opened(),
        encoded,
        [Condition(name, session.in_force) for name, _ in states],
        [state for _, state in states],
        decoded(session, max_tokens=max_tokens, pushes=pushes),
        target=target,
        cancel=session.cancel,
    )
    session.last_output = LastOutput(text=arms[-1].text, baseline=arms[0].text, logits=logits[-1])
    return Compared(
        verb=verb_name,
        selection=selection,
        neurons=0,
        scope="",
        encoded=encoded,
        target=target,
        arms=arms,
        shifts=shifts(*arms) if len(arms) == 2 else (),
        notes=doubts(session),
    )


def check_new(session: Session, name: str, force: bool) -> None:
    """Refuse a name that a new edit cannot have, before anything is computed; an empty one is chosen later."""
    session.edits().check_new(name)
    session.store.check_new("edit", name, force)


def edit_inspected(session: Session, *, which: str, rows: int | None, tokens: int, force: bool) -> Steps[EditInspected]:
    """What an applied or a saved edit changes."""
    from sessions.edits.inspecting import inspected

    ledger, name = session.edits(), which.removeprefix("edit:")
    number = ledger.meant(which) if which.isdecimal() else ledger.number_of(name) or 0
    notes: tuple[str, ...] = ()
    if number:
        entry = ledger.entry(number)
        edit, on = entry.edit, entry.on
    else:
        (edit, notes), on = session.saved.read_edit(name, force=force), False
    ids = () if session.prompt is None else session.encoded().ids
    inspection = yield from inspected(
        session.opened(),
        ledger,
        edit,
        below=number - 1 if number else len(ledger.entries),
        ids=ids,
        rows=rows or session.settings.rows,
        tokens=tokens,
        cancel=session.cancel,
    )
    return EditInspected(
        number=number,
        name=edit.name,
        verb=edit.verb,
        about=edit.about,
        on=on,
        model=edit.model,
        command=edit.command,
        facts=dict(edit.facts),
        norm=inspection.norm,
        neurons=inspection.neurons,
        total=inspection.total,
        matrices=inspection.matrices,
        tokens=inspection.tokens,
        apart=inspection.apart,
        delta=inspection.delta,
        delta_tokens=inspection.delta_tokens,
        delta_top10=inspection.delta_top10,
        notes=(*notes, *inspection.notes),
    )
