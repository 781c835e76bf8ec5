"""How strong what is in force is: live interventions, and the α and β of rewritten neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.errors import UsageError
from sessions.results import Strength, StrengthShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.edits.ledger import LedgerEntry


LIVE, ALPHA, BETA = "live", "alpha", "beta"
#: No strength is larger.
MOST = 1000.0
#: Digits behind the point that are kept, so that ten steps of 0.1 are 1.
DIGITS = 6


@dataclass(frozen=True)
class StrengthChange:
    """A strength, or with `step` how much more of it."""

    amount: float
    step: bool

    def of(self, before: float) -> float:
        """The strength that comes of one, 0 at least."""
        value = round(before + self.amount, DIGITS) if self.step else self.amount
        return min(max(value, 0.0), MOST)


def turn_live(session: Session, turn: StrengthChange) -> StrengthShown:
    """Turn all live interventions."""
    if not session.live:
        raise UsageError("nothing is live, so there is nothing to turn", "make something live: amplify top10 2 --live")
    before = session.live
    session.live = tuple(
        structs.replace(intervention, strength=turn.of(intervention.strength)) for intervention in before
    )
    rows = tuple(
        Strength(what=LIVE, name=now.label, before=was.strength, strength=now.strength)
        for was, now in zip(before, session.live, strict=True)
    )
    return StrengthShown(rows=rows)


def turn_edit(session: Session, turn: StrengthChange, what: str, name: str | None) -> StrengthShown:
    """Turn the α or β of a rewritten neuron."""
    number, entry = meant(session, what, name)
    edit = entry.edit
    before = edit.strength if what == ALPHA else edit.brake
    after = turn.of(before)
    alpha, beta = (after, edit.brake) if what == ALPHA else (edit.strength, after)
    if after != before:
        session.edits().rescale(number, alpha, beta)
    row = Strength(what=what, name=edit.name, before=before, strength=after, made=strength_made(entry, what))
    return StrengthShown(rows=(row,), notes=() if entry.on else (f"edit {number} is off",))


def meant(session: Session, what: str, name: str | None) -> tuple[int, LedgerEntry]:
    """The edit that is to be turned, and its number: that of a name, or the last that can be."""
    session.opened()
    ledger = session.edits()
    numbers = range(len(ledger.entries), 0, -1) if name is None else [ledger.meant(name)]
    can = [number for number in numbers if can_turn(ledger.entry(number), what)]
    on = [number for number in can if ledger.entry(number).on]
    if can:
        number = (on or can)[0]
        return number, ledger.entry(number)
    of = "brake" if what == BETA else "α"
    if name is not None:
        raise UsageError(
            f"edit '{ledger.entry(numbers[0]).edit.name}' has no {of} to turn",
            "an adapter: adapter off NAME, adapter load NAME --weight 0.5; its depth: sweep --adapter NAME"
            if what == ALPHA
            else "a rewritten neuron has one that was made with --brake",
        )
    nothing = "" if what == BETA or session.live else "nothing is live, and "
    raise UsageError(
        f"{nothing}no edit has a {of} to turn" if what == BETA else f"{nothing}no edit has an α to turn",
        'rewrite L24/N7 --push " Amen" --when last makes one; amplify top10 2 --live makes something live',
    )


def can_turn(entry: LedgerEntry, what: str) -> bool:
    """Whether an edit has an α, or a β."""
    return entry.edit.verb == "rewrite" and ("neuron" if what == ALPHA else "brake") in entry.edit.facts


def strength_made(entry: LedgerEntry, what: str) -> float | None:
    """The α or β that an edit was made with; None where it does not say."""
    try:
        return float(entry.edit.facts.get(what, ""))
    except ValueError:
        return None


def strengths_shown(session: Session, what: str | None, name: str | None) -> StrengthShown:
    """How strong everything is that can be turned."""
    rows = [
        Strength(what=LIVE, name=intervention.label, before=intervention.strength, strength=intervention.strength)
        for intervention in session.live
        if what in (None, LIVE) and name is None
    ]
    entries = () if session.ledger is None else session.ledger.entries
    chosen = None if name is None else session.edits().meant(name)
    for number, entry in enumerate(entries, 1):
        for of, times in ((ALPHA, entry.edit.strength), (BETA, entry.edit.brake)):
            if what in (None, of) and chosen in (None, number) and can_turn(entry, of):
                made = strength_made(entry, of)
                rows.append(Strength(what=of, name=entry.edit.name, before=times, strength=times, made=made))
    notes = () if rows else ("nothing is in force that can be turned",)
    return StrengthShown(rows=tuple(rows), notes=notes)
