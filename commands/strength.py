"""How strong what is in force is: `strength`, as the slider of a chat window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.choices import OneOf
from commands.interventions import FAMILY
from commands.request import Arg, Opt, Request
from commands.verb import verb
from commands.words import Word, number_in, shortest
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
        found = round(before + self.amount, DIGITS) if self.step else self.amount
        return min(max(found, 0.0), MOST)


class TurnWord(Word):
    """A strength, `1.5`; with a sign a step from what it is now, `+0.1` or `-0.1`."""

    name = "strength"
    shape = "X|+X|-X"

    def read(self, text: str) -> StrengthChange:
        value = number_in(text)
        if not abs(value) <= MOST:
            raise UsageError(
                f"'{text}' is not a strength", f"1.5, or a step such as +0.1 or -0.1; {MOST:g} is the most"
            )
        return StrengthChange(value, text.lstrip()[:1] in "+-")

    def said(self, value: StrengthChange) -> str:
        sign = "+" if value.step and not math.copysign(1.0, value.amount) < 0 else ""
        return sign + shortest(value.amount)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("1", "as it was made"), ("0", "not at all"), ("+0.1", "a step more"), ("-0.1", "a step less")]


@verb("strength", family=FAMILY, example=("strength", "strength 0.5 --of live", "strength +0.1 --of alpha"))
class TurnStrength(Request, frozen=True):
    """Turn what is in force up or down, or show its strength.

    For live interventions (amplify and shift with --live, multiplier, a preset), 0 is nothing, 1 what was asked
    for, and at 2 neurons move twice as far. For a rewritten neuron, α is how far it pushes its token and β how far
    its brake pushes back: the edit stays in its place with other numbers, and strength 1 restores its exact bits.

    In the app [ and ] are strength -0.1 and strength +0.1, { and } those of α, ( and ) those of β.
    """

    turn: Annotated[
        StrengthChange | None,
        Arg(TurnWord(), "1 is as it was made, +0.1 a step up (default: show what there is)", metavar="[X|+X|-X]"),
    ] = None
    what: Annotated[
        str | None,
        Opt(
            OneOf("strength", {LIVE: "all that is live", ALPHA: "a rewritten neuron", BETA: "its brake"}),
            "live, alpha or beta (default: live, and alpha where nothing is live)",
            flag="--of",
        ),
    ] = None
    name: Annotated[
        str | None,
        Opt(
            Word(),
            "with alpha or beta: the number or name of the edit (default: the last)",
            flag="--edit",
            metavar="EDIT",
        ),
    ] = None

    def run(self, session: Session) -> StrengthShown:
        what = self.what
        if self.name is not None and what == LIVE:
            raise UsageError("--edit is for --of alpha and beta", "for example: strength +0.1 --of alpha --edit meow")
        if self.turn is None:
            return _shown(session, what, self.name)
        what = what or (ALPHA if self.name is not None or not session.live else LIVE)
        if what == LIVE:
            return _live(session, self.turn)
        return _edit(session, self.turn, what, self.name)


def _live(session: Session, turn: StrengthChange) -> StrengthShown:
    if not session.live:
        raise UsageError("nothing is live, so there is nothing to turn", "make something live: amplify top10 2 --live")
    before = session.live
    session.live = tuple(structs.replace(each, strength=turn.of(each.strength)) for each in before)
    rows = tuple(
        Strength(what=LIVE, name=now.label, before=was.strength, strength=now.strength)
        for was, now in zip(before, session.live, strict=True)
    )
    return StrengthShown(rows=rows)


def _edit(session: Session, turn: StrengthChange, what: str, name: str | None) -> StrengthShown:
    number, entry = _meant(session, what, name)
    edit = entry.edit
    before = edit.strength if what == ALPHA else edit.brake
    after = turn.of(before)
    alpha, beta = (after, edit.brake) if what == ALPHA else (edit.strength, after)
    if after != before:
        session.edits().rescale(number, alpha, beta)
    row = Strength(what=what, name=edit.name, before=before, strength=after, made=_made(entry, what))
    return StrengthShown(rows=(row,), notes=() if entry.on else (f"edit {number} is off",))


def _meant(session: Session, what: str, name: str | None) -> tuple[int, LedgerEntry]:
    """The edit that is to be turned, and its number: that of a name, or the last that can be."""
    session.opened()
    ledger = session.edits()
    numbers = range(len(ledger.entries), 0, -1) if name is None else [ledger.meant(name)]
    can = [number for number in numbers if _can(ledger.entry(number), what)]
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


def _can(entry: LedgerEntry, what: str) -> bool:
    return entry.edit.verb == "rewrite" and ("neuron" if what == ALPHA else "brake") in entry.edit.facts


def _made(entry: LedgerEntry, what: str) -> float | None:
    """The α or β that an edit was made with; None where it does not say."""
    try:
        return float(entry.edit.facts.get(what, ""))
    except ValueError:
        return None


def _shown(session: Session, what: str | None, name: str | None) -> StrengthShown:
    """How strong everything is that can be turned."""
    rows = [
        Strength(what=LIVE, name=each.label, before=each.strength, strength=each.strength)
        for each in session.live
        if what in (None, LIVE) and name is None
    ]
    entries = () if session.ledger is None else session.ledger.entries
    chosen = None if name is None else session.edits().meant(name)
    for number, entry in enumerate(entries, 1):
        for of, times in ((ALPHA, entry.edit.strength), (BETA, entry.edit.brake)):
            if what in (None, of) and chosen in (None, number) and _can(entry, of):
                made = _made(entry, of)
                rows.append(Strength(what=of, name=entry.edit.name, before=times, strength=times, made=made))
    notes = () if rows else ("nothing is in force that can be turned",)
    return StrengthShown(rows=tuple(rows), notes=notes)
