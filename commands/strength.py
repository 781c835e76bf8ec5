"""How strong what is in force is: `strength`, as the slider of a chat window."""

from __future__ import annotations

import math
from typing import Annotated

from commands.choices import OneOf
from commands.interventions import FAMILY
from commands.request import Arg, Opt, Request
from commands.verb import verb
from commands.words import Word, number_in, shortest
from sessions.errors import UsageError
from sessions.procedures.strength import ALPHA, BETA, LIVE, MOST, StrengthChange, strengths_shown, turn_edit, turn_live
from sessions.results import StrengthShown
from sessions.session import Session


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


@verb(
    "strength",
    family=FAMILY,
    synonyms=("dial", "turn up", "turn down", "intensity", "alpha"),
    example=("strength", "strength 0.5 --of live", "strength +0.1 --of alpha"),
)
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
            return strengths_shown(session, what, self.name)
        what = what or (ALPHA if self.name is not None or not session.live else LIVE)
        if what == LIVE:
            return turn_live(session, self.turn)
        return turn_edit(session, self.turn, what, self.name)
